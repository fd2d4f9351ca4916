import type { NetworkOptions } from './network.js';
import type { Kernel, Scheduled } from './types.js';

/** Ordered one-way streams of messages. */
export function createStreams({ scheduler, wires, mute }: NetworkOptions): Pick<Kernel, 'stream'> {
  return {
    stream(to, label, latency) {
      const underWay: Scheduled[] = [];
      let lastUs = 0;
      return {
        get underWay() {
          return underWay.length;
        },
        send(action) {
          if (mute(label)) return;
          lastUs = Math.max(scheduler.nowUs + wires.delayUs(latency), lastUs);
          const arrive = (): void => {
            underWay.shift();
            action();
          };
          underWay.push(scheduler.at(lastUs, to, label, arrive));
        },
        cut(keep = 0) {
          for (const message of underWay.splice(keep)) message.cancel();
        },
      };
    },
  };
}
