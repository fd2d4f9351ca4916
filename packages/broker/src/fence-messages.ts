/** AMQP `type` of what members are asked, and of what they answer. */
export const FENCE_TYPES = { question: 'fence.question.v1', answer: 'fence.answer.v1' } as const;

/**
 * `drain`: answer when every publish begun by now has its fate; `state`: answer at once; `pass`: answer when every delivery
 * received by now is settled.
 */
const QUESTIONS = ['drain', 'state', 'pass'] as const;
export type QuestionKind = (typeof QUESTIONS)[number];

export interface Question {
  /** Unique to the question; echoed by its answers. */
  readonly id: string;
  readonly kind: QuestionKind;
  /** Queue that the answer goes to. */
  readonly replyTo: string;
}

/** The answer to a question, or to a marker (then `id` is the marker's `fenceId`). */
export interface Answer {
  readonly id: string;
  readonly memberId: string;
  /** False when what was asked for failed; `state` and markers are always done. */
  readonly done: boolean;
  /** Of the member's consumer, when the answer was written; 0 for gateways. */
  readonly generation: number;
  /** The member's consumer receives deliveries; false for gateways. */
  readonly attached: boolean;
}

/** Undefined for anything that is not a question. */
export function parseQuestion(body: Buffer): Question | undefined {
  const { id, kind, replyTo } = parseObject(body);
  const known = QUESTIONS.find((question) => question === kind);
  if (!isName(id) || !isName(replyTo) || known === undefined) return undefined;
  return { id, kind: known, replyTo };
}

/** Undefined for anything that is not an answer. */
export function parseAnswer(body: Buffer): Answer | undefined {
  const { id, memberId, done, generation, attached } = parseObject(body);
  if (!isName(id) || !isName(memberId) || typeof done !== 'boolean' || typeof attached !== 'boolean') return undefined;
  if (typeof generation !== 'number' || !Number.isSafeInteger(generation)) return undefined;
  return { id, memberId, done, generation, attached };
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** n.b. a queue name longer than 255 bytes would close the channel that publishes to it. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && Buffer.byteLength(value) <= 255;
}
