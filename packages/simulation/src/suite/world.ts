import { createLogger, type Logger } from '@sluice/runtime';
import { createQuotaModel, type QuotaImage, type QuotaModel } from '@sluice/quota/model';
import { createStoreModel, type StoreModel } from '@sluice/store/model';
import type { Kernel, Random } from '../kernel/index.js';
import { createSimRabbit, type SimRabbit } from '../rabbitmq/index.js';
import type { Sabotage } from './defects/index.js';
import { actionsOf, type Scenario } from './scenario/scenario.js';
import { createOutages, type Outages } from './servers/outages.js';
import { createSimPublisher, type SimPublisher } from './servers/waiter.js';

/** The servers of one run, and what every part of it shares. */
export interface World {
  readonly kernel: Kernel;
  readonly scenario: Scenario;
  readonly random: Random;
  readonly quota: QuotaModel;
  readonly store: StoreModel;
  readonly rabbit: SimRabbit;
  readonly outages: Outages;
  readonly publisher: SimPublisher;
  readonly logger: Logger;
  /** Redis' clock, Unix milliseconds, whole. */
  redisNowMs(): number;
  /** PostgreSQL's clock. */
  postgresNowMs(): number;
  /** Sets Redis' clock forward or back. */
  stepRedisClock(byMs: number): void;
  /** Data of Redis as of some time ago, in milliseconds; undefined when nothing is known of then. */
  imageOf(ageMs: number): QuotaImage | undefined;
}

/** How often an image of Redis is taken, as its append-only file would be flushed. */
const IMAGE_EVERY_MS = 400;
const silent = createLogger({ app: 'simulation', level: 'silent' });

export interface WorldOptions {
  readonly kernel: Kernel;
  readonly scenario: Scenario;
  readonly sabotage: Sabotage;
  /** Where the apps log to; nowhere when absent. */
  readonly logger?: Logger;
}

export function createWorld({ kernel, scenario, sabotage, logger = silent }: WorldOptions): World {
  const random = kernel.random.fork('world');
  let redisOffsetMs = scenario.serverOffsetMs.redis;
  let tickets = 0;
  const redis = createQuotaModel({ newId: () => `ticket ${++tickets}` });
  const quota = sabotage.quota?.(redis) ?? redis;
  const store = createStoreModel({ withoutLedgerKey: sabotage.withoutLedgerKey ?? false });
  const rabbit = createSimRabbit(kernel);
  const outages = createOutages(kernel, random.fork('outages'));
  const publisher = createSimPublisher(kernel, random.fork('publisher'));
  kernel.server('redis', { ordered: true });
  quota.onSettled(({ jobId }) => publisher.publish(jobId));
  outages.onAway(({ server, only }) => void (server === 'redis' && publisher.drop(only)));
  fillStore(store, scenario, sabotage);

  const images: { readonly atMs: number; readonly image: QuotaImage }[] = [];
  const takesImages = actionsOf(scenario).some((action) => action.kind === 'redis-restart' && action.dataAgeMs > 0);
  function takeImage(): void {
    images.push({ atMs: kernel.elapsedMs, image: quota.image() });
    if (kernel.elapsedMs < scenario.healAtMs) kernel.schedule(IMAGE_EVERY_MS, undefined, 'redis: saves', takeImage);
  }
  if (takesImages) takeImage();

  return {
    ...{ kernel, scenario, random, quota, store, rabbit, outages, publisher, logger },
    redisNowMs: () => kernel.nowMs + redisOffsetMs,
    postgresNowMs: () => kernel.nowMs + scenario.serverOffsetMs.postgres,
    stepRedisClock: (byMs) => void (redisOffsetMs += byMs),
    imageOf: (ageMs) => images.findLast(({ atMs }) => atMs <= kernel.elapsedMs - ageMs)?.image,
  };
}

function fillStore(store: StoreModel, { tenants, prices }: Scenario, { withoutPriceChanges }: Sabotage): void {
  for (const { tenantId, plan, timeZone, apiKeys } of tenants) {
    store.putTenant({ tenantId, plan, timeZone });
    for (const { apiKeyId, keyHash } of apiKeys) store.putApiKey({ apiKeyId, tenantId, keyHash });
  }
  for (const price of prices) {
    if (!withoutPriceChanges) store.putPrice(price);
    else if (price.fromMs === 0) store.putPrice({ ...price, toMs: undefined });
  }
}
