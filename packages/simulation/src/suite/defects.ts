import type { GatewayServers } from '@sluice/api-gateway/composition';
import type { AppKind } from './apps/app.js';
import type { World } from './world.js';

/** How the suite is sabotaged, at its edges; nothing is when all of it is absent. */
export interface Sabotage {
  /** Every fact is new to the books. */
  readonly withoutLedgerKey?: boolean;
  /** Replaces what a program talks to. */
  readonly servers?: (servers: GatewayServers, kind: AppKind, world: World) => GatewayServers;
}

/** By name. Each takes away something that the suite relies on, so that an invariant has to notice. */
export const SABOTAGES: Readonly<Record<string, Sabotage>> = {
  'store-without-dedupe': { withoutLedgerKey: true },
};
