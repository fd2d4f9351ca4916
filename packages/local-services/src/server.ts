/** The servers that Sluice stands on. */
export type ServerName = 'postgres' | 'redis' | 'rabbitmq';

/** In the order they are started: RabbitMQ takes longest, so it goes first. */
export const SERVER_NAMES = ['rabbitmq', 'postgres', 'redis'] as const satisfies readonly ServerName[];

/** Where a server comes from: a URL that was given, a program on this machine, or a container. */
export type ServerSource = 'environment' | 'binaries' | 'docker';

/** One line of progress, for people. */
export interface ReportLine {
  readonly server: ServerName;
  readonly message: string;
}

export type Report = (line: ReportLine) => void;

/** A server that answers. */
export interface LocalServer {
  readonly name: ServerName;
  readonly source: ServerSource;
  /** For clients, with credentials. */
  readonly url: string;
  /** The server's own process; undefined unless it was started from binaries, and while it is killed. */
  readonly pid: number | undefined;
  /**
   * Ends the server with SIGKILL, as a crash would, and resolves when no process of it is left. Its data stays.
   * This and the methods below throw for servers that were not started from binaries.
   */
  kill(): Promise<void>;
  /** Where it keeps its data; undefined unless it was started from binaries. Only to be changed while it does not run. */
  readonly dataDirectory: string | undefined;
  /** Starts a killed server on the same port and the same data; resolves when it answers. */
  restart(): Promise<void>;
  /** Freezes the server and its child processes (SIGSTOP): connections stay open and nothing answers. */
  pause(): void;
  /** Lets a paused server go on (SIGCONT). */
  resume(): void;
  /**
   * Runs the server's own command line tool with these arguments and resolves with what it printed: RabbitMQ's
   * `rabbitmqctl`; the others have clients for that and throw. Rejects when the tool fails or takes over 30 s.
   */
  administer(args: readonly string[]): Promise<string>;
}

/** All three servers, and what clients need to find them. */
export interface LocalServices {
  readonly servers: Readonly<Record<ServerName, LocalServer>>;
  /** `SLUICE_POSTGRES_URL`, `SLUICE_REDIS_URL`, `SLUICE_RABBITMQ_URL` and `SLUICE_RABBITMQ_MANAGEMENT_URL`. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ends exactly what was started, waits until it is gone, and is safe twice. */
  stop(): Promise<void>;
}
