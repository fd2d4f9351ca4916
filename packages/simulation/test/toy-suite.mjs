// A small suite for tests of the kernel's edges and of the program: clients ask an app that draws numbers, waits and
// counts at a server. Its defects are what the program must notice.
/* global setTimeout, setInterval, setImmediate, clearInterval, performance, AbortSignal */
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { attach, createKernel, detach } from '../dist/kernel/index.js';

export const defects = ['miscounts', 'escapes', 'rejects', 'throws', 'remembers'];

let runsSoFar = 0;

/** An app's answer: what it drew and read depends on the seed only. */
async function answer(kernel, app, defect) {
  const beganMs = performance.now();
  await wait(5 + 20 * Math.random());
  await new Promise((resolve) => setImmediate(resolve));
  const id = `${randomUUID()} ${randomBytes(4).toString('hex')} ${randomInt(1_000)}`;
  if (defect === 'escapes') await readFile(import.meta.filename);
  if (defect === 'rejects') void Promise.reject(new Error('nobody looks'));
  if (defect === 'throws') setTimeout(() => app.missing.method(), 1);
  if (defect === 'remembers') kernel.trace.note(String(runsSoFar));
  const count = await kernel.call(app, 'counter', 'count', () => (kernel.counted += defect === 'miscounts' ? 2 : 1));
  return `${id} ${count} ${new Date().toISOString()} ${(performance.now() - beganMs).toFixed(3)}`;
}

async function client(kernel, self, app, defect) {
  const deadline = AbortSignal.timeout(10_000);
  const ticks = setInterval(() => undefined, 7).unref();
  while (kernel.answers < 20 && !deadline.aborted) {
    const text = await kernel
      .ask(self, app(), 'work', () => answer(kernel, kernel.current, defect))
      .catch(() => 'lost');
    if (text !== 'lost') kernel.answers += 1;
    kernel.trace.note(text);
  }
  clearInterval(ticks);
}

export async function runSeed({ seed, crashAt, defect, onEvent }) {
  runsSoFar += 1;
  const toText = ({ timeUs, owner, label }) => `${(timeUs / 1000).toFixed(3)} ${owner} ${label}`;
  const kernel = createKernel({
    seed,
    startMs: 1_700_000_000_000,
    ...(crashAt && { crashAt }),
    ...(onEvent && { onEvent: (entry) => onEvent(toText(entry)) }),
  });
  Object.assign(kernel, { counted: 0, answers: 0 });
  const crashes = { app: 0 };
  let app = kernel.process('app');
  kernel.onCrash(() => {
    crashes.app += 1;
    kernel.schedule(50, undefined, 'start', () => (app = kernel.process('app')));
  });
  if (seed % 2 === 0) kernel.crashPoints.at(kernel.random.int(100));
  for (let index = 0; index < 3; index += 1) {
    const self = kernel.process(`client ${index}`, { killable: false });
    kernel.enter(self, 'begin', () => void client(kernel, self, () => app, defect));
  }
  const failure = await play(kernel);
  return {
    seed,
    ...(failure && { failure }),
    hash: kernel.trace.hash,
    events: kernel.trace.events,
    crashPoints: kernel.crashPoints.passed,
    virtualMs: kernel.elapsedMs,
    jobs: kernel.answers,
    crashes,
    faults: {},
    checks: { counted: 1 },
    lastEvents: kernel.trace.last().map(toText),
  };
}

async function play(kernel) {
  attach(kernel);
  try {
    await kernel.run({ maxMs: 60_000 });
  } catch (error) {
    return { invariant: 'error', detail: error.message };
  } finally {
    detach();
  }
  const spare = kernel.counted - kernel.answers;
  if (spare >= 0 && spare <= 4) return undefined;
  return { invariant: 'counted', detail: `${kernel.counted} were counted for ${kernel.answers} answers.` };
}
