import { describe as group, expect, it } from '@jest/globals';
import {
  acceptances,
  conditionOf,
  describe,
  noteChange,
  refusals,
  type Seen,
  wantedReplicas,
  watch,
} from './observation.js';

function readings<T>(...values: readonly T[]): () => Promise<T> {
  let next = 0;
  return () => Promise.resolve(values[Math.min(next++, values.length - 1)] as T);
}

group('watch', () => {
  const fast = { pauseMs: 1, timeoutMs: 200 };

  it('ends when the value is as said, and tells what came before', async () => {
    const outcome = await watch({ step: 'up', read: readings(0, 0, 1, 4), accept: (value) => value === 4, ...fast });
    expect(outcome).toEqual({ step: 'up', right: true, seen: expect.stringMatching(/^0 → 1 → 4 \(after \d\.\d s\)$/) });
  });

  it('fails when it never is, and when something is seen that may not be', async () => {
    const never = await watch({ step: 'up', read: readings(0, 1), accept: (value) => value === 4, ...fast });
    expect(never).toMatchObject({ right: false, seen: expect.stringMatching(/^0 → 1 /) });
    const forbidden = {
      read: readings(3, 0, 4),
      accept: (value: number) => value === 4,
      never: (v: number) => v === 0,
    };
    expect(await watch({ step: 'hold', ...forbidden, ...fast })).toMatchObject({ right: false });
  });

  it('does not take a value that does not last', async () => {
    const read = readings(4, 5);
    expect(await watch({ step: 'hold', read, accept: (value) => value === 4, holdMs: 50, ...fast })).toMatchObject({
      right: false,
    });
  });
});

it('notes changes only', () => {
  const seen: Seen<number>[] = [];
  [1, 1, 2, 1].forEach((value, index) => noteChange(seen, value, index));
  expect(seen.map(({ value, atSeconds }) => [value, atSeconds])).toEqual([
    [1, 0],
    [2, 2],
    [1, 3],
  ]);
  expect(describe([])).toBe('nothing');
});

it('tells accepted objects from refused ones and warnings', () => {
  const output = [
    'deployment.apps/sluice-gateway serverside-applied',
    'Warning: would violate PodSecurity "restricted:latest": unrestricted capabilities',
    'service/sluice-gateway unchanged',
    'error: resource mapping not found for name: "x" namespace: "" from "STDIN"',
    '',
  ].join('\n');
  expect(acceptances(output)).toBe(2);
  expect(refusals(output).map((line) => line.split(':')[0])).toEqual(['Warning', 'error']);
});

it('reads conditions, also of an object that has none yet', () => {
  expect(conditionOf({}, 'Ready')).toBe('Unknown');
  expect(conditionOf({ status: { conditions: [{ type: 'Ready', status: 'True' }] } }, 'Ready')).toBe('True');
});

it('asks for workers as the formula of the chart does', () => {
  const perReplica = { interactive: 2, standard: 5, batch: 10 };
  expect(wantedReplicas({ standard: 0 }, perReplica, 6)).toBe(0);
  expect(wantedReplicas({ standard: 1 }, perReplica, 6)).toBe(1);
  expect(wantedReplicas({ standard: 12, batch: 10 }, perReplica, 6)).toBe(4);
  expect(wantedReplicas({ standard: 100 }, perReplica, 6)).toBe(6);
});
