import type { Roles } from '../harness/cpu.js';
import type { RequestTemplate } from '../load/load-plan.js';
import type { Books } from './books.js';

export const SIDE_NAMES = ['floor', 'sluice'] as const;

/** A pipeline, running. */
export interface Side {
  readonly name: string;
  /** Where jobs are POSTed to. */
  readonly url: string;
  readonly roles: Roles;
  readonly templates: readonly RequestTemplate[];
  readonly books: Books;
  stop(): Promise<void>;
}

/** The same bytes for both sides: a short text for the cheapest model, and the labels that a caller would add. */
export const JOB_BODY = JSON.stringify({
  model: 'guesslang',
  input: 'def add(a, b):\n    return a + b\n\nprint(add(2, 3))\n',
  metadata: { source: 'benchmark', request: '5f0c2f8e-7f0b-4c58-9d9c-2f6f3f1f8c11', retries: 0, urgent: false },
});

/** As many as make the counters of one tenant no hot spot. */
export const TENANT_IDS: readonly string[] = Array.from({ length: 16 }, (_, index) => `bench-${index + 1}`);
