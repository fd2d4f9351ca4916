import { createServer } from 'node:net';

const DEFAULT_PORT = 8080;

/**
 * The port asked for (0 … 65535, 0: any free one); when none was asked for (-1), 8080, or any free one if that is taken.
 *
 * @throws Error when the port asked for is in use or may not be used.
 */
export async function choosePort(asked: number): Promise<number> {
  if (asked === 0) return 0;
  const problem = await problemOf(asked === -1 ? DEFAULT_PORT : asked);
  if (asked === -1) return problem === undefined ? DEFAULT_PORT : 0;
  if (problem === undefined) return asked;
  throw new Error(problem === 'EADDRINUSE' ? `port ${asked} is in use` : `port ${asked} cannot be used (${problem})`);
}

/** Finds out by listening for a moment. */
function problemOf(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(undefined)));
  });
}
