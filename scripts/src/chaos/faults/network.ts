import { linkName, serversOf } from '../links.js';
import { CannotInject, type Cast, type FaultKind, NOTHING_TO_HEAL } from '../fault.js';
import { DIRECTIONS, type TcpProxy } from '../tcp-proxy.js';

const LONGEST_CUT_BYTES = 3_000;

const everyLink = ({ gateways, workers, collectors }: Cast): readonly string[] =>
  [...gateways, ...workers, ...collectors].flatMap((app) => serversOf(app).map((server) => linkName(app, server)));

/** All connections of one app to one server end with RST. */
export const resetLink: FaultKind = {
  name: 'reset connections',
  weight: 10,
  targets: everyLink,
  durationMs: [0, 0],
  async inject({ links }, { target }) {
    if (links.of(target).reset() === 0) throw new CannotInject('no connection is open');
    return NOTHING_TO_HEAL;
  },
};

/** Nothing gets through, nobody is told. Then either everything does, late, or all connections end with RST. */
export const blackHole: FaultKind = {
  name: 'black hole',
  weight: 8,
  targets: everyLink,
  durationMs: [500, 8_000],
  async inject({ links }, { target, random }) {
    const proxy = links.of(target);
    const thenReset = random.next() < 0.5;
    for (const direction of DIRECTIONS) proxy.hold(direction);
    return async () => {
      if (thenReset) proxy.reset();
      for (const direction of DIRECTIONS) proxy.release(direction);
    };
  },
};

/** As a black hole, in one direction only: what is said arrives, and the answers do not, or the other way round. */
export const halfOpen: FaultKind = {
  name: 'half-open connections',
  weight: 8,
  targets: everyLink,
  durationMs: [500, 8_000],
  async inject({ links }, { target, random }) {
    const proxy = links.of(target);
    const direction = random.pick(DIRECTIONS);
    const thenReset = random.next() < 0.5;
    proxy.hold(direction);
    return async () => {
      if (thenReset) proxy.reset();
      proxy.release(direction);
    };
  },
};

/** Open connections end, and new ones are refused for a while. */
export const refuse: FaultKind = {
  name: 'refuse connections',
  weight: 5,
  targets: everyLink,
  durationMs: [300, 5_000],
  async inject({ links }, { target }) {
    const proxy = links.of(target);
    await proxy.refuse();
    proxy.reset();
    return () => acceptAgain(proxy);
  },
};

/** Every read takes 100 to 500 ms longer. */
export const delay: FaultKind = {
  name: 'delay',
  weight: 5,
  targets: everyLink,
  durationMs: [500, 8_000],
  async inject({ links }, { target, random }) {
    const proxy = links.of(target);
    proxy.delay(random.between(100, 500));
    return async () => proxy.delay(0);
  },
};

/** After so many more bytes each connection ends, most likely in the midst of a frame; the rest end when it is over. */
export const cutFrame: FaultKind = {
  name: 'cut in the midst of a frame',
  weight: 8,
  targets: everyLink,
  durationMs: [500, 2_000],
  async inject({ links }, { target, random }) {
    const proxy = links.of(target);
    if (proxy.connections === 0) throw new CannotInject('no connection is open');
    proxy.cutAfter(random.pick(DIRECTIONS), random.between(1, LONGEST_CUT_BYTES));
    return async () => proxy.cutNow();
  },
};

/** n.b. while the port was not listened to, someone else's connection may have got it for a moment. */
async function acceptAgain(proxy: TcpProxy): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await proxy.accept();
    } catch (error) {
      if (attempt === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
