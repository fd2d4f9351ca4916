import type { FaultRecord } from './conductor.js';
import type { Conditions } from './conditions.js';
import type { UnexpectedExit } from './keeper.js';
import type { Check, Counts, Verdict } from './outsider/index.js';

/** Everything that is to be said about a run. */
export interface ChaosReport {
  readonly seed: number;
  /** What repeats it. */
  readonly command: string;
  readonly startedAt: string;
  readonly conditions: Conditions;
  readonly wantedFaults: number;
  readonly ratePerSecond: number;
  readonly faults: readonly FaultRecord[];
  /** From the first fault until the last was healed. */
  readonly faultsTookMs: number;
  readonly load: Counts;
  readonly unexpectedExits: readonly UnexpectedExit[];
  readonly verdict: Verdict;
  /** Whether the run proves what it was for. */
  readonly right: boolean;
  /** Why not, a sentence each. */
  readonly problems: readonly string[];
}

/** Why a run is not a proof, apart from nothing; empty when it is one. */
export function problemsOf(report: Pick<ChaosReport, 'wantedFaults' | 'faults' | 'verdict'>): readonly string[] {
  const injected = report.faults.filter(({ outcome }) => outcome === 'injected').length;
  const broken = report.faults.filter(({ outcome }) => outcome === 'broken');
  return [
    ...(injected < report.wantedFaults ? [`${injected} faults happened, ${report.wantedFaults} were asked for`] : []),
    ...broken.map(({ number, kind, target, reason }) => `fault ${number} (${kind}, ${target}) broke: ${reason}`),
    ...(report.verdict.drain.complete ? [] : [`it did not come to rest: ${report.verdict.drain.waitedFor}`]),
    ...report.verdict.checks.filter(({ right }) => !right).map(({ name, detail }) => `not so: ${name} (${detail})`),
  ];
}

/** The report for people. */
export function markdownOf(report: ChaosReport): string {
  const { verdict, load, faults } = report;
  const injected = faults.filter(({ outcome }) => outcome === 'injected');
  return [
    `# Chaos: ${report.right ? 'everything was right' : 'something was wrong'}`,
    '',
    `Seed ${report.seed}, ${report.startedAt}. Again: \`${report.command}\``,
    ...section('Wrong', report.problems.map(bullet)),
    ...section('Conditions', tableOf(['what', 'value'], Object.entries(report.conditions))),
    ...section(
      `Faults: ${injected.length} in ${seconds(report.faultsTookMs)} s, ${overlapping(injected)} of them while another was there`,
      [...tableOf(['kind', 'happened', 'skipped', 'lasted, median s', 'lasted, longest s'], kindRows(faults))],
    ),
    ...section('Load', [
      ...tableOf(
        ['attempts', 'accepted', 'refused', 'unknown', 'jobs', 'seen to end', 'held back'],
        [[load.sent, load.accepted, load.refused, load.unknown, load.jobs, load.ended, load.heldBack]],
      ),
      '',
      ...tableOf(['answer to a submission', 'times'], Object.entries(load.answers)),
    ]),
    ...section(
      `Verdict: ${verdict.right ? 'right' : 'wrong'}; came to rest in ${seconds(verdict.drain.durationMs)} s`,
      tableOf(['', 'check', 'what was found', 'numbers'], verdict.checks.map(checkRow)),
    ),
    ...verdict.checks.flatMap(offences),
    ...section(
      'Apps that ended although no fault ended them',
      report.unexpectedExits.map(({ app, exitCode, at }) => bullet(`${app}, exit code ${exitCode}, ${at}`)),
    ),
    '',
  ].join('\n');
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines];
}

function bullet(text: string): string {
  return `- ${text}`;
}

function tableOf(head: readonly string[], rows: readonly (readonly (string | number)[])[]): readonly string[] {
  const line = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function checkRow({ name, right, detail, numbers }: Check): readonly string[] {
  const counted = Object.entries(numbers).map(([what, count]) => `${what} ${count}`);
  return [right ? '✓' : '✗', name, detail, counted.join(', ')];
}

function offences({ name, offences: found }: Check): readonly string[] {
  const lines = found.flatMap(({ what, jobId, request, known }) => [
    bullet([what, jobId && `job ${jobId}`, request && `request ${request}`].filter(Boolean).join('; ')),
    ...known.map((line) => `  - ${line}`),
  ]);
  return section(`Offences: ${name}`, lines);
}

function kindRows(faults: readonly FaultRecord[]): readonly (readonly (string | number)[])[] {
  const kinds = [...new Set(faults.map(({ kind }) => kind))].sort();
  return kinds.map((kind) => {
    const own = faults.filter((fault) => fault.kind === kind);
    const lasted = own.flatMap(({ atMs, healedAtMs }) => (healedAtMs === undefined ? [] : [healedAtMs - atMs]));
    const sorted = lasted.sort((a, b) => a - b);
    const skipped = own.filter(({ outcome }) => outcome === 'skipped').length;
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    return [
      kind,
      own.filter(({ outcome }) => outcome === 'injected').length,
      skipped,
      seconds(median),
      seconds(sorted.at(-1) ?? 0),
    ];
  });
}

/** How many faults began before another had been healed. */
function overlapping(injected: readonly FaultRecord[]): number {
  return injected.filter(({ number, atMs }) =>
    injected.some((other) => other.number !== number && other.atMs <= atMs && (other.healedAtMs ?? Infinity) > atMs),
  ).length;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
