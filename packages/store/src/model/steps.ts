/**
 * A call of several statements, each a transaction of its own: it yields before each of them, and what `next` is given is
 * PostgreSQL's clock (Unix milliseconds) when it runs that statement. The first `next()` only comes to the first statement. A
 * caller that dies in between simply never goes on: what has run stays.
 */
export type Steps<Result> = Generator<undefined, Result, number>;

/** Runs all statements at one moment. */
export function atOnce<Result>(steps: Steps<Result>, nowMs: number): Result {
  let step = steps.next();
  while (step.done !== true) step = steps.next(nowMs);
  return step.value;
}
