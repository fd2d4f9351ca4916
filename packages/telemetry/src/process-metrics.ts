import { readdirSync } from 'node:fs';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { createEventLoopDelay } from './event-loop-delay.js';
import type { Metrics } from './metrics.js';
import { SUITE_VERSION } from './version.js';

/** Seconds. */
const GC_BOUNDS = [0.001, 0.01, 0.1, 1] as const;
const GC_KINDS: ReadonlyMap<unknown, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
]);

/** An entry of the kind `gc`. */
interface Collection {
  /** In milliseconds. */
  readonly duration: number;
  readonly detail?: { readonly kind?: number };
}

/** Watches this process from `start` to `stop`, which cost a timer of 10 ms and an observer of the garbage collector. */
export interface ProcessMetrics {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * What every program tells of its process: which program of which version it is, processor, memory, files, garbage collection and how late
 * the event loop is. Names are those that other Node.js programs use, so that dashboards for them work.
 */
export function createProcessMetrics(metrics: Metrics, app: string): ProcessMetrics {
  const build = metrics.gauge('sluice_build_info', 'Which program of which version this is; always 1.', [
    'app',
    'version',
  ]);
  const cpu = metrics.counter('process_cpu_seconds_total', 'Processor time, of user and system together.');
  const resident = metrics.gauge('process_resident_memory_bytes', 'Resident memory of this process.');
  const started = metrics.gauge('process_start_time_seconds', 'When this process began, in Unix seconds.');
  const files = metrics.gauge('process_open_fds', 'Open files and sockets; not a number where they cannot be counted.');
  const heap = metrics.gauge('nodejs_heap_size_used_bytes', 'Memory of JavaScript objects.');
  const external = metrics.gauge(
    'nodejs_external_memory_bytes',
    'Memory of buffers and of what else hangs on objects.',
  );
  const handles = metrics.gauge(
    'nodejs_active_resources',
    'Sockets, timers and requests that keep the event loop alive.',
  );
  const collections = metrics.histogram('nodejs_gc_duration_seconds', 'Pauses for garbage collection.', GC_BOUNDS, [
    'kind',
  ]);
  const loop = createEventLoopDelay(metrics);
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as readonly Collection[]) {
      collections.of({ kind: GC_KINDS.get(entry.detail?.kind) ?? 'other' }).observe(entry.duration / 1000);
    }
  });
  let cpuSeconds = 0;

  build.of({ app, version: SUITE_VERSION }).set(1);
  started.set(performance.timeOrigin / 1000);
  metrics.beforeRender(() => {
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / 1e6;
    cpu.add(seconds - cpuSeconds);
    cpuSeconds = seconds;
    const memory = process.memoryUsage();
    resident.set(memory.rss);
    heap.set(memory.heapUsed);
    external.set(memory.external);
    files.set(openFiles());
    handles.set(process.getActiveResourcesInfo().length);
  });

  return {
    async start() {
      loop.start();
      observer.observe({ type: 'gc' });
    },
    async stop() {
      loop.stop();
      observer.disconnect();
    },
  };
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return NaN;
  }
}
