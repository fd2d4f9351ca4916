import { setTimeout as sleep } from 'node:timers/promises';
import { CannotInject, type Heal, type PlannedFault, touchesOf } from './fault.js';
import type { World } from './world.js';

/** What became of one planned fault. Times are counted from the first moment of the faults, in milliseconds. */
export interface FaultRecord {
  readonly number: number;
  readonly kind: string;
  readonly target: string;
  readonly plannedAtMs: number;
  readonly plannedDurationMs: number;
  /** When it was there. */
  readonly atMs: number;
  /** When it was right again; a killed server answers then, a killed app works. Absent when it never was. */
  readonly healedAtMs?: number;
  readonly outcome: 'injected' | 'skipped' | 'broken';
  /** Why it was skipped, or what went wrong with it. */
  readonly reason?: string;
}

export interface ConductOptions {
  readonly world: World;
  readonly faults: Iterable<PlannedFault>;
  /** How many are to be injected. */
  readonly wanted: number;
  /** No fault begins later than this, in milliseconds. */
  readonly limitMs: number;
  /** Faults that overlap at most. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  readonly onFault: (record: FaultRecord) => void;
}

/** A target that another fault still holds after this long makes the next fault skipped. */
const BUSY_PATIENCE_MS = 20_000;
const HEAL_ATTEMPTS = 30;
const HEAL_RETRY_MS = 1_000;

/**
 * Injects faults in their order, each at its time or as soon as there is room, and heals each after its duration.
 * Resolves when all are healed; never rejects for what a fault does.
 */
export async function conduct(options: ConductOptions): Promise<readonly FaultRecord[]> {
  const { world, faults, wanted, limitMs, atOnce, signal, onFault } = options;
  const beganMs = performance.now();
  const elapsed = (): number => Math.round(performance.now() - beganMs);
  const records: FaultRecord[] = [];
  const active = new Set<Promise<void>>();
  const touched = new Map<string, Promise<void>>();
  let injected = 0;

  async function play(fault: PlannedFault): Promise<void> {
    const base = describe(fault);
    let heal: Heal;
    const atMs = elapsed();
    try {
      heal = await fault.kind.inject(world, fault);
      injected += 1;
    } catch (error) {
      const outcome = error instanceof CannotInject ? 'skipped' : 'broken';
      return note({ ...base, atMs, outcome, reason: messageOf(error) });
    }
    const record: FaultRecord = { ...base, atMs: elapsed(), outcome: 'injected' };
    await sleep(fault.durationMs, undefined, { signal }).catch(() => undefined);
    const problem = await healPatiently(heal, signal);
    if (problem === undefined) return note({ ...record, healedAtMs: elapsed() });
    note({ ...record, outcome: 'broken', reason: `was not healed: ${problem}` });
  }

  function note(record: FaultRecord): void {
    records.push(record);
    onFault(record);
  }

  function begin(fault: PlannedFault): void {
    const played = play(fault).finally(() => {
      active.delete(played);
      for (const name of touchesOf(fault)) if (touched.get(name) === played) touched.delete(name);
    });
    active.add(played);
    for (const name of touchesOf(fault)) touched.set(name, played);
  }

  for (const fault of faults) {
    if (injected + active.size >= wanted) await Promise.all(active);
    if (injected >= wanted || elapsed() >= limitMs || signal.aborted) break;
    await sleep(Math.max(0, fault.atMs - elapsed()), undefined, { signal }).catch(() => undefined);
    while (active.size >= atOnce) await Promise.race(active);
    if (signal.aborted || elapsed() >= limitMs) break;
    const holders = touchesOf(fault).flatMap((name) => touched.get(name) ?? []);
    if (await overSoon(holders)) begin(fault);
    else note({ ...describe(fault), atMs: elapsed(), outcome: 'skipped', reason: 'another fault still holds it' });
  }
  await Promise.all(active);
  return records.sort((a, b) => a.number - b.number);
}

function describe({ number, kind, target, atMs, durationMs }: PlannedFault) {
  return { number, kind: kind.name, target, plannedAtMs: atMs, plannedDurationMs: durationMs };
}

async function overSoon(holders: readonly Promise<void>[]): Promise<boolean> {
  if (holders.length === 0) return true;
  const patience = new AbortController();
  const over = Promise.all(holders).then(() => true);
  const late = sleep(BUSY_PATIENCE_MS, false, { signal: patience.signal }).catch(() => false);
  return Promise.race([over, late]).finally(() => patience.abort());
}

/** The reason why it could not be healed, if it could not. Another fault may be in the way for a while. */
async function healPatiently(heal: Heal, signal: AbortSignal): Promise<string | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      await heal();
      return undefined;
    } catch (error) {
      if (attempt === HEAL_ATTEMPTS || signal.aborted) return messageOf(error);
    }
    await sleep(HEAL_RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
