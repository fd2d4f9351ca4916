import { JOB_CLASSES } from '@sluice/contracts';
import { createAutoscaler, SYNC_SECONDS, type Observation, type Policy } from './autoscaler.js';
import { createEventHeap } from './event-heap.js';
import { createFleet, type Pod } from './fleet.js';
import { createJobQueue } from './job-queue.js';
import { createObserver } from './observer.js';
import { createRandom } from './random.js';
import type { Service } from './service.js';
import { createTally, type Outcome } from './tally.js';
import { createTurns, type Turns } from './turns.js';
import { createArrivals, type Arrival, type Workload } from './workload.js';

/** From the making of a pod until it takes jobs, in seconds: drawn evenly. */
export interface StartTime {
  readonly least: number;
  readonly most: number;
}

export interface SimulationOptions {
  readonly workload: Workload;
  readonly service: Pick<Service, 'processes' | 'batchTokens' | 'seconds'>;
  /** Undefined: the first replicas stay. */
  readonly policy: Policy | undefined;
  readonly seed: number;
  /** Ready from the beginning. */
  readonly replicas: number;
  readonly startTime: StartTime;
  /** How old what scalers see may be, in seconds: they see the last multiple of it. */
  readonly sampleSeconds: number;
  /** While nothing can be read, in seconds from the beginning. */
  readonly outage?: { readonly from: number; readonly until: number } | undefined;
}

type Event =
  | { readonly at: number; readonly kind: 'ready'; readonly pod: Pod }
  | {
      readonly at: number;
      readonly kind: 'done';
      readonly pod: Pod;
      readonly jobs: readonly number[];
      readonly tokens: readonly number[];
    };

/**
 * Runs a pool over virtual time: jobs come, wait in the queue of their class, and are run in batches by inference processes of pods, of
 * which there are as many as the policy says. The same options give the same outcome.
 *
 * What is left out: the way of a job before and after the queue; that a worker holds jobs which another one with nothing to do could
 * run; nodes (a pod always finds room) and their failures.
 */
