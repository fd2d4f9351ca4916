import { EventEmitter } from 'node:events';
import { holdingMessageSchema, MESSAGE_TYPES, type HoldingMessage } from '@sluice/contracts';
import { createInbox, type BrokerConnection } from '@sluice/broker';
import type { Logger, Service } from '@sluice/runtime';

export interface HoldingAnswersOptions {
  readonly connection: BrokerConnection;
  readonly logger: Logger;
}

/** What has been heard of one job. */
export interface Hearing {
  /** How far the job has come at the worker that has it; undefined while none has answered. */
  readonly holding: HoldingMessage['holding'] | undefined;
  /** Hears nothing any more. */
  end(): void;
}

/** Hears the workers that have a job which is to be cancelled. */
export interface HoldingAnswers extends Service {
  /**
   * Queue that answers go to; undefined while none can be heard. When it has changed since a request was sent,
   * answers to that may have been lost.
   */
  readonly queue: string | undefined;
  /** Listens for answers about a job, until `end`. Any number may listen for the same one. */
  listen(jobId: string): Hearing;
}

/** Makes the queue of this gateway that workers answer to; it is there from `start` on. */
export function createHoldingAnswers({ connection, logger }: HoldingAnswersOptions): HoldingAnswers {
  const heard = new EventEmitter().setMaxListeners(0);
  const inbox = createInbox({
    connection,
    onMessage({ type, body }) {
      if (type !== MESSAGE_TYPES.holding) throw new Error('It is no answer to a request to cancel.');
      const message = holdingMessageSchema.parse(JSON.parse(body.toString('utf8')));
      heard.emit(message.jobId, message.holding);
    },
    logger,
  });

  return {
    get queue() {
      return inbox.queue;
    },
    listen(jobId) {
      let holding: Hearing['holding'];
      // n.b. two workers may have the job, one of them without knowing that its delivery was lost.
      const hear = (answer: HoldingMessage['holding']): void =>
        void (holding = holding === 'running' ? holding : answer);
      heard.on(jobId, hear);
      return {
        get holding() {
          return holding;
        },
        end: () => void heard.off(jobId, hear),
      };
    },
    start: () => inbox.start(),
    stop: () => inbox.stop(),
  };
}
