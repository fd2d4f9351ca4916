import { runCampaign, seedsFrom, type Finding } from './campaign.js';
import type { ProgramOptions } from './options.js';

/** Whether a built-in defect was noticed. */
export interface DefectFinding {
  readonly defect: string;
  /** How many seeds were run until then. */
  readonly runs: number;
  readonly finding?: Finding;
  /** Whether the seed failed in the same way, with the same trace, in another process. */
  readonly replayed: boolean;
}

/** Runs the suite with a defect until an invariant notices, at most `options.seeds` times; then replays what it found. */
export async function huntDefect(defect: string, options: ProgramOptions): Promise<DefectFinding> {
  const { first, seeds, processes, suite } = options;
  const found = await runCampaign({
    requests: seedsFrom(first, seeds, defect),
    processes,
    suite,
    verify: 0,
    maxFailures: 1,
  });
  const finding = found.findings[0];
  const runs = found.totals.runs;
  if (!finding) return { defect, runs, replayed: false };
  const again = await runCampaign({ requests: [finding.request], processes: 1, suite, verify: 0, maxFailures: 1 });
  const outcome = again.findings[0]?.outcome;
  const isSame = outcome?.hash === finding.outcome.hash;
  return {
    defect,
    runs,
    finding,
    replayed: isSame && outcome.failure?.invariant === finding.outcome.failure?.invariant,
  };
}
