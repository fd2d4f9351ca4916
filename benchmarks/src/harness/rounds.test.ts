import { describe, expect, it } from '@jest/globals';
import { runRounds } from './rounds.js';

const sides = [{ name: 'a' }, { name: 'b' }];

describe('runRounds', () => {
  it('measures the sides in turns and keeps their figures apart', async () => {
    const order: string[] = [];
    const measure = async ({ name }: { name: string }) => order.push(name);
    expect(await runRounds({ sides, rounds: 3, warmUps: 0, measure })).toEqual({ a: [1, 3, 5], b: [2, 4, 6] });
    expect(order.join('')).toBe('ababab');
  });

  it('runs warm-ups first and does not count them', async () => {
    let runs = 0;
    const reported: number[] = [];
    const figures = await runRounds({
      sides,
      rounds: 1,
      warmUps: 2,
      measure: async () => ++runs,
      report: ({ round }) => reported.push(round),
    });
    expect(figures).toEqual({ a: [5], b: [6] });
    expect(reported).toEqual([1, 1]);
  });

  it('ends at the first failure', async () => {
    const measure = async () => Promise.reject(new Error('lost a job'));
    await expect(runRounds({ sides, rounds: 1, warmUps: 0, measure })).rejects.toThrow('lost a job');
  });
});
