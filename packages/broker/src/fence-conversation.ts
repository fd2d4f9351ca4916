import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { EXCHANGES, MESSAGE_TYPES, type MarkerMessage } from '@sluice/contracts';
import { delay } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import { unavailable, UnroutableError } from './broker-errors.js';
import { FENCE_TYPES, type Answer, type Question, type QuestionKind } from './fence-messages.js';
import type { RegisteredMember } from './fence-registry.js';
import type { Inbox } from './inbox.js';
import type { Publisher } from './publisher.js';

/** After so long without an answer a member is asked again, because it may have lost the question or have gone. */
const ASK_AGAIN_MS = 500;

/** Before further markers are sent to collectors that have received none, because they have no room. */
const NEXT_MARKERS = { firstMs: 5, maxMs: 200 };

/** `gone`: the member's queue does not exist. */
export type Reply = Answer | 'gone';
export type Replies = ReadonlyMap<string, Reply>;

export interface ConversationOptions {
  readonly inbox: Inbox;
  readonly publisher: Publisher;
  /** Ends every wait. */
  readonly signal: AbortSignal;
}

/** What one attempt of a fence asks and is told. Everything rejects when the signal aborts or the inbox is another. */
export interface Conversation {
  /** Answers belong to this conversation when their id begins with it; 36 characters. */
  readonly id: string;
  accept(answer: Answer): void;
  /** Asks all and resolves when each has answered or is gone, by member id. */
  ask(kind: QuestionKind, members: readonly RegisteredMember[]): Promise<Replies>;
  /**
   * Sends markers through `results` until each of these has received one. `check` runs whenever that takes longer than a
   * round; it rejects when it makes no sense to go on.
   */
  sendMarkers(collectors: readonly RegisteredMember[], check: () => Promise<void>): Promise<void>;
}

/** Begins a conversation; throws `broker_unavailable` when the inbox is not attached. */
export function beginConversation({ inbox, publisher, signal }: ConversationOptions): Conversation {
  const id = randomUUID();
  const replyTo = inbox.queue;
  if (replyTo === undefined) throw unavailable('The broker is not connected.');
  const answers = new Map<string, Map<string, Answer>>();
  const bell = new EventEmitter().setMaxListeners(0);
  let messages = 0;

  function check(): void {
    signal.throwIfAborted();
    if (inbox.queue !== replyTo) throw unavailable('The connection to the broker was lost.');
  }

  /** Resolves when it holds, at the latest after `ASK_AGAIN_MS`. */
  function holds(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => void (condition() && end());
      const end = (): void => {
        clearTimeout(timer);
        bell.off('answer', look);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ASK_AGAIN_MS);
      bell.on('answer', look);
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
      look();
    });
  }

  /** True when a queue took the message, false when none is bound there. */
  async function send(exchange: string, routingKey: string, message: { type: string; body: object }): Promise<boolean> {
    check();
    const body = Buffer.from(JSON.stringify(message.body));
    try {
      // n.b. returned messages are told apart by their id: each has its own.
      await publisher.publish({ exchange, routingKey, body, type: message.type, messageId: randomUUID() });
      return true;
    } catch (error) {
      if (error instanceof UnroutableError) return false;
      throw error;
    }
  }

  async function ask(kind: QuestionKind, members: readonly RegisteredMember[]): Promise<Replies> {
    const question: Question = { id: nextId(), kind, replyTo: replyTo ?? '' };
    const replies = new Map<string, Reply>();
    const told = answersTo(question.id);
    const open = (): readonly RegisteredMember[] =>
      members.filter(({ memberId }) => !told.has(memberId) && !replies.has(memberId));
    while (open().length > 0) {
      await Promise.all(
        open().map(async ({ memberId, queue }) => {
          if (!(await send('', queue, { type: FENCE_TYPES.question, body: question }))) replies.set(memberId, 'gone');
        }),
      );
      await holds(() => open().length === 0);
      check();
    }
    for (const { memberId } of members) replies.set(memberId, told.get(memberId) ?? 'gone');
    return replies;
  }

  async function sendMarkers(
    collectors: readonly RegisteredMember[],
    checkMembers: () => Promise<void>,
  ): Promise<void> {
    let missing = collectors;
    const backoff = createBackoff(NEXT_MARKERS);
    for (;;) {
      // n.b. the broker chooses who receives each: collectors that have room, one after the other.
      const markers: readonly MarkerMessage[] = missing.map(() => ({ fenceId: nextId(), replyTo: replyTo ?? '' }));
      for (const body of markers) await send(EXCHANGES.results, 'fence', { type: MESSAGE_TYPES.marker, body });
      const received = (): boolean => markers.every(({ fenceId }) => answersTo(fenceId).size > 0);
      for (await holds(received); !received(); await holds(received)) {
        check();
        await checkMembers();
      }
      const receivers = new Set(markers.flatMap(({ fenceId }) => [...answersTo(fenceId).keys()]));
      missing = missing.filter(({ memberId }) => !receivers.has(memberId));
      if (missing.length === 0) return;
      await delay(backoff.next(), signal);
      // n.b. one that has gone will never receive any, however many the others answer.
      await checkMembers();
    }
  }

  /** From now on answers to it are kept. */
  function nextId(): string {
    const next = `${id}:${++messages}`;
    answers.set(next, new Map());
    return next;
  }

  function answersTo(messageId: string): ReadonlyMap<string, Answer> {
    return answers.get(messageId) ?? new Map<string, Answer>();
  }

  return {
    id,
    accept(answer) {
      answers.get(answer.id)?.set(answer.memberId, answer);
      bell.emit('answer');
    },
    ask,
    sendMarkers,
  };
}
