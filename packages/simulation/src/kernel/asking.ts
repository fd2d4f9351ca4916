import { ConnectionLost } from './connection-lost.js';
import type { NetworkOptions } from './network.js';
import type { Kernel, Owner, SimProcess } from './types.js';

/** Requests from process to process, each over a connection of its own. */
export function createAsking({ scheduler, wires, mute, checkSender }: NetworkOptions): Pick<Kernel, 'ask'> {
  function ask<T>(from: Owner, to: SimProcess, label: string, perform: () => T | Promise<T>): Promise<T> {
    checkSender(from, label);
    if (mute(label)) return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      const refuse: (reason: unknown) => void = reject;
      const back = (what: string, deliver: () => void): void => {
        scheduler.at(scheduler.nowUs + wires.delayUs(), from, `${what} of ${to.name}: ${label}`, deliver);
      };
      const lose = (): void => back('no answer', () => reject(new ConnectionLost(`${to.name} has gone.`)));
      const forget = to.onKilled(lose);
      const answer = (deliver: () => void): void => {
        if (mute(`answer: ${label}`)) return;
        forget();
        back('answer', deliver);
      };
      const arrive = async (): Promise<void> => {
        try {
          const value = await perform();
          answer(() => resolve(value));
        } catch (error) {
          answer(() => refuse(error));
        }
      };
      if (!to.alive) lose();
      else scheduler.at(scheduler.nowUs + wires.delayUs(), to, `request: ${label}`, () => void arrive());
    });
  }
  return { ask };
}
