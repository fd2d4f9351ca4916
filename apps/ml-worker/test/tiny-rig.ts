import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { inputTexts, isTensorInput, type AcceptedMessage, type CompletedMessage } from '@sluice/contracts';
import { openRig, POOL, type Rig } from './rig.js';
import { writeTinyModel } from './tiny-model.js';

/** A rig whose model repository and `models.yaml` are the test's own, with versions of the tiny model. */
export interface TinyRig extends Rig {
  /** Model repository and folder of `models.yaml`. */
  readonly directory: string;
  /** `models.yaml` with these fields of the tiny model, and further lines. */
  configure(fields: string, more?: string): Promise<void>;
  /** Leaves version 1 of the tiny model in the repository, and nothing else. */
  reset(): Promise<void>;
  /** The one end of each job. */
  endsOf(jobs: readonly AcceptedMessage[]): Promise<readonly CompletedMessage[]>;
}

export async function openTinyRig(): Promise<TinyRig> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-tiny-'));
  const remove = (): Promise<void> => rm(directory, { recursive: true });
  const rig = await openRig({ modelDirectory: directory, configDirectory: directory, remove });
  return {
    ...rig,
    directory,
    async configure(fields, more = '') {
      const lines = [`pools: { ${POOL}: {} }`, 'models:', `  tiny: { pool: ${POOL}, ${fields} }`, more];
      await writeFile(join(directory, 'models.yaml'), lines.join('\n'));
    },
    async reset() {
      for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true });
      await writeTinyModel(directory);
    },
    async endsOf(jobs) {
      await rig.until(() => jobs.every(({ jobId }) => rig.completions.has(jobId)));
      return jobs.map(({ jobId }) => {
        const ends = rig.completions.get(jobId) ?? [];
        expect(ends).toHaveLength(1);
        return ends[0] as CompletedMessage;
      });
    },
    async close() {
      await rig.close();
      await remove();
    },
  };
}

/** What version 1 of the tiny model makes of the only text of a job; version n with the factor n makes n times as much. */
export function sumOf({ input }: AcceptedMessage): number {
  const [text = ''] = isTensorInput(input) ? [] : inputTexts(input);
  return [...Buffer.from(text)].reduce((a, b) => a + b, 0);
}

/** Version that ran a job with one text, and the sum that it came to. */
export function resultOf({ modelVersion, output }: CompletedMessage) {
  if (output?.task !== 'embedding') throw new Error('the job has no embedding');
  return { version: modelVersion, sum: Buffer.from(output.embeddings[0] ?? '', 'base64').readFloatLE(0) };
}
