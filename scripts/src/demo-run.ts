import { randomUUID } from 'node:crypto';
import { call, mustCall, type Tenant } from './client.js';
import type { DemoText } from './demo-data.js';

/** The parts of a job's HTTP answer that the demonstration uses. */
export interface DemoJob {
  readonly id: string;
  readonly state: string;
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number };
  readonly output?: {
    readonly embeddings?: readonly (readonly number[])[];
    readonly classifications?: readonly (readonly { readonly label: string; readonly score: number }[])[];
  };
  readonly error?: { readonly code: string; readonly detail: string };
}

export interface DemoResult {
  readonly text: DemoText;
  readonly job: DemoJob;
  /** From sending the request to reading the 202, in milliseconds. */
  readonly submitMs: number;
  /** From sending the request to reading the terminal state, in milliseconds. */
  readonly doneMs: number;
}

export interface DemoRun {
  readonly results: readonly DemoResult[];
  readonly seconds: number;
}

const CONCURRENCY = 48;
const MAX_RETRIES = 20;

/** Sends every text as a job of its own through HTTP and waits for each result by long poll. */
export async function runDemo(
  urls: readonly string[],
  tenant: Tenant,
  texts: readonly DemoText[],
  tick: () => void,
): Promise<DemoRun> {
  const startedAt = performance.now();
  const results: DemoResult[] = [];
  let next = 0;
  async function lane(): Promise<void> {
    for (let index = next++; index < texts.length; index = next++) {
      const text = texts[index];
      const url = urls[index % urls.length];
      if (text === undefined || url === undefined) return;
      results[index] = await runOne(url, tenant.key, text);
      tick();
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return { results, seconds: (performance.now() - startedAt) / 1000 };
}

async function runOne(url: string, key: string, text: DemoText): Promise<DemoResult> {
  const startedAt = performance.now();
  const accepted = await submit(url, key, text);
  const submitMs = performance.now() - startedAt;
  let job = accepted;
  while (job.state === 'queued' || job.state === 'running') {
    job = await mustCall<DemoJob>(url, `/v1/jobs/${accepted.id}?wait=30`, { key });
  }
  return { text, job, submitMs, doneMs: performance.now() - startedAt };
}

/** Sends one job; an answer that says "try again" is tried again under the same Idempotency-Key. */
async function submit(url: string, key: string, { model, input }: DemoText): Promise<DemoJob> {
  const headers = { 'idempotency-key': randomUUID() };
  for (let attempt = 0; ; attempt++) {
    const answer = await call<DemoJob>(url, '/v1/jobs', { method: 'POST', key, headers, body: { model, input } });
    if (answer.status === 202) return answer.body;
    if (answer.status < 429 || attempt === MAX_RETRIES) {
      throw new Error(`POST /v1/jobs answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers['retry-after'] ?? 1)));
  }
}

/** The value below which a share `p` (0 … 1) of `values` lies; nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
}
