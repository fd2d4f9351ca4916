import type { CampaignResult, Finding } from './campaign.js';
import type { Counts, SeedRequest } from './seed-outcome.js';

const NAME_WIDTH = 34;

/** The counts of a campaign as a table. */
export function tableOf({ totals, verified, usage, realMs }: CampaignResult): string {
  const seconds = realMs / 1000;
  const lines = [
    row('runs', totals.runs),
    row('  run twice, with the same trace', verified),
    row('jobs accepted', totals.jobs),
    row('events', totals.events),
    row('crash points passed', totals.crashPoints),
    row('virtual time, hours', totals.virtualMs / 3_600_000),
    row('  of the longest run, minutes', totals.longestVirtualMs / 60_000),
    ...section('crashes', totals.crashes),
    ...section('faults', totals.faults),
    ...section('answers to clients', totals.answers),
    ...section('invariants checked', totals.checks),
    row('real time, seconds', seconds),
    row('runs a second', totals.runs / seconds),
    row('CPU time a run, milliseconds', usage.cpuMs / Math.max(1, totals.runs + verified)),
    row('largest process, megabytes', usage.peakMegabytes),
  ];
  return `${lines.join('\n')}\n`;
}

function section(title: string, counts: Counts): string[] {
  const kinds = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
  const sum = kinds.reduce((total, [, count]) => total + count, 0);
  return [row(title, sum), ...kinds.map(([kind, count]) => row(`  ${kind}`, count))];
}

function row(name: string, value: number): string {
  const text = Number.isInteger(value) ? value.toLocaleString('en') : value.toFixed(value < 100 ? 2 : 0);
  return `${name.padEnd(NAME_WIDTH)} ${text.padStart(14)}`;
}

/** Failing runs by invariant, then the first of them with its last events and how to see it again. */
export function findingsOf(findings: readonly Finding[]): string {
  const first = findings[0];
  if (!first) return '';
  const lines = [...byInvariant(findings)].map(
    ([invariant, those]) => `  ${invariant}: ${those.length} (${those.slice(0, 5).map(nameOf).join(', ')})`,
  );
  return `\nInvariants that did not hold:\n${lines.join('\n')}\n\n${detailsOf(first)}`;
}

function byInvariant(findings: readonly Finding[]): Map<string, Finding[]> {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const invariant = finding.outcome.failure?.invariant ?? '';
    groups.set(invariant, [...(groups.get(invariant) ?? []), finding]);
  }
  return groups;
}

function nameOf({ request }: Finding): string {
  return request.crashAt?.length ? `${request.seed} crashed at ${request.crashAt.join()}` : String(request.seed);
}

/** One failing run. */
export function detailsOf({ request, outcome }: Finding): string {
  const { invariant, detail } = outcome.failure ?? { invariant: 'none', detail: '' };
  const events = (outcome.lastEvents ?? []).map((line) => `  ${line}\n`).join('');
  return (
    `Seed ${request.seed}, trace ${outcome.hash}: ${invariant}\n${detail}\n` +
    `${events && `Last events:\n${events}`}See it again: ${replayCommand(request)}\n`
  );
}

/** What to type to see a run again, with all its events. */
export function replayCommand({ seed, crashAt = [], defect }: SeedRequest): string {
  const options = [`--seed ${seed}`];
  if (crashAt.length > 0) options.push(`--crash-at ${crashAt.join()}`);
  if (defect !== undefined) options.push(`--defect ${defect}`);
  return `npm run simulate -- ${options.join(' ')}`;
}
