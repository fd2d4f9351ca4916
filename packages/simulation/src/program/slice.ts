// A process of the program: runs the seeds that it is sent over IPC, one after the other. Its argument is the module to
// be simulated, if not the suite.
import type { SliceAnswer, SliceRequest } from './slice-messages.js';
import type { SeedOutcome } from './seed-outcome.js';
import { loadSuite, runOne } from './suite.js';

const suite = await loadSuite(process.argv[2]);

function answer(outcomes: readonly SeedOutcome[], since: NodeJS.CpuUsage): void {
  const { user, system } = process.cpuUsage(since);
  process.send?.({
    outcomes,
    defects: suite.defects,
    cpuMs: (user + system) / 1000,
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
  } satisfies SliceAnswer);
}

async function run({ requests }: SliceRequest): Promise<void> {
  const since = process.cpuUsage();
  const outcomes: SeedOutcome[] = [];
  for (const request of requests) outcomes.push(await runOne(suite, request));
  answer(outcomes, since);
}

process.on('message', (request) => void run(request as SliceRequest));
answer([], process.cpuUsage());
