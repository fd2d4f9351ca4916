import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it, jest } from '@jest/globals';
import { logLines } from './process-lines.js';

const PID = 7;

/** Writes chunks as a process would, and returns what was logged. */
async function logOf(...chunks: readonly (string | Buffer)[]): Promise<readonly (readonly [object, string])[]> {
  const lines: [object, string][] = [];
  const stream = new PassThrough();
  logLines([stream], PID, { warn: (fields: object, text: string) => void lines.push([fields, text]) } as never);
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain');
  stream.end();
  await once(stream, 'close');
  return lines;
}

const wrote = (line: string) => [{ child: PID, line }, 'an inference process wrote'] as const;

describe('lines of a process', () => {
  it('are logged one by one, however they are cut, the last one too', async () => {
    const umlaut = Buffer.from('ü');
    const chunks = ['first\r\nsec', 'ond\n', umlaut.subarray(0, 1), umlaut.subarray(1), '\n\nlast'];
    expect(await logOf(...chunks)).toEqual(['first', 'second', 'ü', '', 'last'].map(wrote));
  });

  it('are cut, and no more of them is kept than that: a text of 600 MiB cannot be', async () => {
    const chunk = Buffer.alloc(2 ** 20, 'a');
    expect(await logOf(...Array.from({ length: 600 }, () => chunk))).toEqual([wrote('a'.repeat(500))]);
  });

  it('are counted beyond the first hundred of a minute', async () => {
    const now = jest.spyOn(performance, 'now').mockReturnValue(0);
    try {
      const lines = await logOf('x\n'.repeat(250));
      expect(lines).toHaveLength(101);
      expect(lines[100]).toEqual([
        { child: PID, lines: 150 },
        'an inference process wrote too much, lines are left out',
      ]);
      let calls = 0;
      now.mockImplementation(() => (calls++ < 150 ? 0 : 60_000));
      const later = await logOf('x\n'.repeat(200));
      expect(later.map(([fields]) => ('lines' in fields ? fields.lines : 1))).toEqual([
        ...Array.from({ length: 100 }, () => 1),
        50,
        ...Array.from({ length: 50 }, () => 1),
      ]);
    } finally {
      now.mockRestore();
    }
  });
});
