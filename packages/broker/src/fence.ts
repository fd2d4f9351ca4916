import { QUEUES, ServiceError } from '@sluice/contracts';
import { delay, type Logger, type Service } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import type { BrokerConnection } from './connection.js';
import { beginConversation, type Conversation, type Replies } from './fence-conversation.js';
import { CONNECTION_AFTERLIFE_MS } from './fence-member.js';
import { parseAnswer } from './fence-messages.js';
import { FORGET_AFTER_MS, type FenceRegistry, type RegisteredMember } from './fence-registry.js';
import { createInbox } from './inbox.js';
import type { Publisher } from './publisher.js';
import { createSharedRuns } from './shared-runs.js';

const AGAIN = { firstMs: 20, maxMs: 500 };

export interface FenceOptions {
  /** For the queue of answers, and to look at `results`. */
  readonly connection: BrokerConnection;
  /** Sends questions and markers; any will do. */
  readonly publisher: Publisher;
  readonly registry: FenceRegistry;
  /** For one pass, in milliseconds. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

export interface Fence extends Service {
  /**
   * Resolves when every job that was reserved before the call is recorded, or will never be published. Rejects with
   * `quota_unavailable` when that takes longer than `timeoutMs`. A call that comes while a pass is under way shares the
   * next one with all others, so it takes up to twice as long.
   */
  pass(): Promise<void>;
}

/**
 * The fence of decisions/0007.
 *
 * ```
 *          ┌─ every gateway: drain ─┐
 * members ─┤                        ├─ consumers of results ─ markers ─ members ─ every collector: pass ─▶ passed
 *    ▲     └─ every collector: state┘           │                │         │                 │
 *    └──────────────────── (anything changed, or somebody is unknown: from the start) ───────┘
 * ```
 */
export function createFence(options: FenceOptions): Fence {
  const { connection, publisher, registry, timeoutMs } = options;
  const logger = options.logger.child({ part: 'fence' });
  const conversations = new Map<string, Conversation>();
  /** Since when (`performance.now`) a gateway's queue is known not to exist. */
  const goneSinceMs = new Map<string, number>();
  const halt = new AbortController();

  const inbox = createInbox({
    connection,
    onMessage(delivery) {
      const answer = parseAnswer(delivery.body);
      if (answer === undefined) logger.warn({ type: delivery.type }, 'no answer to a fence, ignored');
      else conversations.get(answer.id.slice(0, 36))?.accept(answer); // else of a fence that is over
    },
    logger,
  });

  async function run(): Promise<void> {
    const signal = AbortSignal.any([halt.signal, AbortSignal.timeout(timeoutMs)]);
    const aborted = new Promise<string>((resolve) => {
      signal.addEventListener('abort', () => resolve('no answer'), { once: true });
    });
    const backoff = createBackoff(AGAIN);
    let obstacle: unknown = 'no attempt';
    while (!signal.aborted) {
      obstacle = await Promise.race([attempt(signal).catch((error: unknown) => error), aborted]);
      if (obstacle === undefined) return;
      logger.debug({ obstacle }, 'the fence begins again');
      await delay(backoff.next(), signal);
    }
    if (!halt.signal.aborted) logger.warn({ err: obstacle, timeoutMs }, 'the fence did not pass in time');
    throw new ServiceError('quota_unavailable', 'What is in use is not known yet.', {
      cause: obstacle,
      retryAfterSeconds: 1,
    });
  }

  async function attempt(signal: AbortSignal): Promise<string | undefined> {
    const conversation = beginConversation({ inbox, publisher, signal });
    conversations.set(conversation.id, conversation);
    try {
      return await passOnce(conversation);
    } finally {
      conversations.delete(conversation.id);
    }
  }

  /** Resolves with what is in the way, or with nothing when the fence has passed. */
  async function passOnce(conversation: Conversation): Promise<string | undefined> {
    const members = await registry.members();
    const gateways = members.filter(({ role }) => role === 'gateway');
    const collectors = members.filter(({ role }) => role === 'collector');
    const [drained, before] = await Promise.all([
      conversation.ask('drain', gateways),
      conversation.ask('state', collectors),
    ]);
    const obstacle = noteGone(gateways, drained) ?? undone(drained);
    if (obstacle !== undefined) return obstacle;
    forgetEnded(members, new Map([...drained, ...before]));

    const consuming = collectors.filter(({ memberId }) => isAttached(before, memberId));
    const { consumerCount, messageCount } = await connection.use((channel) => channel.checkQueue(QUEUES.results));
    // n.b. the queue also counts consumers that are gone or cancelled as long as it has not taken their deliveries back.
    if (consumerCount > consuming.length) return `${consumerCount} consume results, ${consuming.length} are members`;
    if (consumerCount === 0) return messageCount === 0 ? undefined : 'nobody consumes results';

    await conversation.sendMarkers(consuming, async () => {
      if (changed(before, await conversation.ask('state', collectors))) throw new Error('a collector has changed');
    });
    const later = await registry.members();
    if (later.some(({ role, memberId }) => role === 'collector' && !before.has(memberId)))
      return 'a collector has come';
    const after = await conversation.ask('pass', collectors);
    return undone(after) ?? (changed(before, after) ? 'a collector has changed' : undefined);
  }

  /** The connections of gateways that have gone must have been gone for a while. */
  function noteGone(gateways: readonly RegisteredMember[], replies: Replies): string | undefined {
    const nowMs = performance.now();
    const gone = gateways.filter(({ memberId }) => replies.get(memberId) === 'gone').map(({ memberId }) => memberId);
    const known = gone.map((memberId) => [memberId, goneSinceMs.get(memberId) ?? nowMs] as const);
    goneSinceMs.clear();
    for (const [memberId, sinceMs] of known) goneSinceMs.set(memberId, sinceMs);
    const recent = known.filter(([, sinceMs]) => nowMs - sinceMs < CONNECTION_AFTERLIFE_MS);
    return recent.length > 0 ? `${recent.length} gateways have gone just now` : undefined;
  }

  /** n.b. by the registry's own clock, as its freshest row shows it: this machine's may be a day ahead. */
  function forgetEnded(members: readonly RegisteredMember[], replies: Replies): void {
    const latestMs = Math.max(...members.map(({ seenAtMs }) => seenAtMs));
    for (const { memberId, seenAtMs } of members) {
      if (replies.get(memberId) !== 'gone' || latestMs - seenAtMs < FORGET_AFTER_MS) continue;
      registry.forget(memberId).catch((error: unknown) => logger.warn({ err: error }, 'a member is not forgotten'));
    }
  }

  const shared = createSharedRuns(run);
  return {
    pass: shared,
    start: () => inbox.start(),
    stop() {
      halt.abort();
      return inbox.stop();
    },
  };
}

function undone(replies: Replies): string | undefined {
  const failed = [...replies.values()].some((reply) => reply !== 'gone' && !reply.done);
  return failed ? 'a member could not do its part' : undefined;
}

function isAttached(replies: Replies, memberId: string): boolean {
  const reply = replies.get(memberId);
  return reply !== undefined && reply !== 'gone' && reply.attached;
}

/** A collector came, went, or may have given deliveries back. */
function changed(before: Replies, after: Replies): boolean {
  return [...before].some(([memberId, was]) => {
    const is = after.get(memberId);
    if (was === 'gone' || is === 'gone' || is === undefined) return was !== is;
    return was.generation !== is.generation || was.attached !== is.attached;
  });
}
