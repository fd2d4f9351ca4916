/** Runs an action after `delayMs`, unless the broker stops before. */
export type Later = (delayMs: number, label: string, action: () => void) => void;

/** Steps within the broker that take time but keep their order. */
export interface Pipeline {
  /** Runs `action` after `delayMs`, or at once when that is 0, but not before everything given before. */
  run(delayMs: number, action: () => void): void;
}

export function createPipeline(later: Later, label: string): Pipeline {
  const actions: (() => void)[] = [];
  /** One wake-up for each action; whichever comes first runs the first action that is due. */
  let due = 0;

  return {
    run(delayMs, action) {
      if (delayMs <= 0 && actions.length === 0) return action();
      actions.push(action);
      later(delayMs, label, () => {
        due += 1;
        while (due > 0 && actions.length > 0) {
          due -= 1;
          actions.shift()?.();
        }
      });
    },
  };
}
