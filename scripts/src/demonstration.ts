import { billedTokens, checkBooks } from './books.js';
import { mustCall, type Tenant } from './client.js';
import type { Output } from './console-output.js';
import { loadDemoTexts } from './demo-data.js';
import { printDemo } from './demo-report.js';
import { runDemo, type DemoRun } from './demo-run.js';
import { heldTokens, settledPosition, type PositionOptions, type QuotaAnswer } from './position.js';
import { withClient } from './postgres-client.js';
import { checkViews } from './reconciliation.js';
import type { Suite } from './suite.js';

export interface DemonstrationOptions {
  readonly suite: Suite;
  readonly tenant: Tenant;
  readonly postgresUrl: string;
  readonly output: Output;
}

export interface Demonstration {
  readonly run: DemoRun;
  /** Whether everything succeeded and the books are right. */
  readonly healthy: boolean;
}

const PATIENCE_MS = 30_000;

/** Pushes real texts through, shows what came of them, and checks the books. */
export async function demonstrate(options: DemonstrationOptions): Promise<Demonstration> {
  const { suite, tenant, output } = options;
  const texts = await loadDemoTexts();
  output.heading(`First jobs: ${texts.length} texts from examples/data, each a job of its own over HTTP`);
  // The tenant is the same at every start, and jobs outlive a start: those of an earlier one are finished first.
  const before = await position(options, {
    patienceMs: PATIENCE_MS,
    onWait: (held) => output.step(`finishing ${held} tokens held by an earlier start`),
  });
  const progress = output.progress('jobs done', texts.length);
  const run = await runDemo(suite.urls, tenant, texts, () => progress.tick());
  progress.done();
  const after = await position(options, { patienceMs: PATIENCE_MS, heldAtMost: heldTokens(before.quota) });
  const views = await checkViews(options.postgresUrl);
  const books = await withClient(options.postgresUrl, (client) =>
    checkBooks(client, tenant.tenantId, run, { before, after, views }),
  );
  printDemo({ output, run, quotaBefore: before.quota, quotaAfter: after.quota, books });
  return { run, healthy: books.problems.length === 0 };
}

function position({ suite, tenant, postgresUrl }: DemonstrationOptions, options: PositionOptions) {
  return withClient(postgresUrl, (client) =>
    settledPosition(
      {
        quota: () => mustCall<QuotaAnswer>(suite.url, '/v1/quota', { key: tenant.key }),
        ledgerTokens: () => billedTokens(client, tenant.tenantId),
      },
      options,
    ),
  );
}
