/** One side of a comparison, by name. */
export interface Named {
  readonly name: string;
}

export interface RoundsOptions<Side extends Named, Figures> {
  readonly sides: readonly Side[];
  readonly rounds: number;
  /** Rounds of each side that are run first and not counted. */
  readonly warmUps: number;
  readonly measure: (side: Side) => Promise<Figures>;
  readonly report?: (progress: { readonly side: Side; readonly round: number; readonly figures: Figures }) => void;
}

/**
 * Measures every side in every round, one after the other: A B A B. A machine that slows down or is disturbed for a while
 * then disturbs both, and figures of one round can be compared with each other.
 */
export async function runRounds<Side extends Named, Figures>(
  options: RoundsOptions<Side, Figures>,
): Promise<Readonly<Record<string, readonly Figures[]>>> {
  const figures: Record<string, Figures[]> = Object.fromEntries(options.sides.map(({ name }) => [name, []]));
  for (let round = 1 - options.warmUps; round <= options.rounds; round++) {
    for (const side of options.sides) {
      const measured = await options.measure(side);
      if (round < 1) continue;
      figures[side.name]?.push(measured);
      options.report?.({ side, round, figures: measured });
    }
  }
  return figures;
}
