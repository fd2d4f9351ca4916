import { setTimeout as sleep } from 'node:timers/promises';

/** A value and when it was first seen, in seconds since the watching began. */
export interface Seen<T> {
  readonly value: T;
  readonly atSeconds: number;
}

export interface Outcome {
  readonly step: string;
  readonly right: boolean;
  /** What was seen, for people. */
  readonly seen: string;
}

export interface Watch<T> {
  readonly step: string;
  readonly read: () => Promise<T>;
  /** Whether this is what the step is to lead to. */
  readonly accept: (value: T) => boolean;
  /** Values that may not be seen on the way, such as 0 replicas while there is work. */
  readonly never?: (value: T) => boolean;
  readonly timeoutMs: number;
  /** How long the accepted value must last; 0 when absent. */
  readonly holdMs?: number;
  readonly pauseMs?: number;
}

/** Reads until the value is accepted and has lasted, or time is up. A read that fails is an error of the check itself. */
export async function watch<T>(options: Watch<T>): Promise<Outcome> {
  const { step, read, accept, never, timeoutMs, holdMs = 0, pauseMs = 500 } = options;
  const startedAt = Date.now();
  const seen: Seen<T>[] = [];
  let acceptedAt: number | undefined;
  for (;;) {
    const value = await read();
    const now = Date.now();
    noteChange(seen, value, (now - startedAt) / 1000);
    if (never?.(value) === true) return { step, right: false, seen: `${describe(seen)}, which may not be` };
    acceptedAt = accept(value) ? (acceptedAt ?? now) : undefined;
    if (acceptedAt !== undefined && now - acceptedAt >= holdMs) return { step, right: true, seen: describe(seen) };
    if (now - startedAt > timeoutMs + holdMs) return { step, right: false, seen: describe(seen) };
    await sleep(pauseMs);
  }
}

/** Adds a value unless it is the last one again. */
export function noteChange<T>(seen: Seen<T>[], value: T, atSeconds: number): void {
  const last = seen.at(-1);
  if (last === undefined || JSON.stringify(last.value) !== JSON.stringify(value)) seen.push({ value, atSeconds });
}

/** `1 → 4 (after 12.0 s)`: the values in order, with the time of the last. */
export function describe(seen: readonly Seen<unknown>[]): string {
  const values = seen.map(({ value }) => (typeof value === 'string' ? value : JSON.stringify(value)));
  const last = seen.at(-1);
  return last === undefined ? 'nothing' : `${values.join(' → ')} (after ${last.atSeconds.toFixed(1)} s)`;
}

/** Objects of `kubectl apply` that the API server did not take, or warned of: every line but those that say so. */
export function refusals(output: string): readonly string[] {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return lines.filter(
    (line) => !/ (serverside-applied|created|configured|unchanged)( \(server dry run\))?$/.test(line),
  );
}

/** How many objects `kubectl apply` says were taken. */
export function acceptances(output: string): number {
  return output.split('\n').filter((line) => / (serverside-applied|created|configured|unchanged)\b/.test(line)).length;
}

export interface Conditions {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Of a ScaledObject and the like: `True`, `False` or `Unknown`; also when it has none yet. */
export function conditionOf({ status }: Conditions, type: string): string {
  return status?.conditions?.find((condition) => condition.type === type)?.status ?? 'Unknown';
}

/** Workers that KEDA is to ask for: the jobs of each class over those one worker is meant to have, rounded up, at most `max`. */
export function wantedReplicas(
  jobs: Readonly<Record<string, number>>,
  jobsPerReplica: Readonly<Record<string, number>>,
  max: number,
): number {
  const load = Object.entries(jobs).reduce((sum, [name, count]) => sum + count / (jobsPerReplica[name] ?? Infinity), 0);
  return Math.min(max, Math.ceil(load));
}
