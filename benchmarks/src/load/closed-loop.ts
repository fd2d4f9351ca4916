import autocannon from 'autocannon';
import type { LoadPlan, OnAnswer } from './load-plan.js';

/** Sends with a fixed number of connections, each waiting for its answer; resolves with the last answer. */
export function runClosedLoop(
  { url, pace, requests, templates, timeLimitMs }: LoadPlan,
  onAnswer: OnAnswer,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let answers = 0;
    const options = {
      url,
      connections: Math.min(pace.connections, requests),
      amount: requests,
      timeout: Math.ceil(timeLimitMs / 1000),
      requests: templates.map((template) => ({ method: 'POST' as const, ...template })),
    };
    const instance = autocannon(options, (error) => (error ? reject(error) : resolve()));
    const count = (status: number | string, latencyMs: number): void => {
      onAnswer(status, latencyMs);
      answers += 1;
      if (answers < requests) return;
      instance.stop();
      resolve();
    };
    instance.on('response', (_client: unknown, status: number, _bytes: number, ms: number) => count(status, ms));
    instance.on('reqError', (error: Error) => count(error.message, 0));
  });
}
