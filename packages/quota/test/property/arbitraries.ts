import fc from 'fast-check';
import * as commands from './commands.js';
import type { Command, Meanwhile, SettleArgs } from './commands.js';
import { JUMP_MS } from './ledger.js';
import { PERIOD_MS } from './plans.js';
import { TENANTS } from './world.js';

/* Random commands. Most are of one tenant, so that they meet; the other is there to be left alone. */

const tenantId = fc.constantFrom(TENANTS[0], TENANTS[0], TENANTS[0], TENANTS[1]);
const plan = fc.constantFrom(0, 0, 0, 0, 0, 1, 2, 3);
const skewMs = fc.constantFrom(0, 0, 0, PERIOD_MS / 2, -PERIOD_MS / 2, -3 * PERIOD_MS);
/** Ids are minted a little before Redis sees them, and by a clock that is a little wrong. */
const ahead = fc.constantFrom(undefined, undefined, 0, -1, -2, 2, -PERIOD_MS / 4, PERIOD_MS);
const owner = fc.constantFrom('gateway-a', 'gateway-b');
const tokens = fc.oneof(
  { weight: 8, arbitrary: fc.nat(60) },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 400 }) },
  { weight: 1, arbitrary: fc.integer({ min: 10_000_000_000, max: 99_999_999_999 }) },
);
const subjects = { apiKeyId: fc.constantFrom('k1', 'k2'), modelName: fc.constantFrom('m1', 'm2') };
const teaching = { learn: fc.boolean(), quantile: fc.constantFrom(undefined, 0.5, 0.9) };
const noKey = { key: fc.constant(undefined), checked: fc.constant(false), fingerprint: fc.constant('f') };

const anyReserve = fc
  .record({
    ...{ tenantId, plan, job: fc.nat(9), owner, skewMs, ahead, ...subjects, ...teaching },
    amounts: fc.record({ tokens, nanoUsd: fc.nat(900) }),
    key: fc.constantFrom(undefined, 'k1', 'k1', 'κ2'),
    checked: fc.constantFrom(true, true, false),
    fingerprint: fc.constantFrom('f', 'f', 'g'),
    accepted: fc.constantFrom(true, true, false),
  })
  .map(commands.reserve);
/** Jobs that there often is room for. */
const smallReserve = fc
  .record({
    ...{ tenantId, plan: fc.constant(0), job: fc.nat(99), owner, skewMs: fc.constant(0), ahead, ...subjects },
    ...{ ...teaching, ...noKey, accepted: fc.constant(true) },
    amounts: fc.record({ tokens: fc.nat(20), nanoUsd: fc.nat(300) }),
  })
  .map(commands.reserve);
/** Same keys again and again, of jobs that seldom are refused and often are not accepted. */
const keyed = fc.record({
  ...{ tenantId, plan: fc.constant(0), job: fc.nat(99), owner, skewMs: fc.constant(0), ahead, ...subjects },
  amounts: fc.record({ tokens: fc.nat(5), nanoUsd: fc.nat(50) }),
  ...{ key: fc.constantFrom('k1', 'κ2'), checked: fc.boolean(), fingerprint: fc.constantFrom('f', 'f', 'f', 'g') },
  ...{ ...teaching, accepted: fc.boolean() },
});
const keyedReserve = keyed.map(commands.reserve);

const settleArgs: fc.Arbitrary<SettleArgs> = fc.record({
  ...{ tenantId, job: fc.nat(3), share: fc.constantFrom(1, 0.5, 0), more: fc.constantFrom(0, 0, 13) },
  outputTokens: fc.nat(500),
  state: fc.constantFrom('succeeded', 'succeeded', 'failed', 'canceled', 'expired'),
});
const settle = settleArgs.map(commands.settle);
const progress = fc
  .record({ tenantId, job: fc.nat(3), state: fc.constantFrom('queued', 'running') })
  .map(commands.progress);

const meanwhile = fc.constantFrom<Meanwhile>(
  ...(['nothing', 'settle', 'settle', 'another load', 'a needless load', 'unload', 'loss', 'ten minutes'] as const),
);
const loading = { tenantId, plan, settle: settleArgs, keys: fc.constantFrom(undefined, 1, 9, 99), asked: fc.boolean() };
const load = fc.record({ ...loading, skewMs, meanwhile }).map(commands.load);
const QUIET = { plan: 0, skewMs: 0, meanwhile: 'nothing', keys: undefined, asked: false } as const;
const quietLoad = fc
  .record({ ...loading, skewMs: fc.constant(0), meanwhile: fc.constant<Meanwhile>('nothing') })
  .map(commands.load);

