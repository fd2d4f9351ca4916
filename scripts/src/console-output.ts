import Table from 'cli-table3';
import { SingleBar } from 'cli-progress';

export interface Output {
  /** A finished step, with the seconds it took when `startedAt` is given. */
  step(text: string, startedAtMs?: number): void;
  heading(text: string): void;
  line(text?: string): void;
  /** Something that went wrong, on stderr. */
  problem(text: string): void;
  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void;
  /** Progress of `total` things; a plain line at the end where there is no terminal. */
  progress(text: string, total: number): { tick(): void; done(): void };
}

/** What a person sees. With `quiet` only `line` and `problem` print. */
export function createOutput(quiet: boolean): Output {
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  const loud = quiet ? (): void => undefined : print;

  return {
    step(text, startedAtMs) {
      const took = startedAtMs === undefined ? '' : `  ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`;
      loud(`  ✓ ${text}${took}`);
    },
    heading: (text) => loud(`\n${text}`),
    line: (text = '') => print(text),
    problem: (text) => void process.stderr.write(`\n✗ ${text}\n`),
    table(head, rows) {
      const table = new Table({ head: [...head], style: { head: [], border: [], compact: true } });
      table.push(...rows.map((row) => [...row]));
      loud(table.toString());
    },
    progress(text, total) {
      if (quiet || !process.stdout.isTTY) return { tick: () => undefined, done: () => loud(`  ✓ ${text}: ${total}`) };
      const bar = new SingleBar({ format: `  ${text} {bar} {value}/{total}`, hideCursor: true });
      bar.start(total, 0);
      return { tick: () => bar.increment(), done: () => bar.stop() };
    },
  };
}
