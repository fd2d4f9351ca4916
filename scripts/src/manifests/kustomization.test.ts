import { describe, expect, it } from '@jest/globals';
import { baseFiles, buildKustomization, overlayFiles } from './kustomization.js';
import type { KubeObject } from './objects.js';

function object(kind: string, name: string, spec: object = {}): KubeObject {
  const labels = { 'app.kubernetes.io/component': 'gateway' };
  return { apiVersion: 'v1', kind, metadata: { name, labels }, spec };
}

const same = object('Service', 'same', { port: 1 });
const before = [same, object('Deployment', 'changed', { replicas: 1 }), object('Job', 'gone')];
const after = [same, object('Deployment', 'changed', { replicas: 3 }), object('Job', 'new')];

describe('baseFiles', () => {
  it('holds the objects', () => {
    expect(buildKustomization(baseFiles(before))).toEqual(before);
  });
});

describe('overlayFiles', () => {
  const files = overlayFiles(before, after, '../base');

  it('makes other objects of those of the base', () => {
    expect(new Set(buildKustomization(files, before))).toEqual(new Set(after));
  });

  it('says only what differs', () => {
    expect(Object.keys(files).sort()).toEqual([
      'gateway.yaml',
      'kustomization.yaml',
      'patches/deployment-changed.yaml',
      'patches/job-gone.yaml',
    ]);
    expect(files['patches/deployment-changed.yaml']).toContain('path: /spec/replicas');
  });

  it('cannot be built on another base', () => {
    expect(() => buildKustomization(files, [same])).toThrow('Deployment/changed, which is not there');
  });
});
