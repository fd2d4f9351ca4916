/** Configuration that cannot be used. Every problem is listed, so that one run shows them all. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(what: string, problems: readonly string[]) {
    super([`${what}:`, ...problems.map((problem) => `  ${problem}`)].join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
