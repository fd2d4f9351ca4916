import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createHash, randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Measurement } from './cost-measurement.js';

/** What a measurement holds for. Another of any of these, and it must be made again. */
export interface Circumstances {
  /** Repository name and version of the model. */
  readonly key: string;
  /** SHA-256 of its ONNX file. */
  readonly digest: string;
  /** Name of the processor. */
  readonly processor: string;
  /** What computed. */
  readonly provider: string;
  /** Threads of an inference process. */
  readonly threads: number;
}

const fileSchema = z.object({
  key: z.string(),
  digest: z.string(),
  processor: z.string(),
  provider: z.string(),
  threads: z.number(),
  tripMs: z.number().min(0),
  points: z
    .array(z.object({ texts: z.int().min(1), length: z.int().min(1), ms: z.number().positive() }))
    .min(1)
    .max(1_000),
});

/** Measurements of models in files, one for each model under its circumstances. */
export interface CalibrationFiles {
  /** Undefined when there is none, or none that can be used. */
  read(circumstances: Circumstances): Promise<Measurement | undefined>;
  /** Rejects when the folder cannot be written. */
  write(circumstances: Circumstances, measurement: Measurement): Promise<void>;
}

export function openCalibrationFiles(directory: string): CalibrationFiles {
  return {
    async read(circumstances) {
      const kept = await readKept(pathOf(directory, circumstances), fileSchema);
      if (!kept || describe(kept) !== describe(circumstances)) return undefined;
      return { points: kept.points, tripMs: kept.tripMs };
    },
    write: (circumstances, measurement) =>
      writeKept(pathOf(directory, circumstances), { ...circumstances, ...measurement }),
  };
}

/** The measurement in the text of a file, whatever it holds for; undefined when the text is of another form. */
export function parseCalibration(text: string): Measurement | undefined {
  return fileSchema.safeParse(parse(text)).data;
}

/** What a file holds; undefined when there is none, or one of another form. */
export async function readKept<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.output<Schema> | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return schema.safeParse(text === undefined ? undefined : parse(text)).data;
}

/** Rejects when the folder cannot be written. */
export async function writeKept(path: string, content: object): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // n.b. several workers may measure the same: whoever reads sees one file or the other, never half of one.
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${JSON.stringify(content, undefined, 2)}\n`);
  await rename(draft, path);
}

function pathOf(directory: string, circumstances: Circumstances): string {
  const short = createHash('sha256').update(describe(circumstances)).digest('hex').slice(0, 12);
  return join(directory, `${circumstances.key.replaceAll('/', '-')}-${short}.json`);
}

function describe({ key, digest, processor, provider, threads }: Circumstances): string {
  return JSON.stringify([key, digest, processor, provider, threads]);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
