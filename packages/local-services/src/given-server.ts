import type { LocalServer, ServerName, ServerSource } from './server.js';

/** A server that is not a process of ours: it can be used, not killed. */
export function createGivenServer(options: {
  readonly name: ServerName;
  readonly source: ServerSource;
  readonly url: string;
}): LocalServer {
  const refuse = (): never => {
    throw new Error(
      `${options.name} comes from ${options.source}: only servers started from binaries can be controlled`,
    );
  };
  return {
    ...options,
    pid: undefined,
    kill: async () => refuse(),
    restart: async () => refuse(),
    pause: refuse,
    resume: refuse,
  };
}
