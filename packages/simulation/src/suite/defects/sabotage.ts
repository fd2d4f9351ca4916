import type { GatewayServers } from '@sluice/api-gateway/composition';
import type { QuotaModel } from '@sluice/quota/model';
import type { AppKind } from '../apps/app.js';
import type { connect } from 'amqplib';

/** How the suite is sabotaged, at its edges. What is absent is as it should be. */
export interface Sabotage {
  /** Every fact is new to the books: the ledger has no primary key. */
  readonly withoutLedgerKey?: boolean;
  /** Jobs are billed at the price of the beginning, whatever their date. */
  readonly withoutPriceChanges?: boolean;
  /** Replaces Redis. */
  readonly quota?: (model: QuotaModel) => QuotaModel;
  /** Replaces what a program of some kind talks to. */
  readonly servers?: (servers: GatewayServers, kind: AppKind) => GatewayServers;
  /** Replaces how a program of some kind connects to RabbitMQ. */
  readonly connect?: (real: typeof connect, kind: AppKind) => typeof connect;
}
