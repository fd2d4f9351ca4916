import type { BrokerConnection } from '@sluice/broker';
import type { Channel, ChannelModel, ConfirmChannel, connect } from 'amqplib';
import type { AppKind } from '../apps/app.js';
import type { Sabotage } from './sabotage.js';

/** A value that is as `original` but for these properties; its methods run on the original. */
function altered<T extends object>(original: T, changes: Partial<Record<keyof T, unknown>>): T {
  return new Proxy(original, {
    get(target, name) {
      if (name in changes) return changes[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** No fence waits for anything: it finds no members, and nobody who consumes. */
function fenceless(kinds: readonly AppKind[]): Sabotage {
  const nothing = { queue: '', messageCount: 0, consumerCount: 0 };
  const blind = (channel: Channel): Channel => altered(channel, { checkQueue: () => Promise.resolve(nothing) });
  const blindly = (connection: BrokerConnection): BrokerConnection =>
    altered(connection, {
      use: (work: (channel: Channel) => Promise<unknown>) => connection.use((channel) => work(blind(channel))),
    });
  return {
    servers: (servers, kind) =>
      kinds.includes(kind)
        ? {
            ...servers,
            store: { ...servers.store, fenceMembers: () => Promise.resolve([]) },
            connect: (purpose) => blindly(servers.connect(purpose)),
          }
        : servers,
  };
}

/** Confirms come at once, whatever the broker does with the message. */
function confirmsAtOnce(kind: AppKind): Sabotage {
  const publish = (channel: ConfirmChannel): ConfirmChannel['publish'] => {
    let deliveryTag = 0;
    return (...args) => {
      const goesOn = channel.publish(...args);
      const ack = { deliveryTag: (deliveryTag += 1), multiple: false };
      queueMicrotask(() => channel.emit('ack', ack));
      return goesOn;
    };
  };
  const hasty = (model: ChannelModel): ChannelModel =>
    altered(model, {
      createConfirmChannel: async () => {
        const channel = await model.createConfirmChannel();
        return altered(channel, { publish: publish(channel) });
      },
    });
  return {
    connect: (real, whose) =>
      whose === kind ? (((...args: Parameters<typeof connect>) => real(...args).then(hasty)) as typeof connect) : real,
  };
}

export const BROKER_DEFECTS: Readonly<Record<string, Sabotage>> = {
  'fence-passes-at-once': fenceless(['gateway', 'collector']),
  'load-skips-the-fence': fenceless(['gateway']),
  'sweep-skips-the-fence': fenceless(['collector']),
  'gateway-does-not-wait-for-confirms': confirmsAtOnce('gateway'),
};
