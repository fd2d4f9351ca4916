import { randomUUID } from 'node:crypto';
import type { MarkerMessage } from '@sluice/contracts';
import { delay, withDeadline, type Logger, type Service } from '@sluice/runtime';
import { unavailable, UnroutableError } from './broker-errors.js';
import type { BrokerConnection } from './connection.js';
import type { Delivery } from './delivery.js';
import { FENCE_TYPES, parseQuestion, type Answer, type Question } from './fence-messages.js';
import { createFenceRegistration } from './fence-registration.js';
import type { FenceRegistry, FenceRole } from './fence-registry.js';
import { createInbox } from './inbox.js';
import type { Publisher } from './publisher.js';
import { createSharedRuns } from './shared-runs.js';

/**
 * How long after the end of a connection its last publishes may still be on their way within the broker, in
 * milliseconds; see decisions/0007.
 */
export const CONNECTION_AFTERLIFE_MS = 1_000;

/** Questions that wait for this process; more means that it stands still, and is silent. */
const MOST_QUESTIONS = 1_000;
const STOP_TIMEOUT_MS = 3_000;

export interface FenceMemberOptions {
  /** The one that the member publishes jobs on, or consumes `results` on. */
  readonly connection: BrokerConnection;
  /** Sends the answers; any will do. */
  readonly publisher: Publisher;
  /** UUID of this process. */
  readonly memberId: string;
  readonly role: FenceRole;
  readonly registry: FenceRegistry;
  /**
   * Of a gateway: resolves when every admission in flight at the call is over and `Publisher.barrier` has resolved after
   * that. An admission is in flight from its reserve to the end of its publish; n.b. never while it waits for a fence.
   */
  readonly onDrain?: () => Promise<void>;
  /** Of a collector: `Consumer.barrier`. */
  readonly barrier?: () => Promise<void>;
  /** Of a collector: `Consumer.generation`; it must also grow when the consumer is replaced. */
  readonly generation?: () => number;
  /** Of a collector: `Consumer.attached`. Always, when absent. */
  readonly attached?: () => boolean;
  readonly logger: Logger;
}

export interface FenceMember extends Service {
  /** It can be asked and will be. Reserve, or begin to consume, only while this is true. */
  readonly ready: boolean;
  /** Resolves when the member is ready for the first time; rejects with `broker_unavailable` when it is stopped before. */
  whenReady(): Promise<void>;
  /**
   * Of a collector: tells whoever sent the marker that it was received here. Call it for every `fence.marker.v1` and
   * acknowledge the delivery when it resolves. Rejects like `Publisher.publish`.
   */
  received(marker: MarkerMessage): Promise<void>;
}

/**
 * Answers the questions of fences (decisions/0007) for one gateway or collector.
 *
 * `start` resolves when it can be asked and goes on to register in the background, because the registry may be away.
 * Stop a gateway's after its last admission and before its publisher, a collector's after its consumer. A gateway
 * leaves the registry then; a collector stays, so that a fence under way sees that there was one.
 */
export function createFenceMember(options: FenceMemberOptions): FenceMember {
  const { connection, publisher, memberId, role, registry } = options;
  const { onDrain, barrier, generation = () => 0, attached = () => true } = options;
  const logger = options.logger.child({ part: 'fence member' });
  const member = { memberId, role, queue: `fence.${memberId}` };
  const open = new Set<string>();
  const drain = createSharedRuns(async () => onDrain?.());
  const pass = createSharedRuns(async () => barrier?.());
  let connectionSeen = 0;
  /** Until then (`performance.now`) publishes of an earlier connection may still arrive. */
  let afterlifeEndsMs = 0;
  let halted = false;
  let stopping: Promise<void> | undefined;
  let markReady: () => void;
  let failReady: (error: Error) => void;
  const firstReady = new Promise<void>((resolve, reject) => {
    markReady = resolve;
    failReady = reject;
  });
  firstReady.catch(() => undefined); // Nobody needs to wait for it.

  const registration = createFenceRegistration({ registry, member, onRegistered: noteReady, logger });
  const inbox = createInbox({
    connection,
    queue: member.queue,
    onMessage: onQuestion,
    onAttached() {
      if (connectionSeen !== 0 && connectionSeen !== connection.generation)
        afterlifeEndsMs = performance.now() + CONNECTION_AFTERLIFE_MS;
      connectionSeen = connection.generation;
      registration.renew();
      noteReady();
    },
    logger,
  });

  const isReady = (): boolean => !halted && inbox.attached && registration.valid;

  function noteReady(): void {
    if (isReady()) markReady();
  }

  function onQuestion(delivery: Delivery): void {
    const question = delivery.type === FENCE_TYPES.question ? parseQuestion(delivery.body) : undefined;
    if (question === undefined) return logger.warn({ type: delivery.type }, 'no question of a fence, ignored');
    if (open.has(question.id)) return; // asked again while it is being answered
    if (open.size >= MOST_QUESTIONS) return logger.warn({ open: open.size }, 'too many questions of fences, ignored');
    open.add(question.id);
    void answer(question).finally(() => open.delete(question.id));
  }

  async function answer({ id, kind, replyTo }: Question): Promise<void> {
    const done = await obey(kind).catch((error: unknown) => {
      logger.warn({ err: error, kind }, 'a fence cannot pass here now');
      return false;
    });
    await reply(replyTo, answerTo(id, done)).catch((error: unknown) => {
      logger.warn({ err: error, kind }, 'a fence is not answered'); // it will ask again
    });
  }

  async function obey(kind: Question['kind']): Promise<boolean> {
    if (kind === 'drain') {
      await drain();
      await delay(Math.max(0, afterlifeEndsMs - performance.now()));
    }
    if (kind === 'pass' && attached()) await pass();
    return true;
  }

  function answerTo(id: string, done: boolean): Answer {
    const consumes = role === 'collector';
    return { id, memberId, done, generation: consumes ? generation() : 0, attached: consumes && attached() };
  }

  async function reply(replyTo: string, content: Answer): Promise<void> {
    const body = Buffer.from(JSON.stringify(content));
    const message = { exchange: '', routingKey: replyTo, body, type: FENCE_TYPES.answer, messageId: randomUUID() };
    await publisher.publish(message).catch((error: unknown) => {
      // Whoever asked is gone.
      if (!(error instanceof UnroutableError)) throw error;
    });
  }

  async function stop(): Promise<void> {
    halted = true;
    failReady(unavailable('The process ends.'));
    await registration.stop();
    if (role === 'gateway') await leave().catch((error: unknown) => logger.warn({ err: error }, 'still registered'));
    await inbox.stop();
  }

  /** n.b. only when nothing more can be published: a fence that passes afterwards does not ask here. */
  async function leave(): Promise<void> {
    const left = drain().then(() => registry.forget(memberId));
    await withDeadline(left, STOP_TIMEOUT_MS, () => new Error(`not over within ${STOP_TIMEOUT_MS} ms`));
  }

  return {
    get ready() {
      return isReady();
    },
    whenReady: () => firstReady,
    received: (marker) => reply(marker.replyTo, answerTo(marker.fenceId, true)),
    async start() {
      await inbox.start();
      await registration.start();
    },
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}
