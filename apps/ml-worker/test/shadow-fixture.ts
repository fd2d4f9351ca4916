import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import type { InferenceHost } from '../src/inference/inference-host.js';
import type { KeyedModel, RunResult } from '../src/inference/inference-protocol.js';
import type { ModelRoutes, ServedTextModel, Shadow } from '../src/models/served-models.js';
import { createShadowTally } from '../src/shadows/shadow-tally.js';
import { createShadows, type ShadowedJob } from '../src/shadows/shadows.js';
import { characterModel } from './fixtures.js';

export const versionOf = (version: string): ServedTextModel => {
  const served = characterModel();
  return { ...served, key: `characters/${version}`, model: { ...served.model, version } };
};
export const shadowOf = (version: string): Shadow => ({
  ...{ served: versionOf(version), percent: 100, stickyBy: 'job', tolerance: 0.5 },
});
/** A public model for each shadow version. */
export const routesOf = (...shadows: readonly Shadow[]) =>
  new Map<string, ModelRoutes>(shadows.map((shadow) => [nameOf(shadow), { main: versionOf('1'), shadow }]));
export const nameOf = ({ served }: Shadow) => `with shadow ${served.key}`;
export const pairOf = (version: string) => {
  const shadow = shadowOf(version);
  return { model: nameOf(shadow), served: versionOf('1'), shadow };
};

/** Shadows on hosts that add up the tokens of a text, and are told here how to fare. */
export function createShadowFixture() {
  const hosts: FakeHost[] = [];
  const quiet = { is: true };
  const broken = { is: false };
  const metrics = createMetrics();
  const logger = createLogger({ app: 'test', level: 'silent' });
  const tally = createShadowTally({ metrics, logger, now: () => performance.now() });
  const shadows = createShadows({
    ...{ tally, logger },
    isQuiet: () => quiet.is,
    createHost([keyed]) {
      const host = fakeHost(keyed as KeyedModel, broken);
      hosts.push(host);
      return host as unknown as InferenceHost;
    },
  });
  const countsOf = (shadow = '2') => {
    const { agreed, disagreed, failed, dropped } = tally.of(pairOf(shadow));
    return { agreed, disagreed, failed, dropped };
  };
  const waiting = (shadow = '2') => shadows.versions.get(`characters/${shadow}`)?.waiting;
  const states = () => [...shadows.versions.values()].map(({ state }) => state);
  return { shadows, hosts, quiet, broken, countsOf, waiting, states, tally, metrics };
}

export type FakeHost = ReturnType<typeof fakeHost>;

function fakeHost({ key }: KeyedModel, broken: { readonly is: boolean }) {
  let onIdle = (): void => undefined;
  const host = {
    key,
    idle: 0,
    warm: 0,
    ran: [] as number[][],
    stopped: 0,
    outcome: async (sum: number): Promise<number> => sum,
    onIdle: (listener: () => void) => void (onIdle = listener),
    async start() {
      if (broken.is) throw new Error('it is no model');
      host.idle = host.warm = 1;
    },
    stop: async () => void (host.stopped += 1),
    async run(_key: string, sequences: readonly Int32Array[]): Promise<RunResult> {
      host.idle = 0;
      host.ran.push(...sequences.map((sequence) => [...sequence]));
      try {
        const sums = sequences.map((sequence) => host.outcome(sequence.reduce((a, b) => a + b, 0)));
        return { rows: Float32Array.from(await Promise.all(sums)), computeMs: 1, cpuMs: 1 };
      } finally {
        host.idle = 1;
        onIdle();
      }
    },
  };
  return host;
}

/** A job that was answered with the sums of its texts. */
export function jobOf(texts: readonly (readonly number[])[], shadow = shadowOf('2')): ShadowedJob {
  const sequences = texts.map((tokens) => Int32Array.from(tokens));
  const rows = Float32Array.from(texts, (tokens) => tokens.reduce((a, b) => a + b, 0));
  return { jobId: 'a job', model: nameOf(shadow), served: versionOf('1'), shadow, sequences, rows };
}
