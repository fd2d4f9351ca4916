import { sha256 } from './inputs.js';

/** The `output` of a job as HTTP tells it. */
export interface Output {
  readonly embeddings?: readonly (readonly number[])[];
  readonly classifications?: readonly (readonly { readonly label: string; readonly score: number }[])[];
}

/** What is noted of an output. */
export interface ComparedOutput {
  readonly outputHash: string;
  /** Largest difference to the first output of an equal input; absent for that one. Infinity when they differ in form. */
  readonly distance?: number;
}

/** Remembers the first output of each input and compares all later ones with it. */
export interface Outputs {
  compare(inputHash: string, output: Output): ComparedOutput;
}

export function createOutputs(): Outputs {
  const first = new Map<string, Output>();
  return {
    compare(inputHash, output) {
      const outputHash = sha256(JSON.stringify(output));
      const earlier = first.get(inputHash);
      if (earlier) return { outputHash, distance: distanceOf(earlier, output) };
      first.set(inputHash, output);
      return { outputHash };
    },
  };
}

/** Of numbers: the largest difference. Infinity when the outputs are of different tasks or counts. */
export function distanceOf(one: Output, other: Output): number {
  return Math.max(
    ofLists(one.embeddings, other.embeddings, (a, b) => ofLists(a, b, (x, y) => Math.abs(x - y))),
    ofLists(one.classifications, other.classifications, ofLabels),
  );
}

function ofLists<T>(a: readonly T[] = [], b: readonly T[] = [], distance: (a: T, b: T) => number): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (const [index, one] of a.entries()) {
    const other = b[index];
    most = Math.max(most, other === undefined ? Infinity : distance(one, other));
  }
  return most;
}

type Labels = NonNullable<Output['classifications']>[number];

/** A label that the other list does not name had at most the score of its last one. */
function ofLabels(a: Labels, b: Labels): number {
  if (a.length !== b.length) return Infinity;
  const scores = (labels: Labels): Map<string, number> => new Map(labels.map(({ label, score }) => [label, score]));
  const [ofA, ofB] = [scores(a), scores(b)];
  const names = new Set([...ofA.keys(), ...ofB.keys()]);
  const differences = [...names].map((name) => Math.abs((ofA.get(name) ?? last(a)) - (ofB.get(name) ?? last(b))));
  return Math.max(0, ...differences);
}

function last(labels: Labels): number {
  return labels.at(-1)?.score ?? 0;
}
