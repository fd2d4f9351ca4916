import type { NetworkOptions } from './network.js';
import type { CallFault, CallView, Kernel, Owner } from './types.js';

/** How a request ends for its caller. */
type Deliver = () => void;

/** Of the events of one kind of request, put together once: the trace looks labels up. */
interface Labels {
  readonly there: string;
  readonly back: string;
}

/** Requests to servers of the world: one event there, one with the answer. */
export function createCalls(options: NetworkOptions): Pick<Kernel, 'call' | 'callSteps' | 'onCall'> {
  const { scheduler, wires, mute, checkSender, nowMs } = options;
  const labels = new Map<string, Map<string, Labels>>();
  let decide: (call: CallView) => CallFault | undefined = () => undefined;

  function labelsOf(server: string, label: string): Labels {
    let ofServer = labels.get(server);
    if (!ofServer) labels.set(server, (ofServer = new Map<string, Labels>()));
    let both = ofServer.get(label);
    if (!both) ofServer.set(label, (both = { there: `${server}: ${label}`, back: `answer of ${server}: ${label}` }));
    return both;
  }

  function send<T>(from: Owner, server: string, label: string, perform: () => T): Promise<T> {
    if (mute(label)) return new Promise(() => undefined);
    const { there, back } = labelsOf(server, label);
    return new Promise((resolve, reject) => {
      const answer = (deliver: Deliver, extraMs = 0): void => {
        const timeUs = wires.answer(from, server, scheduler.nowUs, Math.round(extraMs * 1000));
        scheduler.at(timeUs, from, back, deliver);
      };
      const tell = ({ error, delayMs }: CallFault): void => {
        if (error !== undefined) answer(() => reject(error), delayMs);
      };
      const arrive = (): void => {
        const fault = decide({ from, server, label });
        const deliver = fault?.effect === false ? undefined : outcome(perform, resolve, reject);
        if (fault === undefined) answer(deliver ?? (() => undefined));
        else tell(fault);
      };
      scheduler.at(wires.request(from, server, scheduler.nowUs), undefined, there, arrive);
    });
  }

  function call<T>(from: Owner, server: string, label: string, perform: () => T): Promise<T> {
    checkSender(from, label);
    return send(from, server, label, perform);
  }

  return {
    onCall: (decider) => void (decide = decider),
    call,
    async callSteps(from, server, label, steps) {
      for (;;) {
        const step = await call(from, server, label, () => steps.next(nowMs()));
        if (step.done) return step.value;
      }
    },
  };
}

/** What `perform` comes to, as it will be told to the caller. */
function outcome<T>(perform: () => T, resolve: (value: T) => void, reject: (error: unknown) => void): Deliver {
  try {
    const value = perform();
    return () => resolve(value);
  } catch (error) {
    return () => reject(error);
  }
}
