import { beforeAll, describe, expect, it } from '@jest/globals';
import { attemptSubmit, outcomeOf } from '../src/chaos/outsider/attempt.js';
import { loadInputs } from '../src/chaos/outsider/inputs.js';
import { createJournal } from '../src/chaos/outsider/journal.js';
import { createOutputs, distanceOf } from '../src/chaos/outsider/outputs.js';
import { conflicting, drawSubmission, type Submission } from '../src/chaos/outsider/submissions.js';
import type { Tenants } from '../src/chaos/outsider/tenants.js';
import { createRandom } from '../src/chaos/random.js';
import { Agent } from 'undici';

const client = { tenantId: 't', apiKeyId: 'a', key: 'k', weight: 1, fickle: true, via: 'http' } as const;
const tenants: Tenants = { clients: [client, { ...client, tenantId: 'u', via: 'amqp', fickle: false }] };

describe('what an answer to a submission promises', () => {
  it.each([
    [202, undefined, 'accepted'],
    [400, 'invalid_request', 'refused'],
    [408, 'request_timeout', 'refused'],
    [422, 'idempotency_key_reused', 'refused'],
    [429, 'quota_exceeded', 'refused'],
    [503, 'quota_unavailable', 'refused'],
    [503, 'broker_unavailable', 'refused'],
    [503, 'publish_unconfirmed', 'unknown'],
    [503, undefined, 'unknown'],
    [500, 'internal', 'unknown'],
    [504, 'expired', 'unknown'],
  ] as const)('%s %s: %s', (status, code, outcome) => {
    expect(outcomeOf(status, code)).toBe(outcome);
  });

  it('a connection that never was has sent nothing', async () => {
    const [submission] = draw(1);
    const dispatcher = new Agent();
    // n.b. port 1 is reserved, and nobody listens there.
    const options = { url: 'http://127.0.0.1:1', dispatcher, timeoutMs: 5_000 };
    expect(submission && (await attemptSubmit(submission, options))).toEqual({
      outcome: 'refused',
      code: 'ECONNREFUSED',
    });
    await dispatcher.close();
  });
});

let inputs: Awaited<ReturnType<typeof loadInputs>>;
beforeAll(async () => {
  inputs = await loadInputs();
});

function draw(count: number, seed = 1): readonly Submission[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => drawSubmission(random, tenants, inputs));
}

describe('the load', () => {
  it('is a function of the seed but for its ids', () => {
    const shapes = (seed: number) =>
      draw(300, seed).map(({ client: { tenantId }, input, then }) => [tenantId, input, then]);
    expect(shapes(5)).toEqual(shapes(5));
    expect(shapes(5)).not.toEqual(shapes(6));
  });

  it('has everything that careful and fickle clients do', () => {
    const all = draw(2_000);
    const share = (is: (one: Submission) => boolean): number => all.filter(is).length / all.length;
    expect(share(({ idempotencyKey }) => idempotencyKey !== undefined)).toBeGreaterThan(0.4);
    expect(share(({ purpose }) => purpose === 'invalid')).toBeGreaterThan(0.005);
    expect(share(({ body }) => 'expiresIn' in body && body['expiresIn'] !== 0)).toBeGreaterThan(0.005);
    expect(share(({ then }) => then.cancelAfterMs !== undefined)).toBeGreaterThan(0.02);
    expect(share(({ then }) => then.repeat)).toBeGreaterThan(0.02);
    expect(new Set(all.map(({ input }) => input.model)).size).toBe(3);
    expect(new Set(all.map(({ request }) => request)).size).toBe(all.length);
  });

  it('never cancels, hurries or contradicts where that would blur a check', () => {
    for (const { client: who, then, body, purpose, idempotencyKey } of draw(2_000)) {
      if (!who.fickle) expect([then.cancelAfterMs, body['expiresIn']]).toEqual([undefined, undefined]);
      if (who.via === 'amqp') expect(idempotencyKey).toBeDefined();
      if (idempotencyKey === undefined) expect([then.repeat, then.conflict]).toEqual([false, false]);
      if (purpose === 'invalid') expect(idempotencyKey).toBeUndefined();
    }
  });

  it('contradicts under the same key, as a request of its own', () => {
    const first = draw(50).find(({ idempotencyKey }) => idempotencyKey !== undefined);
    if (!first) throw new Error('none of fifty has a key');
    const other = conflicting(first);
    expect(other.idempotencyKey).toBe(first.idempotencyKey);
    expect(other.request).not.toBe(first.request);
    expect(other.bodyHash).not.toBe(first.bodyHash);
  });
});

describe('the journal', () => {
  it('counts attempts, jobs and ends, and keeps everything in order', () => {
    let nowMs = 0;
    const journal = createJournal(9, () => ++nowMs);
    const answer = { kind: 'answered', request: 'r', attempt: 1 } as const;
    journal.note({ ...answer, outcome: 'refused', status: 429, code: 'rate_limited' });
    journal.note({ ...answer, outcome: 'accepted', status: 202, jobId: 'j' });
    journal.note({ ...answer, outcome: 'accepted', status: 202, jobId: 'j' });
    expect(journal.hasEnded('j')).toBe(false);
    journal.note({ kind: 'seen', jobId: 'j', tenantId: 't', askedAtMs: 0, by: 'poll', state: 'expired' });
    expect(journal.hasEnded('j')).toBe(true);
    expect(journal.counts()).toMatchObject({
      ...{ sent: 0, accepted: 2, refused: 1, unknown: 0, jobs: 1, ended: 1 },
      answers: { '202': 2, '429 rate_limited': 1 },
    });
    expect(journal.observations().events.map(({ atMs }) => atMs)).toEqual([1, 2, 3, 4]);
  });
});

describe('results', () => {
  it('are compared with the first of an equal input', () => {
    const outputs = createOutputs();
    expect(outputs.compare('i', { embeddings: [[1, 2]] })).not.toHaveProperty('distance');
    expect(outputs.compare('i', { embeddings: [[1, 2.5]] }).distance).toBe(0.5);
    expect(outputs.compare('other', { embeddings: [[9]] })).not.toHaveProperty('distance');
  });

  it('of different tasks, counts or dimensions are infinitely far apart', () => {
    const labels = [[{ label: 'ts', score: 0.9 }]];
    expect(distanceOf({ embeddings: [[1]] }, { classifications: labels })).toBe(Infinity);
    expect(distanceOf({ embeddings: [[1]] }, { embeddings: [[1], [1]] })).toBe(Infinity);
    expect(distanceOf({ embeddings: [[1]] }, { embeddings: [[1, 2]] })).toBe(Infinity);
  });

  it('of labels are compared by name, whichever comes first', () => {
    const one = {
      classifications: [
        [
          { label: 'ts', score: 0.51 },
          { label: 'js', score: 0.49 },
        ],
      ],
    };
    const other = {
      classifications: [
        [
          { label: 'js', score: 0.5 },
          { label: 'ts', score: 0.5 },
        ],
      ],
    };
    expect(distanceOf(one, other)).toBeCloseTo(0.01);
    const another = {
      classifications: [
        [
          { label: 'go', score: 0.9 },
          { label: 'ts', score: 0.1 },
        ],
      ],
    };
    expect(distanceOf(one, another)).toBeCloseTo(0.41);
  });
});
