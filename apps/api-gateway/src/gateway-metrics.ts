import { ERRORS, isServiceError, type AcceptedMessage } from '@sluice/contracts';
import { DURATION_BOUNDS, type Metrics } from '@sluice/telemetry';
import type { LimitStatus } from '@sluice/quota';

/** What the parts of a gateway tell about submissions and tenants. */
export interface GatewayMetrics {
  /** A job is reserved, and its publish confirmed. */
  accepted(job: Pick<AcceptedMessage, 'model' | 'class'>): void;
  /** A submission was answered with the job of an earlier one. */
  repeated(): void;
  /** A submission was refused, or failed. */
  refused(error: unknown): void;
  /** A limit refused a job. */
  overLimit(limit: Pick<LimitStatus, 'scope' | 'name'>): void;
  /** Redis answered a reservation after so long; `held` when it took a new hold. */
  reserved(ms: number, held: boolean): void;
  reserveFailed(): void;
  /** A hold was given back because its job was not queued. */
  released(): void;
  /** A load of a tenant began; returns what is to be called at its end. */
  loading(): (outcome: 'loaded' | 'failed') => void;
  /** A long poll waits; returns what is to be called when it does not any more. */
  polling(): () => void;
  /** A submission over AMQP was answered. */
  ingested(outcome: 'accepted' | 'refused'): void;
}

/** Sizes that are looked up when somebody asks. */
export interface GatewaySizes {
  readonly flights: { readonly size: number };
  readonly abandoned: { readonly size: number };
}

export function createGatewayMetrics(metrics: Metrics): GatewayMetrics & { watch(sizes: GatewaySizes): void } {
  const accepted = metrics.counter('sluice_jobs_accepted_total', 'Jobs that were held for and queued.', [
    'model',
    'class',
  ]);
  const repeats = metrics.counter(
    'sluice_idempotent_repeats_total',
    'Submissions answered with the job of an earlier one.',
  );
  const refusals = metrics.counter('sluice_refusals_total', 'Submissions that were refused or failed, by error code.', [
    'code',
  ]);
  const limits = metrics.counter('sluice_limit_refusals_total', 'Jobs that a limit refused, by its scope and name.', [
    'scope',
    'limit',
  ]);
  const reserves = metrics.histogram(
    'sluice_reserve_duration_seconds',
    'Time that Redis took for a reservation.',
    DURATION_BOUNDS,
  );
  const reserveFailures = metrics.counter('sluice_reserve_failures_total', 'Reservations that Redis did not answer.');
  const holds = metrics.counter('sluice_holds_reserved_total', 'Holds that were taken.');
  const releases = metrics.counter(
    'sluice_holds_released_total',
    'Holds given back because their jobs were not queued.',
  );
  const loads = metrics.counter(
    'sluice_tenant_loads_total',
    'Loads of tenants from PostgreSQL into Redis, by outcome.',
    ['outcome'],
  );
  const loadTimes = metrics.histogram('sluice_tenant_load_duration_seconds', 'What such loads took.', DURATION_BOUNDS);
  const loading = metrics.gauge('sluice_tenants_loading', 'Tenants that are being loaded here.');
  const polls = metrics.gauge('sluice_long_polls', 'Long polls that wait.');
  const ingested = metrics.counter('sluice_ingest_submissions_total', 'Submissions over AMQP, by what was answered.', [
    'outcome',
  ]);
  const flights = metrics.gauge('sluice_admissions_in_flight', 'Admissions between reservation and confirmed publish.');
  const abandoned = metrics.gauge('sluice_abandoned_holds', 'Holds that wait for Redis to be given back.');
  let loadsNow = 0;
  let pollsNow = 0;
  // Known from the start, so that the first of each is seen as a growth.
  for (const code of Object.keys(ERRORS)) refusals.of({ code });
  for (const outcome of ['accepted', 'refused']) ingested.of({ outcome });
  for (const outcome of ['loaded', 'failed']) loads.of({ outcome });

  return {
    accepted: ({ model, class: jobClass }) => accepted.of({ model, class: jobClass }).add(),
    repeated: () => repeats.add(),
    refused: (error) => refusals.of({ code: isServiceError(error) ? error.code : 'internal' }).add(),
    overLimit: ({ scope, name }) => limits.of({ scope, limit: name }).add(),
    reserved(ms, held) {
      reserves.observe(ms / 1000);
      if (held) holds.add();
    },
    reserveFailed: () => reserveFailures.add(),
    released: () => releases.add(),
    loading() {
      const beganMs = performance.now();
      loading.set(++loadsNow);
      return (outcome) => {
        loading.set(--loadsNow);
        loads.of({ outcome }).add();
        loadTimes.observe((performance.now() - beganMs) / 1000);
      };
    },
    polling() {
      polls.set(++pollsNow);
      return () => polls.set(--pollsNow);
    },
    ingested: (outcome) => ingested.of({ outcome }).add(),
    watch(sizes) {
      metrics.beforeRender(() => {
        flights.set(sizes.flights.size);
        abandoned.set(sizes.abandoned.size);
      });
    },
  };
}
