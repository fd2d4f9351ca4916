import { constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asTextModel, createTokenizer, openModelRepository, type Model, type Tokenizer } from '@sluice/models';
import { createLogger, delay, type Logger } from '@sluice/runtime';
import { createInferenceHost, type InferenceHost, type InferenceHostOptions } from '../src/inference/inference-host.js';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import { writeTinyModel } from './tiny-model.js';
import { isAlive } from './worker-process.js';

const logger = createLogger({ app: 'test', level: 'silent' });

/** Hosts on two versions of the tiny model, which compute the same. */
export interface InferenceFixture {
  /** Of a temporary model repository. */
  readonly directory: string;
  readonly tokenizer: Tokenizer;
  /** Of the hosts, unless told otherwise: writes nothing. */
  readonly logger: Logger;
  /** A version of the tiny model under its key `tiny/<version>`. */
  tiny(version: '1' | '2'): KeyedModel;
  /** A host that serves `tiny/1` in one process, unless told otherwise. It is stopped by `endHosts`. */
  create(options?: Partial<InferenceHostOptions>): InferenceHost;
  /** Stops the hosts; returns the ids of processes that are left, of all that there ever were. */
  endHosts(): Promise<readonly number[]>;
  remove(): Promise<void>;
}

export async function openInferenceFixture(): Promise<InferenceFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-inference-'));
  for (const version of ['1', '2']) await writeTinyModel(directory, { version });
  const repository = await openModelRepository(directory);
  const models: Record<string, Model> = {
    1: await repository.find('tiny', '1'),
    2: await repository.find('tiny', '2'),
  };
  const tokenizer = await createTokenizer(asTextModel(models[1] as Model));
  const tiny = (version: '1' | '2'): KeyedModel => ({ key: `tiny/${version}`, model: models[version] as Model });
  const hosts: InferenceHost[] = [];
  const pids = new Set<number>();
  const note = (): void => hosts.forEach((host) => host.pids.forEach((pid) => pids.add(pid)));

  return {
    directory,
    tokenizer,
    logger,
    tiny,
    create(options = {}) {
      const host = createInferenceHost({
        modulePath: fileURLToPath(new URL('../dist/inference/inference-process.js', import.meta.url)),
        models: [tiny('1')],
        environment: process.env,
        processes: 1,
        threads: 1,
        provider: { name: 'cpu' },
        timeoutMs: 30_000,
        logger,
        ...options,
      });
      hosts.push(host);
      return host;
    },
    async endHosts() {
      note();
      await Promise.all(hosts.map((host) => host.stop()));
      hosts.length = 0;
      const left = [...pids].filter(isAlive);
      pids.clear();
      return left;
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Resolves when a process of the host can run the model. */
export async function untilCanRun(host: InferenceHost, model: string): Promise<void> {
  while (!host.canRun(model)) await new Promise<void>((resolve) => host.onIdle(resolve));
}

/** Runs texts, each of one number. */
export async function runTexts(
  { tokenizer }: InferenceFixture,
  host: InferenceHost,
  key: string,
  ...texts: readonly string[]
): Promise<number[]> {
  const sequences = texts.map((text) => tokenizer.encode(text));
  return [...(await host.run(key, sequences)).rows];
}

/** Opens a named pipe for writing as soon as somebody reads it, who then waits for bytes. */
export async function untilRead(path: string): Promise<number> {
  for (;;) {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
      await delay(5);
    }
  }
}
