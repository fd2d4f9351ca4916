// Gateways, collectors and a fence, made of the real packages/broker, on the simulated RabbitMQ. Run by the program of
// the simulation. Facts are reserved and recorded at a server that never fails; what must hold is what the broker's
// package promises: a confirmed fact is recorded, and a fence leaves nothing behind that was reserved before it.
/* global Buffer */
import { randomUUID } from 'node:crypto';
import {
  ack,
  createBatchConsumer,
  createBrokerConnection,
  createFence,
  createFenceMember,
  createPublisher,
  declareTopology,
} from '@sluice/broker';
import { MESSAGE_TYPES, markerMessageSchema } from '@sluice/contracts';
import { createLogger, delay } from '@sluice/runtime';
import { attach, createKernel, detach } from '../dist/kernel/index.js';
import { createSimRabbit } from '../dist/rabbitmq/index.js';

export const defects = ['acks early', 'fence passes at once', 'publishes after a lost connection', 'drops markers'];

const URL_OF_BROKER = 'amqp://guest@simulated/?heartbeat=15';
const LOAD_MS = 9_000;
const HEALING_MS = 300_000;
const logger = createLogger({ app: 'simulated-broker', level: 'silent' });

function createWorld({ seed, crashAt, defect, onEvent }) {
  const kernel = createKernel({
    seed,
    startMs: 1_700_000_000_000,
    ...(crashAt && { crashAt }),
    ...(onEvent && {
      onEvent: ({ timeUs, owner, label }) => onEvent(`${(timeUs / 1000).toFixed(3)} ${owner} ${label}`),
    }),
  });
  return {
    ...{ kernel, defect, rabbit: createSimRabbit(kernel), random: kernel.random.fork('suite') },
    members: new Map(),
    reserved: new Set(),
    confirmed: new Set(),
    recorded: new Set(),
    /** Reserved before a fence that has passed, and not recorded when it did. */
    sealed: new Set(),
    counts: { fences: 0, crashes: {}, faults: {} },
    healed: false,
  };
}

/** Asks the server that keeps members, reservations and records. */
function ask({ kernel }, label, perform) {
  return kernel.call(kernel.current, 'store', label, perform);
}

function registryIn(world) {
  return {
    register: (member) =>
      ask(
        world,
        'register',
        () => void world.members.set(member.memberId, { ...member, seenAtMs: world.kernel.nowMs }),
      ),
    members: () => ask(world, 'members', () => [...world.members.values()]),
    forget: (memberId) => ask(world, 'forget', () => void world.members.delete(memberId)),
  };
}

async function connectIn(world, name) {
  const connect = world.rabbit.connect(world.kernel.current);
  const connection = createBrokerConnection({ url: URL_OF_BROKER, name, logger, connect, startTimeoutMs: 600_000 });
  await connection.start();
  await keepTrying(() => declareTopology(connection, { pools: {} }));
  return connection;
}

async function keepTrying(work) {
  for (;;) {
    try {
      return await work();
    } catch {
      await delay(500);
    }
  }
}

async function publisherOn(connection) {
  const publisher = createPublisher({ connection, logger, deadlineMs: 5_000 });
  await keepTrying(() => publisher.start());
  return publisher;
}

function fact(messageId) {
  const type = MESSAGE_TYPES.accepted;
  return { exchange: 'results', routingKey: 'fact', body: Buffer.from('{}'), type, messageId };
}

/** Reserves facts and publishes each a moment later, as an admission does. */
async function gateway(world) {
  const { random } = world;
  const connection = await connectIn(world, 'publish');
  const publisher = await publisherOn(connection);
  const inFlight = new Set();
  const member = createFenceMember({
    ...{ connection, publisher, memberId: randomUUID(), role: 'gateway', registry: registryIn(world), logger },
    async onDrain() {
      await Promise.allSettled(inFlight);
      await publisher.barrier();
    },
  });
  await keepTrying(() => member.start());
  await member.whenReady();

  async function admit() {
    const id = randomUUID();
    const { generation } = connection;
    await ask(world, 'reserve', () => void world.reserved.add(id));
    if (world.defect === 'publishes after a lost connection') await delay(random.between(0, 3_000));
    await publisher.publish(fact(id), world.defect === 'publishes after a lost connection' ? {} : { generation });
    await ask(world, 'note', () => void world.confirmed.add(id));
  }

  while (!world.healed) {
    await delay(random.between(2, 160));
    if (!member.ready) continue;
    const admission = admit().catch(() => undefined);
    const counted = world.defect !== 'publishes after a lost connection';
    if (counted) inFlight.add(admission);
    void admission.finally(() => inFlight.delete(admission));
  }
}

async function collector(world) {
  const [connection, publishing] = await Promise.all([connectIn(world, 'consume'), connectIn(world, 'answer')]);
  const publisher = await publisherOn(publishing);
  const member = createFenceMember({
    ...{ connection, publisher, memberId: randomUUID(), role: 'collector', registry: registryIn(world), logger },
    barrier: () => consumer.barrier(),
    generation: () => consumer.generation,
    attached: () => consumer.attached,
  });
  const consumer = createBatchConsumer({
    ...{ connection, publisher, queue: 'results', prefetch: 8, maxBatch: 4, lingerMs: 5, logger },
    async handler(deliveries) {
      const markers = deliveries.filter(({ type }) => type === MESSAGE_TYPES.marker);
      const ids = deliveries.filter(({ type }) => type !== MESSAGE_TYPES.marker).map(({ messageId }) => messageId);
      const done = record(world, ids);
      if (world.defect !== 'acks early') await done;
      if (world.defect !== 'drops markers')
        for (const { body } of markers) await member.received(markerMessageSchema.parse(JSON.parse(body.toString())));
      return deliveries.map(() => ack);
    },
  });
  await keepTrying(() => member.start());
  await member.whenReady();
  await keepTrying(() => consumer.start());
}

