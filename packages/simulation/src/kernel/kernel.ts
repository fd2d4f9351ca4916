import { createCrashPoints } from './crash-points.js';
import { createNetwork } from './network.js';
import { createRandom } from './random.js';
import { createScheduler } from './scheduler.js';
import { createProcess, type KernelProcess } from './sim-process.js';
import { createTrace } from './trace.js';
import type { Kernel, KernelOptions, Latency, Owner, SimProcess } from './types.js';
import { createWires } from './wires.js';

const REMEMBERED_EVENTS = 60;
const LATENCY: Latency = { typicalMs: 0.3, longMs: 20, longChance: 0.03 };

/** A new world at `startMs` in which nothing has happened. */
export function createKernel(options: KernelOptions): Kernel {
  const random = createRandom(options.seed);
  const trace = createTrace(options.remembered ?? REMEMBERED_EVENTS, options.onEvent);
  const crashPoints = createCrashPoints(options.crashAt ?? []);
  const scheduler = createScheduler({ trace, crashes });
  const wires = createWires(random.fork('network'), options.latency ?? LATENCY);
  const network = createNetwork({ scheduler, wires, nowMs, mute, checkSender });
  const starts = new Map<string, number>();
  let tellCrash: (process: SimProcess, label: string) => void = () => undefined;

  function nowMs(): number {
    return options.startMs + Math.floor(scheduler.nowUs / 1000);
  }

  function crashes(owner: KernelProcess, label: string): boolean {
    if (!owner.killable || !crashPoints.pass()) return false;
    trace.record(scheduler.nowUs, owner, `killed before: ${label}`);
    owner.kill();
    scheduler.inWorld(() => tellCrash(owner, label));
    return true;
  }

  function mute(label: string): boolean {
    const sender = scheduler.current as KernelProcess | undefined;
    return sender !== undefined && (!sender.alive || crashes(sender, label));
  }

  function checkSender(from: Owner, label: string): void {
    const current = scheduler.current;
    if (current === from || !scheduler.inEvent) return; // whatever runs outside events fails when it is scheduled
    const [named, running] = [from?.name ?? 'the world', current?.name ?? 'the world'];
    scheduler.fail(new Error(`"${label}" was sent in the name of ${named} while ${running} was running.`));
  }

  return {
    random,
    trace,
    crashPoints,
    ...network,
    get nowMs() {
      return nowMs();
    },
    get elapsedMs() {
      return scheduler.nowUs / 1000;
    },
    get current() {
      return scheduler.current;
    },
    get inEvent() {
      return scheduler.inEvent;
    },
    get isRunning() {
      return scheduler.isRunning;
    },
    process(name, { killable = true } = {}) {
      const epoch = (starts.get(name) ?? 0) + 1;
      starts.set(name, epoch);
      return createProcess({
        name,
        epoch,
        killable,
        nowUs: () => scheduler.nowUs,
        inWorld: (action) => scheduler.inWorld(action),
      });
    },
    onCrash: (listener) => void (tellCrash = listener),
    schedule(delayMs, owner, label, action, isTimer = false) {
      const timeUs = scheduler.nowUs + Math.max(0, Math.round(delayMs * 1000));
      return scheduler.at(timeUs, owner, label, action, isTimer);
    },
    enter: (owner, label, action) => void scheduler.at(scheduler.nowUs, owner, label, action),
    fail: (error) => scheduler.fail(error),
    run: (limits = {}) => scheduler.run(limits),
  };
}
