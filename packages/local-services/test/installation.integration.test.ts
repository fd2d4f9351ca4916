import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { servicePolicy } from '../src/installation.js';

describe('servicePolicy', () => {
  const exitCode = (script: string) => spawnSync('/bin/sh', ['-s'], { input: script }).status;

  it('forbids starting services while its owner lives', () => {
    expect(exitCode(servicePolicy(process.pid))).toBe(101);
  });

  it('allows it when its owner is gone, should it have been left behind', () => {
    const { pid } = spawnSync('true');
    expect(exitCode(servicePolicy(pid))).toBe(104);
  });
});
