import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { EXCHANGES } from '@sluice/contracts';
import { asyncApi, asyncApiYaml } from '../src/asyncapi.js';
import { ROOT } from '../src/paths.js';

it('docs/asyncapi.yaml is what the contracts say (npm run asyncapi --workspace scripts)', () => {
  expect(readFileSync(join(ROOT, 'docs', 'asyncapi.yaml'), 'utf8')).toBe(asyncApiYaml());
});

it('has every object that it refers to', () => {
  const document = asyncApi();
  const references: string[] = [];
  JSON.stringify(document, (key, value: unknown) => {
    if (key === '$ref' && typeof value === 'string') references.push(value);
    return value;
  });
  expect(references.length).toBeGreaterThan(10);
  for (const reference of references)
    expect([reference, target(document, reference)]).toEqual([reference, expect.anything()]);
});

it('speaks of the exchanges for other services only', () => {
  const names = Object.values(asyncApi().channels).flatMap((channel) =>
    'bindings' in channel ? [channel.bindings.amqp.exchange.name] : [],
  );
  expect(new Set(names)).toEqual(new Set([EXCHANGES.ingest, EXCHANGES.events]));
});

function target(document: unknown, reference: string): unknown {
  return reference
    .split('/')
    .slice(1)
    .reduce<unknown>((value, part) => (value as Readonly<Record<string, unknown>> | undefined)?.[part], document);
}
