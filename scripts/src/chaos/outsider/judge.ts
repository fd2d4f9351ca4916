import { checkViews } from '../../reconciliation.js';
import { withClient } from '../../postgres-client.js';
import { readBooks } from './books.js';
import { everyAcceptedJobHasEnded, everyJobIsWhole } from './checks/accepted.js';
import { billsAreRight } from './checks/bills.js';
import { endsAreFinal } from './checks/finality.js';
import { oneKeyOneJob } from './checks/keys.js';
import { everyJobWasAskedFor, refusalsMadeNoJob } from './checks/origin.js';
import { cancellationsHold, noInternalErrors, resultsAreRight } from './checks/outcomes.js';
import { quotasWereKept, redisEqualsLedger, samplesWereWithinLimits } from './checks/quotas.js';
import { flightsWereKept, ratesWereKept } from './checks/rates.js';
import { deadLettersAreKnown, nothingIsStuck, reconciliationIsEmpty } from './checks/rest.js';
import { drainSuite, readFinalLimits } from './drain.js';
import { gatherEvidence, type Evidence } from './evidence.js';
import { readFinalJobs } from './final-jobs.js';
import type { Observations } from './observations.js';
import type { Tenants } from './tenants.js';
import type { Check, Drain, Verdict } from './verdict.js';

export interface JudgeOptions {
  readonly observations: Observations;
  readonly tenants: Tenants;
  /** URL of PostgreSQL itself. */
  readonly postgresUrl: string;
  readonly urls: () => readonly string[];
  /** How long the suite may take to come to rest, in milliseconds. */
  readonly drainTimeoutMs: number;
}

/** Waits until the suite has come to rest and says whether it did everything right, from HTTP and PostgreSQL alone. */
export async function judge(options: JudgeOptions): Promise<Verdict> {
  const { observations, tenants, postgresUrl, urls } = options;
  const drain = await drainSuite(options);
  const tenantIds = [...new Set(tenants.clients.map(({ tenantId }) => tenantId))];
  const read = await withClient(postgresUrl, (client) => readBooks(client, tenantIds));
  const books = { ...read, reconciliations: await checkViews(postgresUrl) };
  const finalSeen = await readFinalJobs({ observations, books, clients: tenants.clients, urls });
  const finalLimits = await readFinalLimits({ tenants, urls });
  const evidence = gatherEvidence({ observations, books, finalSeen, finalLimits });
  const checks = runChecks(evidence, drain);
  return { right: checks.every(({ right }) => right), drain, checks };
}

/** Every check, each over all the evidence. */
export function runChecks(evidence: Evidence, drain: Drain): readonly Check[] {
  return [
    everyAcceptedJobHasEnded(evidence),
    everyJobIsWhole(evidence),
    endsAreFinal(evidence),
    billsAreRight(evidence),
    everyJobWasAskedFor(evidence),
    refusalsMadeNoJob(evidence),
    oneKeyOneJob(evidence),
    quotasWereKept(evidence),
    samplesWereWithinLimits(evidence),
    ratesWereKept(evidence),
    flightsWereKept(evidence),
    redisEqualsLedger(evidence),
    cancellationsHold(evidence),
    resultsAreRight(evidence),
    noInternalErrors(evidence),
    nothingIsStuck(evidence, drain),
    reconciliationIsEmpty(evidence),
    deadLettersAreKnown(evidence),
  ];
}
