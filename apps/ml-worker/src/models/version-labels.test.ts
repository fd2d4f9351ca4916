import { expect, it } from '@jest/globals';
import { characterModel } from '../../test/fixtures.js';
import { createVersionLabels } from './version-labels.js';

const modelsOf = (keys: Readonly<Record<string, string>>) =>
  new Map(Object.entries(keys).map(([name, key]) => [name, { main: { ...characterModel(), key } }]));

it('names a version as tenants do, by the first name where several lead to it', () => {
  const labels = createVersionLabels();
  labels.learn(modelsOf({ zebra: 'characters/1', ape: 'characters/1', cat: 'characters/2~1' }));
  expect(labels.of('characters/1')).toEqual({ model: 'ape', version: '1' });
  expect(labels.of('characters/2~1')).toEqual({ model: 'cat', version: '2~1' });
});

it('keeps the name of a version that is not served any more until it is told to forget it', () => {
  const labels = createVersionLabels();
  labels.learn(modelsOf({ ape: 'characters/1' }));
  const first = labels.of('characters/1');
  labels.learn(modelsOf({ ape: 'characters/2' }));
  expect(labels.of('characters/1')).toBe(first);
  labels.keepOnly(new Set(['characters/2']));
  expect(labels.of('characters/1')).toEqual({ model: 'characters/1', version: '' });
});

it('gives a version another name when nobody has the first one any more', () => {
  const labels = createVersionLabels();
  labels.learn(modelsOf({ ape: 'characters/1', zebra: 'characters/1' }));
  labels.learn(modelsOf({ zebra: 'characters/1' }));
  expect(labels.of('characters/1')).toEqual({ model: 'zebra', version: '1' });
});
