import type { ModelBacklog } from '../backlog.js';
import { compareText, isOpen, type JobEntry, type Tables } from './tables.js';

type Sums = Map<string, ModelBacklog>;

/** Adds jobs of the same model, class and input, or takes them away. */
export function changeBacklog(sums: Sums, { model, class: jobClass, inputTokens }: JobEntry, jobs: 1 | -1): void {
  const key = `${model} ${jobClass}`;
  const before = sums.get(key);
  sums.set(key, {
    ...{ model, class: jobClass, jobs: (before?.jobs ?? 0) + jobs },
    inputTokens: (before?.inputTokens ?? 0) + jobs * inputTokens,
  });
}

const CLASSES: readonly string[] = ['interactive', 'standard', 'batch'];

/** `v_backlog`. */
export function backlog({ backlog: sums }: Tables): readonly ModelBacklog[] {
  return [...sums.values()]
    .filter(({ jobs, inputTokens }) => jobs !== 0 || inputTokens !== 0)
    .sort((a, b) => compareText(a.model, b.model) || CLASSES.indexOf(a.class) - CLASSES.indexOf(b.class));
}

/** How many rows `v_recon_backlog` has. */
export function backlogDrifts(tables: Tables): number {
  const open: Sums = new Map();
  for (const job of tables.jobs.values()) if (isOpen(tables, job)) changeBacklog(open, job, 1);
  const keys = new Set([...open.keys(), ...tables.backlog.keys()]);
  const isWrong = (key: string): boolean => {
    const [counted, found] = [tables.backlog.get(key), open.get(key)];
    return (counted?.jobs ?? 0) !== (found?.jobs ?? 0) || (counted?.inputTokens ?? 0) !== (found?.inputTokens ?? 0);
  };
  return [...keys].filter(isWrong).length;
}
