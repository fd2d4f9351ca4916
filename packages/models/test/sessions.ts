import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface RunRequest {
  readonly repository: string;
  readonly name: string;
  readonly version: string;
  readonly batches: readonly (readonly Int32Array[])[];
}

export interface Sessions {
  /** One array of rows for each batch. Rejects with `code: detail` of the child's error. */
  run(request: RunRequest): Promise<readonly Float32Array[]>;
  stop(): Promise<void>;
}

type Answer = { id: number } & ({ rows: Float32Array[] } | { code: string; detail: string });

/** Starts `session-process.mjs`. */
export function startSessions(): Sessions {
  const child = fork(fileURLToPath(new URL('session-process.mjs', import.meta.url)), {
    execArgv: [],
    serialization: 'advanced',
  });
  const waiting = new Map<number, (answer: Answer) => void>();
  const ended = once(child, 'exit');
  let requests = 0;
  child.on('message', (answer) => waiting.get((answer as Answer).id)?.(answer as Answer));

  return {
    async run(request) {
      const id = requests++;
      const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve));
      child.send({ id, ...request });
      const answer = await Promise.race([answered, ended.then(() => undefined)]);
      waiting.delete(id);
      if (!answer) throw new Error('the session process ended');
      if ('code' in answer) throw new Error(`${answer.code}: ${answer.detail}`);
      return answer.rows;
    },
    async stop() {
      child.disconnect();
      await ended;
    },
  };
}
