import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { finish } from '../../src/model/index.js';
import { factsOf, JUMP_MS } from './ledger.js';
import { PERIOD_MS } from './plans.js';
import { runs } from './settings.js';
import { admit, advance, collect, kill, load, openSuite, PLAN, start, sweep, TENANT, type Suite } from './suite.js';

/*
 * The protocol of reserve, publish, record, settle, sweep and load, on the model, with processes that die before any step
 * and a Redis that is flushed and restarted on old data. Checked against the records: what was accepted is within every
 * limit at every step, and in the end Redis says what the records say.
 */
type Event =
  | { readonly kind: 'admit'; readonly apiKeyId: string; readonly tokens: number; readonly publishes: boolean }
  | { readonly kind: 'collect'; readonly job: number; readonly tokens: number }
  | { readonly kind: 'load' | 'sweep' | 'flush' | 'restart' | 'save' }
  | { readonly kind: 'advance'; readonly process: number; readonly steps: number }
  | { readonly kind: 'kill'; readonly process: number }
  | { readonly kind: 'tick'; readonly byMs: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      process: fc.nat(50),
      steps: fc.constantFrom(1, 2, 9),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      ...{ kind: fc.constant('admit' as const), apiKeyId: fc.constantFrom('k1', 'k2'), tokens: fc.nat(99) },
      publishes: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('collect' as const), job: fc.nat(5), tokens: fc.nat(120) }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'load' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const), process: fc.nat(50) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('tick' as const),
      byMs: fc.constantFrom(1, 900, 9_000, JUMP_MS, 28 * JUMP_MS, -1, -1_900),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sweep', 'flush', 'restart', 'save') }) },
);

let jobs = 0;
function happen(suite: Suite, event: Event): void {
  const { model, processes, ledger } = suite;
  const ids = [...processes.keys()];
  const pick = (index: number) => ids[index % Math.max(1, ids.length)] ?? -1;
  switch (event.kind) {
    case 'admit': {
      const { apiKeyId, tokens, publishes } = event;
      const jobId = `job-${jobs++}`;
      const admission = { jobId, apiKeyId, amounts: { tokens, nanoUsd: tokens * 9 }, publishes };
      return start(suite, { steps: admit(suite, admission), admits: jobId });
    }
    case 'collect': {
      const jobId = [...ledger.keys()].at(-1 - event.job);
      if (jobId === undefined) return;
      return start(suite, { steps: collect(suite, jobId, { tokens: event.tokens, nanoUsd: event.tokens * 10 }) });
    }
    case 'load':
      return start(suite, { steps: load(suite) });
    case 'sweep':
      return start(suite, { steps: sweep(suite) });
    case 'advance': {
      const id = pick(event.process);
      for (let i = 0; i < event.steps; i++) advance(suite, id);
      return;
    }
    case 'kill':
      return kill(suite, pick(event.process));
    case 'tick':
      // n.b. a step back out of a period, and a load before that period comes again, is one of the known edges.
      if (event.byMs < 0 && suite.nowMs % PERIOD_MS < -event.byMs) return;
      suite.nowMs += event.byMs;
      return model.expire(suite.nowMs);
    case 'save':
      suite.image = model.image();
      return;
    case 'flush':
      return model.flush();
    case 'restart':
      return model.restart(suite.image);
  }
}

/** What is accepted is within the limits, by the records alone. */
function expectWithinLimits({ ledger, nowMs }: Suite): void {
  const { scopes, posted } = factsOf(ledger, PLAN, nowMs);
  const open = [...ledger.values()].filter(({ used }) => !used);
  for (const { scope, subject, limits } of scopes) {
    const own = open.filter(({ apiKeyId, model }) => ['', apiKeyId, model].includes(subject));
    for (const { name, kind, unit, max, soft, period } of limits) {
      if (soft || kind === 'rate') continue;
      const counted = own.filter(
        ({ acceptedAtMs }) => kind === 'inFlight' || acceptedAtMs >= (period?.startsAtMs ?? 0),
      );
      const held = counted.reduce((sum, { amounts }) => sum + (unit === 'requests' ? 1 : amounts[unit]), 0);
      const row = posted.find((one) => one.scope === scope && one.subject === subject && one.name === name);
      const { used, overage } = row ?? { used: 0, overage: 0 };
      if (held + used > max + overage) throw new Error(`${name} of ${subject} is passed: ${held} + ${used} > ${max}`);
    }
  }
}

/** When all has come to rest: everything that leaked is swept, everything recorded is settled, the tenant is loaded. */
function settleDown(suite: Suite): void {
  const { model, ledger, processes } = suite;
  processes.clear();
  const now = () => suite.nowMs;
  for (const jobId of [...ledger.keys()]) finish(collect(suite, jobId, { tokens: 7, nanoUsd: 7 }), now);
  suite.nowMs += 40 * JUMP_MS;
  finish(sweep(suite), now);
  if (!model.inspect(TENANT)) finish(load(suite), now);
}

function quotasOf(suite: Suite) {
  const { limits = [], holds } = suite.model.inspect(TENANT) ?? {};
  expect(holds?.size).toBe(0);
  const kept = limits.flatMap(({ scope, subject, name, kind, used, held, overage, period }) =>
    kind === 'rate' || (period && period.endsAtMs <= suite.nowMs)
      ? []
      : [[`${scope} ${subject} ${name}`, { used, held, overage }] as const],
  );
  return Object.fromEntries(kept);
}

const seen = new Set<string>();

describe('the protocol', () => {
  it('passes no limit and ends each hold once, whatever dies, and in the end Redis says what the records say', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150, size: 'max' }), (events) => {
        const suite = openSuite(seen);
        finish(load(suite), () => suite.nowMs);
        for (const one of events) {
          happen(suite, one);
          expectWithinLimits(suite);
        }
        settleDown(suite);
        expect([...suite.ended].filter(([, times]) => times > 1)).toEqual([]);
        const settled = quotasOf(suite);
        suite.model.restart();
        finish(load(suite), () => suite.nowMs);
        const loaded = quotasOf(suite);
        for (const [name, counts] of Object.entries(settled))
          expect([name, loaded[name] ?? counts]).toEqual([name, counts]);
      }),
      runs(300),
    );
    const met = [
      'reserved',
      'refused',
      'stale',
      'not_loaded',
      'settled',
      'missing',
      'early',
      'begun',
      'loaded',
      'busy',
    ];
    expect([...met, 'superseded', 'swept'].filter((outcome) => !seen.has(outcome))).toEqual([]);
  });
});
