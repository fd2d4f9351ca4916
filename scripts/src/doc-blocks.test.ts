import { describe, expect, it } from '@jest/globals';
import { docBlocks, pageScript } from './doc-blocks.js';

const PAGE = [
  '# Page',
  '```sh',
  'A=1',
  '```',
  '```text',
  'shown',
  '```',
  '```sh psql',
  'psql "$A"',
  '```',
  '```sh cluster',
  'kubectl get pods',
  '```',
  '```sql',
  'SELECT 1',
  '```',
].join('\n');

describe('docBlocks', () => {
  it('tells what everybody runs from what needs a program or a cluster', () => {
    expect(docBlocks(PAGE)).toEqual([
      { kind: 'run', text: 'A=1\n', line: 3 },
      { kind: 'tool', tool: 'psql', text: 'psql "$A"\n', line: 9 },
      { kind: 'cluster', text: 'kubectl get pods\n', line: 12 },
      { kind: 'sql', text: 'SELECT 1\n', line: 15 },
    ]);
  });
});

describe('pageScript', () => {
  it('has the blocks that can be run here, each with its place', () => {
    expect(pageScript(docBlocks(PAGE), () => false)).toBe("set -euo pipefail\necho '# 3' >&2\nA=1\n");
    expect(pageScript(docBlocks(PAGE), (program) => program === 'psql')).toContain('# 9');
  });
});
