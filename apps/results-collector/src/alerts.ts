import type { Logger } from '@sluice/runtime';
import type { LimitAlert, Store } from '@sluice/store';
import type { Announcer } from './announcer.js';
import { thresholdEvent } from './events.js';

/** Alerts sent in one run; the rest waits for the next. */
const MAX_ALERTS = 1_000;

export interface AlertsOptions {
  readonly store: Pick<Store, 'raiseLimitAlerts' | 'unsentAlerts' | 'markAlertSent'>;
  readonly announcer: Pick<Announcer, 'publish'>;
  /** Hears of every alert that was sent. */
  readonly onSent: () => void;
  readonly logger: Logger;
}

/**
 * Finds quotas that were used to a percentage that somebody wants to know of, and tells each once: an alert is marked
 * as sent after the broker has confirmed its event, so a collector that dies in between has it told twice, with one id.
 * Several collectors may do so at once.
 */
export function createAlerts({ store, announcer, onSent, logger }: AlertsOptions) {
  async function send(alert: LimitAlert): Promise<void> {
    const { id, raisedAtMs, ...facts } = alert;
    const data = { ...facts, used: String(alert.used), max: String(alert.max) };
    await announcer.publish(thresholdEvent(data, raisedAtMs));
    if (!(await store.markAlertSent(id))) return;
    onSent();
    logger.warn(data, 'a quota was used to a threshold');
  }

  return {
    /** Rejects with the first failure; alerts that were not sent are sent by the next run. */
    async run(signal: AbortSignal): Promise<void> {
      await store.raiseLimitAlerts();
      for (const alert of await store.unsentAlerts(MAX_ALERTS)) {
        if (signal.aborted) return;
        await send(alert);
      }
    },
  };
}
