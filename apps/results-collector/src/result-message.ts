import {
  markerMessageSchema,
  MESSAGE_TYPES,
  startedMessageSchema,
  type MarkerMessage,
  type StartedMessage,
} from '@sluice/contracts';
import type { Fact } from '@sluice/store';
import { decodeFact, parse } from './facts.js';

/** What a message of the `results` queue says. */
export type ResultMessage =
  | { readonly kind: 'fact'; readonly fact: Fact }
  | { readonly kind: 'started'; readonly jobs: StartedMessage['jobs'] }
  | { readonly kind: 'marker'; readonly marker: MarkerMessage }
  | { readonly kind: 'unreadable'; readonly problem: string };

/** Reads a message by its AMQP `type`; see `decodeFact` for problems. */
export function decodeResult(message: { readonly type: string; readonly body: Buffer }): ResultMessage {
  switch (message.type) {
    case MESSAGE_TYPES.started: {
      const parsed = parse(message.body, startedMessageSchema);
      return 'problem' in parsed ? unreadable(parsed.problem) : { kind: 'started', jobs: parsed.message.jobs };
    }
    case MESSAGE_TYPES.marker: {
      const parsed = parse(message.body, markerMessageSchema);
      return 'problem' in parsed ? unreadable(parsed.problem) : { kind: 'marker', marker: parsed.message };
    }
    default: {
      const { fact, problem } = decodeFact(message);
      return fact === undefined ? unreadable(problem) : { kind: 'fact', fact };
    }
  }
}

function unreadable(problem: string): ResultMessage {
  return { kind: 'unreadable', problem };
}
