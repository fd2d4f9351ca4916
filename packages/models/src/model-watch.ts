import type { ModelsFile } from '@sluice/contracts';
import type { Logger, Service } from '@sluice/runtime';
import type { ModelRepository } from './repository.js';

export interface ModelWatchOptions {
  /** `models.yaml` as it was read at first. */
  readonly first: ModelsFile;
  /** What is wrong with the files when the watch is started; it has been logged. */
  readonly firstProblems: () => readonly string[];
  /** Where it is read again. */
  readonly files: {
    models(): Promise<ModelsFile>;
    /** Another text when the file has changed. */
    modelsLook(): Promise<string>;
  };
  readonly repository: Pick<ModelRepository, 'look'>;
  /** Whose folders in the repository matter. */
  readonly pool?: string;
  /** Time between two looks, in milliseconds; 0: only when `check` is called. */
  readonly everyMs: number;
  /** Takes over what the files say now; resolves with what is wrong with them, one sentence each. */
  readonly apply: (file: ModelsFile) => Promise<readonly string[]>;
  /** Called when the files were taken over, with what is wrong with them. */
  readonly onApplied: (problems: readonly string[]) => void;
  readonly logger: Logger;
}

/** Notices changes of `models.yaml` and of the model repository. */
export interface ModelWatch extends Service {
  /** What is wrong with the files since they were last read. */
  readonly problems: readonly string[];
  /** Whether files are being taken over. */
  readonly busy: boolean;
  /**
   * Takes over what the files say now, changed or not; resolves when that is done or refused. Never rejects. A call while
   * another is under way is for what changed meanwhile, and one before the start is for then.
   */
  check(): Promise<void>;
}

/**
 * Looks at sizes and times of the files, and reads them when these have changed. What was refused is tried again when
 * something changes, and not before. `stop` waits for nothing: what is under way ends with what it works on.
 */
export function createModelWatch(options: ModelWatchOptions): ModelWatch {
  const { files, repository, pool, everyMs, apply, onApplied, logger } = options;
  let file = options.first;
  let seen: string | undefined;
  let problems = options.firstProblems();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let checking: Promise<void> | undefined;
  let again = false;
  let started = false;

  async function lookAtFolders(): Promise<string> {
    const entries = Object.entries(file.models).filter(([, entry]) => pool === undefined || entry.pool === pool);
    return repository.look(entries.map(([name, { repository: folder }]) => folder ?? name));
  }

  async function look(): Promise<string> {
    return `${await files.modelsLook()}\n${await lookAtFolders()}`;
  }

  /** Why `models.yaml` stays as it was read before. */
  async function readAgain(): Promise<readonly string[] | undefined> {
    try {
      file = await files.models();
      return undefined;
    } catch (error) {
      return [reasonOf(error)];
    }
  }

  async function takeOver(): Promise<void> {
    // n.b. each is looked at before it is read: what changes meanwhile is noticed the next time.
    const modelsLook = await files.modelsLook();
    const unreadable = await readAgain();
    seen = `${modelsLook}\n${await lookAtFolders()}`;
    const found = unreadable ?? (await apply(file).catch((error: unknown) => [reasonOf(error)]));
    if (stopped) return;
    for (const problem of found) {
      if (!problems.includes(problem)) logger.error({ problem }, 'a model cannot be served as its files say');
    }
    problems = found;
    onApplied(found);
  }

  async function takeOverAll(): Promise<void> {
    do {
      again = false;
      await takeOver();
    } while (again && !stopped);
  }

  async function check(): Promise<void> {
    again = true;
    if (!started) return;
    checking ??= takeOverAll().finally(() => (checking = undefined));
    await checking;
  }

  async function poll(): Promise<void> {
    try {
      const hasChanged = !checking && (await look()) !== seen;
      // n.b. somebody else may have asked for a check while this looked.
      if (hasChanged && !checking) await check();
    } catch (error) {
      logger.error({ err: error }, 'the files of the models cannot be looked at');
    }
    arm();
  }

  function arm(): void {
    if (stopped || everyMs === 0) return;
    timer = setTimeout(() => void poll(), everyMs);
  }

  return {
    get problems() {
      return problems;
    },
    get busy() {
      return checking !== undefined;
    },
    check,
    async start() {
      started = true;
      problems = options.firstProblems();
      if (again) void check();
      arm();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** With those of its causes, which name the file and the line, or are ONNX Runtime's own. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} ${reasonOf(error.cause)}`;
}
