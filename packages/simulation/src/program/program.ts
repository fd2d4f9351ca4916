import { writeFile } from 'node:fs/promises';
import { everyPoint, runCampaign, seedsFrom, type CampaignResult } from './campaign.js';
import { huntDefect } from './defect-hunt.js';
import { UsageError, type ProgramOptions } from './options.js';
import { runAll } from './pool.js';
import { detailsOf, findingsOf, tableOf } from './report.js';
import type { SeedOutcome, SeedRequest } from './seed-outcome.js';
import { loadSuite, runOne } from './suite.js';
import type { Totals } from './totals.js';

const PROGRESS_EVERY_MS = 5_000;

type Print = (text: string) => void;

/** Does what was asked for. True when every invariant held; with `hunt`, when every defect was noticed. */
export async function runProgram(options: ProgramOptions, print: Print): Promise<boolean> {
  if (options.seed !== undefined) return replay({ ...requestOf(options, options.seed) }, options, print);
  if (options.hunt) return hunt(options.hunt, options, print);
  if (options.everyPoint !== undefined) return crashEverywhere(requestOf(options, options.everyPoint), options, print);
  return campaign(seedsFrom(options.first, options.seeds, options.defect), options, print);
}

function requestOf({ crashAt, defect }: ProgramOptions, seed: number): SeedRequest {
  return { seed, ...(crashAt.length > 0 && { crashAt }), ...(defect !== undefined && { defect }) };
}

/** Runs one seed in this process and prints every event. */
async function replay(request: SeedRequest, options: ProgramOptions, print: Print): Promise<boolean> {
  const suite = await loadSuite(options.suite);
  const outcome = await runOne(suite, { ...request, onEvent: (line) => print(`${line}\n`) });
  if (options.report !== undefined) await writeReport(options.report, outcome);
  const { lastEvents: _, ...rest } = outcome; // they were printed
  print(
    outcome.failure ? `\n${detailsOf({ request, outcome: rest })}` : `\nEvery invariant held; ${counts(outcome)}.\n`,
  );
  return outcome.failure === undefined;
}

function counts({ hash, events, crashPoints, jobs, virtualMs }: SeedOutcome): string {
  const seconds = (virtualMs / 1000).toFixed(1);
  return `trace ${hash}, ${events} events, ${crashPoints} crash points, ${jobs} jobs, ${seconds} s of virtual time`;
}

async function campaign(requests: Iterable<SeedRequest>, options: ProgramOptions, print: Print): Promise<boolean> {
  const { processes, suite, verify, maxFailures } = options;
  const onProgress = progress(print);
  const result = await runCampaign({ requests, processes, suite, verify, maxFailures, onProgress });
  print(tableOf(result) + findingsOf(result.findings));
  if (options.report !== undefined) await writeReport(options.report, reportOf(result));
  print(result.findings.length === 0 ? '\nEvery invariant held.\n' : '');
  return result.findings.length === 0;
}

function reportOf({ totals, findings, verified, usage, realMs }: CampaignResult): object {
  const failures = findings.map(({ request, outcome }) => ({ ...request, ...outcome }));
  return { ...totals, verified, cpuMs: usage.cpuMs, peakMegabytes: usage.peakMegabytes, realMs, failures };
}

function progress(print: Print): (totals: Totals, findings: number) => void {
  const beganMs = performance.now();
  let toldMs = beganMs;
  return ({ runs, events }, findings) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < PROGRESS_EVERY_MS) return;
    toldMs = nowMs;
    const seconds = (nowMs - beganMs) / 1000;
    print(
      `${seconds.toFixed(0)} s: ${runs} runs (${(runs / seconds).toFixed(0)} a second), ${events} events, ${findings} failed\n`,
    );
  };
}

/** Counts the crash points of one seed, then runs it with a crash at each of them. */
async function crashEverywhere(request: SeedRequest, options: ProgramOptions, print: Print): Promise<boolean> {
  let points = 0;
  const onOutcome = (outcome: SeedOutcome): boolean => {
    points = outcome.crashPoints;
    return true;
  };
  await runAll([request], { processes: 1, suite: options.suite, onOutcome });
  print(`Seed ${request.seed} has ${points} crash points.\n`);
  return campaign(everyPoint(request, points), options, print);
}

/** Looks for the named defects, one after the other; for every one if none is named. */
async function hunt(names: readonly string[], options: ProgramOptions, print: Print): Promise<boolean> {
  const { defects } = await runAll([], { processes: 1, suite: options.suite, onOutcome: () => true });
  const unknown = names.find((name) => !defects.includes(name));
  if (unknown !== undefined) throw new UsageError(`--hunt takes ${defects.join(', ')} or all, not "${unknown}".`);
  const results = [];
  for (const defect of names.length > 0 ? names : defects) {
    const result = await huntDefect(defect, options);
    results.push(result);
    const { finding, runs, replayed } = result;
    const found = finding && `seed ${finding.request.seed}: ${finding.outcome.failure?.invariant}`;
    const again = replayed ? '' : ', BUT ANOTHER TRACE WHEN REPLAYED';
    print(`${defect.padEnd(34)} ${found ? `${found} (after ${runs} runs${again})` : `NOT FOUND in ${runs} runs`}\n`);
  }
  if (options.report !== undefined) await writeReport(options.report, { defects: results });
  return results.length > 0 && results.every(({ finding, replayed }) => finding !== undefined && replayed);
}

async function writeReport(path: string, report: object): Promise<void> {
  await writeFile(path, `${JSON.stringify(report, undefined, 2)}\n`);
}
