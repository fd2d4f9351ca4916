import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Observation, Observations } from './observations.js';

/** An observation whose time is that of its being noted. */
export type Note = Observation extends infer One ? (One extends Observation ? Omit<One, 'atMs'> : never) : never;

/** How often what was seen so far, for people who watch. */
export interface Counts {
  /** Attempts to submit. */
  readonly sent: number;
  readonly accepted: number;
  readonly refused: number;
  /** Attempts without an answer that says what became of them. */
  readonly unknown: number;
  /** Jobs that a client knows. */
  readonly jobs: number;
  /** Jobs that were seen to have ended. */
  readonly ended: number;
  /** Submissions that were not sent because too many were under way. */
  readonly heldBack: number;
  /** Answers to submissions by status and code: `202`, `429 quota_exceeded`, `ECONNRESET`. */
  readonly answers: Readonly<Record<string, number>>;
}

/** Takes what clients see; it only ever grows. */
export interface Journal {
  note(event: Note): void;
  /** Notes that a submission was left out. */
  holdBack(): void;
  /** Whether the job was seen to have ended. */
  hasEnded(jobId: string): boolean;
  counts(): Counts;
  observations(): Observations;
}

const TERMINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'canceled', 'expired']);

/** True for the four states that are final. */
export function isTerminalState(state: string): boolean {
  return TERMINAL.has(state);
}

export function createJournal(seed: number, now: () => number = Date.now): Journal {
  const events: Observation[] = [];
  const jobs = new Set<string>();
  const ended = new Set<string>();
  const answers = new Map<string, number>();
  const attempts = { accepted: 0, refused: 0, unknown: 0 };
  let sent = 0;
  let heldBack = 0;

  function count(event: Note): void {
    if (event.kind === 'sent') sent += 1;
    if (event.kind === 'seen' && isTerminalState(event.state)) ended.add(event.jobId);
    if (event.kind !== 'answered') return;
    attempts[event.outcome] += 1;
    if (event.jobId !== undefined) jobs.add(event.jobId);
    const answer = [event.status, event.code].filter((part) => part !== undefined).join(' ');
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }

  return {
    note(event) {
      count(event);
      events.push({ atMs: now(), ...event });
    },
    holdBack: () => void (heldBack += 1),
    hasEnded: (jobId) => ended.has(jobId),
    counts: () => ({
      ...{ sent, ...attempts, jobs: jobs.size, ended: ended.size, heldBack },
      answers: Object.fromEntries([...answers].sort(([a], [b]) => (a < b ? -1 : 1))),
    }),
    observations: () => ({ seed, events }),
  };
}

/** Writes all that was seen to a file, one JSON document a line. */
export async function writeObservations({ events }: Observations, path: string): Promise<void> {
  function* lines(): Generator<string> {
    for (const event of events) yield `${JSON.stringify(event)}\n`;
  }
  await pipeline(Readable.from(lines()), createWriteStream(path));
}
