import type { Books } from './books.js';
import type { Output } from './console-output.js';
import { percentile, type DemoResult, type DemoRun } from './demo-run.js';
import type { QuotaAnswer } from './position.js';

export interface DemoReport {
  readonly output: Output;
  readonly run: DemoRun;
  readonly quotaBefore: QuotaAnswer;
  readonly quotaAfter: QuotaAnswer;
  readonly books: Books;
}

const SHOWN_SENTENCES = 6;
const SHOWN_SNIPPETS = 8;
const MAX_WIDTH = 56;

/** Prints what a newcomer wants to see: results, speed, quota, ledger, report, and whether the books are right. */
export function printDemo({ output, run, quotaBefore, quotaAfter, books }: DemoReport): void {
  printNearest(output, run.results);
  printLanguages(output, run.results);
  printSpeed(output, run);
  printQuota(output, quotaBefore, quotaAfter);

  output.heading('Ledger, the newest entries (PostgreSQL)');
  output.table(
    ['job', 'entry', 'model', 'tokens', 'nano-USD'],
    books.ledger.map((row) => [row.jobId, row.entry, row.model, row.tokens, row.amountNanoUsd]),
  );
  output.heading('Daily report (view v_usage_daily)');
  output.table(
    ['day', 'model', 'jobs', 'input tokens', 'USD'],
    books.daily.map((row) => [row.day, row.model, row.jobs, row.inputTokens, row.amountUsd]),
  );
  output.heading('The books');
  for (const check of books.checks) output.step(check);
  for (const problem of books.problems) output.line(`  ✗ ${problem}`);
}

function printNearest(output: Output, results: readonly DemoResult[]): void {
  const embedded = results.flatMap(({ text, job }) => {
    const vector = job.output?.embeddings?.[0];
    return vector ? [{ title: text.title, vector }] : [];
  });
  const best = embedded
    .map((one) => {
      const [nearest] = embedded
        .filter((other) => other !== one && other.title !== one.title)
        .map((other) => ({ title: other.title, cosine: dot(one.vector, other.vector) }))
        .sort((a, b) => b.cosine - a.cosine);
      return { title: one.title, nearest };
    })
    .sort((a, b) => (b.nearest?.cosine ?? 0) - (a.nearest?.cosine ?? 0));

  output.heading('Sentences and their nearest neighbour (use-lite-en)');
  // n.b. neighbours are mutual more often than not, so every other row shows a pair once.
  const rows = best.filter((_, index) => index % 2 === 0).slice(0, SHOWN_SENTENCES);
  output.table(
    ['sentence', 'nearest', 'cosine'],
    rows.map(({ title, nearest }) => [cut(title), cut(nearest?.title ?? ''), (nearest?.cosine ?? 0).toFixed(3)]),
  );
}

/** Embeddings are normalised to length 1, so the dot product is the cosine. */
function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}

function printLanguages(output: Output, results: readonly DemoResult[]): void {
  const detected = results.filter(({ text }) => text.model === 'guesslang');
  const step = Math.max(1, Math.floor(detected.length / SHOWN_SNIPPETS));
  output.heading('Code files and the language found (guesslang)');
  output.table(
    ['file', 'language', 'probability'],
    detected
      .filter((_, index) => index % step === 0)
      .slice(0, SHOWN_SNIPPETS)
      .map(({ text, job }) => {
        const top = job.output?.classifications?.[0]?.[0];
        return [text.title, top?.label ?? '', (top?.score ?? 0).toFixed(3)];
      }),
  );
}

function printSpeed(output: Output, { results, seconds }: DemoRun): void {
  const ms = (values: readonly number[], p: number): string => `${percentile(values, p).toFixed(1)} ms`;
  const submit = results.map(({ submitMs }) => submitMs);
  const done = results.map(({ doneMs }) => doneMs);
  output.heading(
    `Speed: ${(results.length / seconds).toFixed(0)} jobs/s (${results.length} jobs in ${seconds.toFixed(2)} s)`,
  );
  output.table(
    ['', 'p50', 'p90', 'p99'],
    [
      ['submit → 202', ms(submit, 0.5), ms(submit, 0.9), ms(submit, 0.99)],
      ['submit → result read', ms(done, 0.5), ms(done, 0.9), ms(done, 0.99)],
    ],
  );
}

function printQuota(output: Output, before: QuotaAnswer, after: QuotaAnswer): void {
  output.heading('Quota of the tenant, before → after');
  output.table(
    ['limit', 'max', 'used', 'held', 'remaining'],
    after.limits.map((limit) => {
      const was = before.limits.find(({ name }) => name === limit.name);
      const arrow = (key: 'used' | 'held' | 'remaining'): string => `${was?.[key] ?? 0} → ${limit[key]}`;
      return [limit.name, limit.max, arrow('used'), arrow('held'), arrow('remaining')];
    }),
  );
}

function cut(text: string): string {
  return text.length <= MAX_WIDTH ? text : `${text.slice(0, MAX_WIDTH - 1)}…`;
}