async function record(world, ids) {
  await delay(world.random.between(0, 40));
  await ask(world, 'record', () => {
    for (const id of ids) {
      if (world.sealed.has(id)) world.kernel.fail(new Violation('fence', `${id} was recorded after a fence.`));
      world.recorded.add(id);
    }
  });
}

/** Passes one fence after another. */
async function loader(world) {
  const connection = await connectIn(world, 'fence');
  const publisher = await publisherOn(connection);
  const fence = createFence({ connection, publisher, registry: registryIn(world), timeoutMs: 10_000, logger });
  await keepTrying(() => fence.start());
  for (;;) {
    await delay(world.random.between(0, 1_500));
    const before = [...world.reserved];
    try {
      if (world.defect !== 'fence passes at once') await fence.pass();
    } catch {
      continue;
    }
    world.counts.fences += 1;
    for (const id of before) if (!world.recorded.has(id)) world.sealed.add(id);
  }
}

class Violation extends Error {
  constructor(invariant, detail) {
    super(detail);
    this.invariant = invariant;
  }
}

/** Keeps a program running: starts it anew a while after each death. */
function keepRunning(world, name, program) {
  const { kernel, random, counts } = world;
  const start = () => {
    const process = kernel.process(name);
    world.processes.set(name, process);
    process.onKilled(() => {
      const kind = name.split(' ')[0];
      counts.crashes[kind] = (counts.crashes[kind] ?? 0) + 1;
      kernel.schedule(random.between(20, 1_500), undefined, `start ${name}`, start);
    });
    kernel.enter(process, `begin ${name}`, () => void program(world));
  };
  start();
}

const FAULTS = {
  drop: ({ rabbit }) => rabbit.dropConnections(),
  'drop some': ({ rabbit }) => rabbit.dropConnections(undefined, 0.4),
  restart: ({ rabbit, random }) => rabbit.restart(random.between(0, 3_000)),
  shutdown: ({ rabbit, random }) => rabbit.restart(random.between(0, 3_000), 'shutdown'),
  alarm: ({ kernel, rabbit, random }) => {
    rabbit.block();
    kernel.schedule(random.between(10, 3_000), undefined, 'alarm ends', () => rabbit.unblock());
  },
  pause: ({ processes, random }) => random.pick([...processes.values()]).pause(random.between(10, 60_000)),
  'black hole': ({ rabbit, processes, random }) =>
    rabbit.blackHole(random.pick([...processes.values()]), random.between(10, 40_000)),
  kill: ({ processes, random }) => random.pick([...processes.values()]).kill(),
};

function planFaults(world) {
  const { kernel, random, counts } = world;
  for (let left = random.int(7); left > 0; left -= 1) {
    const name = random.pick(Object.keys(FAULTS));
    kernel.schedule(random.between(100, LOAD_MS), undefined, `fault: ${name}`, () => {
      counts.faults[name] = (counts.faults[name] ?? 0) + 1;
      FAULTS[name](world);
    });
  }
  for (let left = random.int(4); left > 0; left -= 1) kernel.crashPoints.at(1 + random.int(4_000));
  kernel.schedule(LOAD_MS, undefined, 'healed', () => {
    world.healed = true;
    kernel.crashPoints.close();
    world.rabbit.unblock();
  });
}

/** Everything is at rest, and every living gateway and collector has come back. */
function isOver({ healed, rabbit, confirmed, recorded }) {
  return healed && rabbit.up && rabbit.depth('results') === 0 && [...confirmed].every((id) => recorded.has(id));
}

async function play(world) {
  const { kernel, counts } = world;
  attach(kernel);
  try {
    const end = await kernel.run({ until: () => kernel.trace.events % 50 === 0 && isOver(world), maxMs: HEALING_MS });
    if (end !== 'until') throw new Violation('recorded', 'A confirmed fact was not recorded.');
    const fences = counts.fences;
    if ((await kernel.run({ until: () => counts.fences > fences + 1, maxMs: HEALING_MS })) !== 'until')
      throw new Violation('passes', 'No fence passed when all was well again.');
    await kernel.run({ maxMs: 5_000 });
    if (world.rabbit.depth('dead') > 0) throw new Violation('dead', 'A fact was given up.');
    return undefined;
  } catch (error) {
    return { invariant: error.invariant ?? 'error', detail: error.stack ?? String(error) };
  } finally {
    detach();
  }
}

export async function runSeed(request) {
  const world = { ...createWorld(request), processes: new Map() };
  const { kernel, counts } = world;
  for (const name of ['gateway 1', 'gateway 2']) keepRunning(world, name, gateway);
  for (const name of ['collector 1', 'collector 2']) keepRunning(world, name, collector);
  keepRunning(world, 'loader', loader);
  planFaults(world);
  const failure = await play(world);
  return {
    seed: request.seed,
    ...(failure && { failure }),
    hash: kernel.trace.hash,
    events: kernel.trace.events,
    crashPoints: kernel.crashPoints.passed,
    virtualMs: kernel.elapsedMs,
    jobs: world.recorded.size,
    crashes: counts.crashes,
    faults: counts.faults,
    checks: { fences: counts.fences },
    lastEvents: kernel.trace
      .last()
      .map(({ timeUs, owner, label }) => `${(timeUs / 1000).toFixed(3)} ${owner} ${label}`),
  };
}