export function simulate(options: SimulationOptions): Outcome {
  const { workload, service, policy, seed, startTime, sampleSeconds, outage } = options;
  const arrive = createArrivals(workload, seed);
  const startRandom = createRandom(seed ^ 0x5bd1e995);
  const autoscaler = policy && createAutoscaler(policy);
  const fleet = createFleet();
  const queues = JOB_CLASSES.map(() => createJobQueue());
  const events = createEventHeap<Event>();
  const observer = createObserver(service.processes);
  const tally = createTally(workload, service.processes);
  const turns = new WeakMap<Pod, Turns>();
  /** A pod for each of its inference processes that has nothing to do, and some that are no longer ready. */
  const idle: Pod[] = [];
  const atWork = { jobs: JOB_CLASSES.map(() => 0), tokens: JOB_CLASSES.map(() => 0), begun: 0 };

  function seenAt(now: number): Observation | undefined {
    return outage && now >= outage.from && now < outage.until ? undefined : observer.latest;
  }

  function sample(now: number): void {
    const jobsByClass = queues.map(({ size }, at) => size + (atWork.jobs[at] ?? 0));
    const tokensByClass = queues.map((queue, at) => queue.tokens + (atWork.tokens[at] ?? 0));
    observer.sample(now, { jobsByClass, tokensByClass, begunTokens: atWork.begun });
  }

  function scaleTo(replicas: number, now: number): void {
    if (replicas === fleet.replicas) return;
    tally.scaled(now, fleet, replicas);
    for (const pod of fleet.scaleTo(replicas, now)) {
      const seconds = startTime.least + (startTime.most - startTime.least) * startRandom.uniform();
      events.add({ at: now + seconds, kind: 'ready', pod });
    }
  }

  function becomeReady(pod: Pod, now: number): void {
    if (pod.state !== 'starting') return;
    tally.elapsed(now, fleet);
    fleet.becomeReady(pod, now);
    turns.set(pod, createTurns());
    for (let process = 0; process < service.processes; process++) idle.push(pod);
  }

  /** Gives a process as many jobs as fit into a batch. @returns false when none waits. */
  function begin(pod: Pod, now: number): boolean {
    const turn = turns.get(pod);
    const lead = turn?.next(queues);
    if (!turn || lead === undefined) return false;
    let jobs = 0;
    let texts = 0;
    let tokens = 0;
    const jobsOf = [0, 0, 0];
    const tokensOf = [0, 0, 0];
    for (let at: number | undefined = lead; at !== undefined; at = turn.next(queues)) {
      const queue = queues[at];
      if (!queue || (jobs > 0 && tokens + queue.firstTokens > service.batchTokens)) break;
      const job = queue.take();
      tally.began(now, at, now - job.at);
      jobs += 1;
      texts += job.texts;
      tokens += job.tokens;
      jobsOf[at] = (jobsOf[at] ?? 0) + 1;
      tokensOf[at] = (tokensOf[at] ?? 0) + job.tokens;
    }
    const seconds = service.seconds(jobs, texts, tokens);
    turn.served(lead, now, seconds);
    pod.busy += 1;
    pod.busySeconds += seconds;
    tally.worked(seconds);
    atWork.begun += tokens;
    addTo(atWork.jobs, jobsOf, 1);
    addTo(atWork.tokens, tokensOf, 1);
    events.add({ at: now + seconds, kind: 'done', pod, jobs: jobsOf, tokens: tokensOf });
    return true;
  }

  function dispatch(now: number): void {
    for (let pod = idle.pop(); pod; pod = idle.pop()) {
      if (pod.state !== 'ready') continue;
      if (begin(pod, now)) continue;
      idle.push(pod);
      return;
    }
  }

  function happen(event: Event): void {
    const { pod, at } = event;
    if (event.kind === 'ready') becomeReady(pod, at);
    else {
      addTo(atWork.jobs, event.jobs, -1);
      addTo(atWork.tokens, event.tokens, -1);
      pod.busy -= 1;
      if (pod.state === 'ready') idle.push(pod);
      else if (pod.busy === 0) {
        tally.elapsed(at, fleet);
        fleet.leave(pod);
      }
    }
    dispatch(at);
  }

  const pollSeconds = policy?.object.pollingInterval ?? Infinity;
  const ticks = [
    { next: 0, every: sampleSeconds, run: sample },
    { next: 0, every: SYNC_SECONDS, run: (now: number) => observer.measure(now, fleet.pods) },
    { next: 0, every: BIN_LOOK, run: (now: number) => tally.look(now, fleet) },
    {
      next: pollSeconds === Infinity ? Infinity : 0,
      every: pollSeconds,
      run: (now: number) => autoscaler && scaleTo(autoscaler.poll(now, fleet.replicas, seenAt(now)), now),
    },
    {
      next: autoscaler ? SYNC_PHASE : Infinity,
      every: SYNC_SECONDS,
      run: (now: number) =>
        autoscaler && scaleTo(autoscaler.sync(now, fleet.replicas, seenAt(now), observer.usage), now),
    },
  ];

  function nextTick() {
    return ticks.reduce((first, tick) => (tick.next < first.next ? tick : first));
  }

  for (const pod of fleet.scaleTo(options.replicas, 0)) becomeReady(pod, 0);
  let arrival: Arrival | undefined = arrive();
  let tick = nextTick();
  for (;;) {
    const arrivalAt = arrival?.at ?? Infinity;
    const now = Math.min(arrivalAt, events.nextAt, tick.next);
    if (now >= workload.durationSeconds) break;
    if (tick.next === now) {
      tick.run(now);
      tick.next += tick.every;
      tick = nextTick();
    } else if (events.nextAt === now) {
      const event = events.take();
      if (event) happen(event);
    } else if (arrival) {
      queues[arrival.classIndex]?.add(arrival);
      tally.arrived(now, arrival.tokens);
      arrival = arrive();
      if (idle.length > 0) dispatch(now);
    }
  }
  for (const [classIndex, queue] of queues.entries()) {
    while (queue.size > 0) tally.left(classIndex, workload.durationSeconds - queue.take().at);
  }
  return tally.end(workload.durationSeconds, fleet);
}

function addTo(sums: number[], numbers: readonly number[], sign: 1 | -1): void {
  for (let at = 0; at < sums.length; at++) sums[at] = (sums[at] ?? 0) + sign * (numbers[at] ?? 0);
}

/** The controller manager's round has no relation to that of KEDA. */
const SYNC_PHASE = 7;
/** How often the number of pods is looked at for the pictures, in seconds. */
const BIN_LOOK = 5;
