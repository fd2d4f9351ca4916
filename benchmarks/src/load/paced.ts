import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { percentiles, type Percentiles } from '../harness/statistics.js';
import type { LoadPlan, OnAnswer, RequestTemplate } from './load-plan.js';

/** Sends by the clock; resolves with the last answer, and says how well the clock was kept. */
export async function runPaced(plan: LoadPlan, perSecond: number, onAnswer: OnAnswer): Promise<Percentiles> {
  const { origin, pathname } = new URL(plan.url);
  const pool = new Pool(origin, {
    connections: plan.pace.connections,
    headersTimeout: plan.timeLimitMs,
    bodyTimeout: plan.timeLimitMs,
  });

  async function send({ headers, body }: RequestTemplate): Promise<void> {
    const sentAt = performance.now();
    try {
      const answer = await pool.request({ path: pathname, method: 'POST', headers, body });
      await answer.body.dump();
      onAnswer(answer.statusCode, performance.now() - sentAt);
    } catch (error) {
      onAnswer(error instanceof Error ? error.message : String(error), performance.now() - sentAt);
    }
  }

  const lateMs: number[] = [];
  const answers: Promise<void>[] = [];
  const startedAt = performance.now();
  while (answers.length < plan.requests) {
    const elapsedMs = performance.now() - startedAt;
    for (let index = answers.length; index < plan.requests && (index * 1000) / perSecond <= elapsedMs; index++) {
      const template = plan.templates[index % plan.templates.length];
      if (template === undefined) throw new RangeError('a load plan needs templates');
      lateMs.push(performance.now() - startedAt - (index * 1000) / perSecond);
      answers.push(send(template));
    }
    await sleep(1);
  }
  await Promise.all(answers);
  await pool.close();
  return percentiles(lateMs);
}
