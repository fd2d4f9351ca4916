import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import Table from 'cli-table3';
import type { Comparison } from './comparison.js';
import type { Conditions } from './conditions.js';
import type { Spread } from './statistics.js';

/** Everything a run of a benchmark found; what is written as JSON. */
export interface BenchmarkResult {
  readonly benchmark: string;
  readonly conditions: Conditions;
  /** What a reader has to know to judge the figures. */
  readonly notes: readonly string[];
  readonly cases: readonly CaseResult[];
  /** What does not compare two sides. */
  readonly tables?: readonly ResultTable[];
}

/** A table as it is printed. */
export interface ResultTable {
  readonly title: string;
  readonly head: readonly string[];
  /** The first column is text, the others are numbers. */
  readonly rows: readonly (readonly string[])[];
  /** The rows' figures as they are, for the JSON. */
  readonly data: readonly object[];
}

export interface CaseResult {
  readonly name: string;
  /** Heads of the table where it has lines of several sides; the names of the first two sides when absent. */
  readonly columns?: readonly [baseline: string, subject: string];
  /** The figures of every round by side, the baseline first. */
  readonly rounds: Readonly<Record<string, readonly object[]>>;
  readonly comparisons: readonly Comparison[];
}

/** The result for a terminal: one table for each case, every value as median and range over the rounds. */
export function formatResult({ benchmark, conditions, notes, cases, tables = [] }: BenchmarkResult): string {
  return [
    `\n${benchmark}, ${conditions.at}`,
    ...formatConditions(conditions),
    ...notes.map((note) => `  n.b. ${note}`),
    ...cases.map(formatCase),
    ...tables.map(formatTable),
  ].join('\n');
}

/** Writes the result as JSON, making the folder if need be. */
export async function writeResult(path: string, result: BenchmarkResult): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(result, null, 2)}\n`);
}

function formatConditions(conditions: Conditions): readonly string[] {
  const { command, cores, cpu, memoryGib, system, node, versions } = conditions;
  return [
    `  command   ${command}`,
    `  machine   ${cores} cores (${cpu}), ${memoryGib} GiB, ${system}, Node ${node}`,
    `  versions  ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}`,
  ];
}

function formatTable({ title, head, rows }: ResultTable): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, at) => (at === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  table.push(...rows.map((row) => [...row]));
  return `\n${title}\n${table.toString()}`;
}

function formatCase({ name, rounds, columns, comparisons }: CaseResult): string {
  const sides = Object.keys(rounds);
  const [baseline = '', subject = ''] = columns ?? sides;
  const count = rounds[sides[0] ?? '']?.length ?? 0;
  const table = new Table({
    head: ['', baseline, subject, `${subject} ÷ ${baseline}`],
    colAligns: ['left', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const comparison of comparisons) {
    table.push([
      comparison.title,
      formatSpread(comparison.baseline),
      formatSpread(comparison.subject),
      comparison.ratio ? formatSpread(comparison.ratio) : '',
    ]);
  }
  return `\n${name}: median [least – most] of ${count} ${count === 1 ? 'round' : 'rounds'}\n${table.toString()}`;
}

/** `4,485 [4,210 – 4,602]`, or the value alone when there is only one. */
export function formatSpread({ median, min, max }: Spread): string {
  if (min === max) return formatNumber(median);
  return `${formatNumber(median)} [${formatNumber(min)} – ${formatNumber(max)}]`;
}

/** Three significant digits, or all digits before the point. */
function formatNumber(value: number): string {
  const decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}
