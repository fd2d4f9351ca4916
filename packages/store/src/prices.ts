import type { Meter, Price } from '@sluice/contracts';
import { ConfigError, type Logger } from '@sluice/runtime';
import { Client } from 'pg';
import { type Database, exactTypes } from './database.js';
import { sqlState, toStoreError } from './postgres-errors.js';
import { planPrices, type PricePlan, type PriceVersion } from './price-plan.js';
import { loadStatement } from './statements.js';

export interface SyncPricesOptions {
  readonly url: string;
  /** The configured prices, in any order. */
  readonly prices: readonly Price[];
  readonly logger: Logger;
}

/** Reads the prices that jobs are billed at. */
export interface Prices {
  /** All versions that are or will be in force, and those that ended within the last day. */
  findPrices(): Promise<readonly PriceVersion[]>;
}

const statements = {
  find: loadStatement('find-prices'),
  lock: loadStatement('lock-prices'),
  time: loadStatement('server-time'),
  list: loadStatement('list-prices'),
  withdraw: loadStatement('delete-price'),
  end: loadStatement('end-price'),
  insert: loadStatement('insert-price'),
};

interface PriceRow {
  readonly price_id: bigint;
  readonly model: string;
  readonly meter: Meter;
  readonly nano_usd_per_million: bigint;
  readonly from_ms: string;
  readonly to_ms: string | null;
}

/**
 * Brings the stored prices in line with the configured ones, all or nothing. A version without an end runs until the
 * next one of its model and meter begins. Prices that are or were in force are never changed, so bills stay explainable.
 *
 * @throws ConfigError listing every price that would change the past.
 * @throws ServiceError `store_unavailable`.
 */
export async function syncPrices({ url, prices, logger }: SyncPricesOptions): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'sluice-prices', types: exactTypes() });
  client.on('error', (error) => logger.warn({ err: error }, 'the connection was lost while storing prices'));
  try {
    await client.connect();
    // Left open on any error: the end of the session rolls it back.
    await client.query('BEGIN');
    const plan = await planWith(client, prices);
    await carryOut(client, plan);
    await client.query('COMMIT');
    const { added, ended, withdrawn } = plan;
    logger.info({ added: added.length, ended: ended.length, withdrawn: withdrawn.length }, 'prices are in line');
  } catch (error) {
    const answered = error instanceof ConfigError || sqlState(error) !== undefined;
    throw answered ? error : toStoreError(error);
  } finally {
    await client.end();
  }
}

export function createPrices(database: Database): Prices {
  return {
    async findPrices() {
      return (await database.run<PriceRow & Record<string, unknown>>(statements.find)).map(toVersion);
    },
  };
}

async function planWith(client: Client, prices: readonly Price[]): Promise<PricePlan> {
  await client.query(statements.lock.text);
  const { rows: time } = await client.query<{ now_ms: string }>(statements.time.text);
  const { rows } = await client.query<PriceRow>(statements.list.text);
  const plan = planPrices(rows.map(toVersion), prices, Number(time[0]?.now_ms));
  if (plan.problems.length > 0) throw new ConfigError('The prices have problems', plan.problems);
  return plan;
}

async function carryOut(client: Client, { withdrawn, ended, added }: PricePlan): Promise<void> {
  for (const priceId of withdrawn) await client.query(statements.withdraw.text, [priceId]);
  for (const { priceId, toMs } of ended) await client.query(statements.end.text, [priceId, toMs ?? null]);
  for (const { model, meter, nanoUsdPerMillion, fromMs, toMs } of added) {
    await client.query(statements.insert.text, [model, meter, nanoUsdPerMillion, fromMs, toMs ?? null]);
  }
}

function toVersion(row: PriceRow): PriceVersion {
  return {
    priceId: row.price_id,
    model: row.model,
    meter: row.meter,
    nanoUsdPerMillion: row.nano_usd_per_million,
    fromMs: Number(row.from_ms),
    toMs: row.to_ms === null ? undefined : Number(row.to_ms),
  };
}