/** Several commands, one after the other. */
function story(all: readonly Command[]): Command {
  return {
    check: () => true,
    toString: () => all.map(String).join('; '),
    async run(world, real) {
      for (const one of all) await one.run(world, real);
    },
  };
}

/* What chance alone seldom does. */

/** The same key before a load and after it. */
const keyedAroundLoad = fc
  .tuple(keyed, fc.record({ ...loading, asked: fc.constant(false), skewMs: fc.constant(0), meanwhile }), keyed)
  .map(([before, around, after]) => {
    const { tenantId: same } = before;
    return story([
      commands.reserve({ ...before, checked: true }),
      commands.load({ ...around, tenantId: same, settle: { ...around.settle, tenantId: same } }),
      commands.reserve({ ...after, key: before.key, tenantId: same }),
    ]);
  });
/** A job that is loaded for, runs, ends and teaches the next one. */
const life = fc.tuple(keyed, settleArgs, fc.constantFrom(0, 300, JUMP_MS)).map(([job, end, byMs]) => {
  const [one, on] = [
    { tenantId: job.tenantId, job: 0 },
    { ...job, key: undefined, ahead: 0 },
  ];
  return story([
    commands.load({ ...QUIET, ...one, settle: end }),
    commands.reserve({ ...on, accepted: true, learn: true }),
    commands.progress({ ...one, state: 'running' }),
    commands.tick({ byMs }),
    commands.settle({ ...end, ...one }),
    commands.progress({ ...one, state: 'queued' }),
    commands.reserve({ ...on, job: job.job + 1, quantile: 0.5 }),
  ]);
});
/** A job that nobody heard of leaks, and a caller that was away as long comes back. */
const leak = fc
  .tuple(keyed, settleArgs)
  .map(([job, end]) =>
    story([
      commands.load({ ...QUIET, tenantId: job.tenantId, settle: end }),
      commands.reserve({ ...job, key: undefined, accepted: false, ahead: 0 }),
      commands.tick({ byMs: 28 * JUMP_MS }),
      commands.sweep({ limit: 3 }),
      commands.reserve({ ...job, key: undefined, skewMs: -3 * PERIOD_MS }),
    ]),
  );

/** A little, up to beyond periods and windows, beyond the life of holds and keys; and back: a little, and out of a period. */
const tick = fc
  .record({
    byMs: fc.oneof(
      { weight: 4, arbitrary: fc.nat(300) },
      { weight: 4, arbitrary: fc.constantFrom(JUMP_MS, JUMP_MS, 2 * JUMP_MS) },
      { weight: 1, arbitrary: fc.constantFrom(28 * JUMP_MS, 56 * JUMP_MS) },
      { weight: 2, arbitrary: fc.constantFrom(-1, -1_500, -2_001, -2 * JUMP_MS) },
    ),
  })
  .map(commands.tick);

const COMMON = [
  ...[anyReserve, anyReserve, smallReserve, smallReserve, smallReserve, keyedReserve, keyedAroundLoad, life, leak],
  ...[settle, settle, settle, progress, quietLoad, quietLoad, load, tick, tick],
  fc.record({ tenantId, job: fc.nat(3), owner: fc.option(owner, { nil: undefined }) }).map(commands.release),
  fc.record({ limit: fc.integer({ min: 1, max: 3 }) }).map(commands.sweep),
  fc.record({ tenantId, plan, skewMs }).map(commands.look),
];
const RARE = [fc.constant(0).map(commands.flush), fc.record({ tenantId }).map(commands.unload)];

/** Everything that may be done to a Redis that goes on running. */
export const anything = fc.commands([...COMMON, ...RARE], { maxCommands: 50, size: 'max' });

/** The same, and the process ends and comes back with old data now and then. */
export const anythingAndRestarts = fc
  .array(fc.tuple(...[0, 1, 2, 3, 4, 5].map(() => fc.oneof(...COMMON))), { minLength: 1, maxLength: 3 })
  .map((parts) =>
    parts.flatMap((part) => [...part.slice(0, 3), commands.save(), ...part.slice(3), commands.restart()]),
  );
