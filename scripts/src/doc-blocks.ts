/** What a page of the docs lets its reader run. */
export interface DocBlock {
  /** `run`: by everybody. `cluster`: needs one. `tool`: needs the program named by `tool`. `sql`: a statement that reads. */
  readonly kind: 'run' | 'cluster' | 'tool' | 'sql';
  /** Program that a block of kind `tool` needs, such as `psql`. */
  readonly tool?: string;
  readonly text: string;
  /** Of its first line in the page, from 1. */
  readonly line: number;
}

const FENCE = /^(`{3,})([^\n`]*)\n([\s\S]*?)^\1 *$/gm;

/**
 * The fenced blocks of a page that somebody is meant to run: `sh` (run by everybody beside `npm start`), `sh cluster`
 * (needs a cluster, or is run by another test), `sh <program>` (where that program is installed) and `sql`.
 */
export function docBlocks(page: string): readonly DocBlock[] {
  return [...page.matchAll(FENCE)].flatMap((match): readonly DocBlock[] => {
    const [language = '', word] = (match[2] ?? '').trim().split(/\s+/);
    const text = match[3] ?? '';
    const line = page.slice(0, match.index).split('\n').length + 1;
    if (language === 'sql') return [{ kind: 'sql', text, line }];
    if (language !== 'sh') return [];
    if (word === undefined) return [{ kind: 'run', text, line }];
    return [word === 'cluster' ? { kind: 'cluster', text, line } : { kind: 'tool', tool: word, text, line }];
  });
}

/**
 * A script of bash that runs the page's blocks in one shell, and prints `# <line>` before each to standard error, so that
 * a failure has a place. Blocks that need a cluster, or a program that is not `installed`, are left out.
 */
export function pageScript(blocks: readonly DocBlock[], installed: (program: string) => boolean): string {
  const runnable = blocks.filter(({ kind, tool }) => kind === 'run' || (tool !== undefined && installed(tool)));
  return ['set -euo pipefail', ...runnable.map(({ line, text }) => `echo '# ${line}' >&2\n${text}`)].join('\n');
}
