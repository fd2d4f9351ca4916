/**
 * A call that takes several round trips. It yields the name of the command that it is about to send, and is resumed
 * with the time of Redis' clock (Unix milliseconds) at the moment when Redis runs that command, which then happens as a
 * whole. Between two commands anything may happen; a caller that dies simply never resumes it. What it throws, it throws
 * where the real call would reject.
 */
export type Steps<T> = Generator<string, T, number>;

/** Runs a call to its end; `now` is asked once for each command, in their order. */
export function finish<T>(steps: Steps<T>, now: (command: string) => number): T {
  let step = steps.next(0);
  while (!step.done) step = steps.next(now(step.value));
  return step.value;
}
