import { accessRefused, NotSimulated, preconditionFailed, resourceLocked } from './broker-error.js';
import { usableQueue, type ChannelState } from './channel-state.js';
import { plain, type ClientMethods } from './frames.js';
import { queueSettings } from './queue-settings.js';
import type { Queue } from './queue.js';

/** What clients ask about exchanges and queues. */
export const topologyMethods = {
  ExchangeDeclare(channel: ChannelState, fields: ClientMethods['ExchangeDeclare']): void {
    const { exchange, type, passive, durable, internal, autoDelete } = fields;
    const { 'alternate-exchange': alternate, ...unknown } = plain(fields.arguments);
    if (autoDelete || Object.keys(unknown).length > 0) throw new NotSimulated('exchanges with such settings');
    if (passive) channel.broker.exchanges.find(exchange);
    else
      channel.broker.exchanges.declare(exchange, {
        ...{ type, durable, internal },
        alternate: alternate as string | undefined,
      });
    channel.send('ExchangeDeclareOk', {});
  },

  ExchangeBind({ broker, send }: ChannelState, fields: ClientMethods['ExchangeBind']): void {
    const { source, destination, routingKey } = fields;
    broker.exchanges.find(destination);
    broker.exchanges.bind(source, { to: 'exchange', destination, key: routingKey });
    send('ExchangeBindOk', {});
  },

  ExchangeDelete({ broker, send }: ChannelState, { exchange, ifUnused }: ClientMethods['ExchangeDelete']): void {
    if (ifUnused) throw new NotSimulated('conditional deletion of exchanges');
    broker.exchanges.delete(exchange);
    send('ExchangeDeleteOk', {});
  },

  QueueDeclare(channel: ChannelState, fields: ClientMethods['QueueDeclare']): void {
    const { ready, consumers, name } = fields.passive ? usableQueue(channel, fields.queue) : declare(channel, fields);
    channel.send('QueueDeclareOk', { queue: name, messageCount: ready, consumerCount: consumers });
  },

  QueueBind(channel: ChannelState, { queue, exchange, routingKey }: ClientMethods['QueueBind']): void {
    usableQueue(channel, queue);
    channel.broker.exchanges.bind(exchange, { to: 'queue', destination: queue, key: routingKey });
    channel.send('QueueBindOk', {});
  },

  QueueUnbind(channel: ChannelState, { queue, exchange, routingKey }: ClientMethods['QueueUnbind']): void {
    usableQueue(channel, queue);
    channel.broker.exchanges.unbind(exchange, { to: 'queue', destination: queue, key: routingKey });
    channel.send('QueueUnbindOk', {});
  },

  QueuePurge(channel: ChannelState, { queue }: ClientMethods['QueuePurge']): void {
    channel.send('QueuePurgeOk', { messageCount: usableQueue(channel, queue).purge() });
  },

  QueueDelete(channel: ChannelState, { queue: name, ifUnused, ifEmpty }: ClientMethods['QueueDelete']): void {
    const { broker, send } = channel;
    if (!broker.queues.has(name)) return send('QueueDeleteOk', { messageCount: 0 });
    const queue = usableQueue(channel, name);
    if (ifUnused && queue.consumers > 0) throw preconditionFailed(`queue '${name}' in use`);
    if (ifEmpty && queue.ready > 0) throw preconditionFailed(`queue '${name}' not empty`);
    const messageCount = queue.ready;
    broker.deleteQueue(queue);
    send('QueueDeleteOk', { messageCount });
  },
};

function declare({ broker, owner }: ChannelState, fields: ClientMethods['QueueDeclare']): Queue {
  const name = fields.queue === '' ? `amq.gen-${broker.nextNumber()}` : fields.queue;
  const existing = broker.queues.get(name);
  const settings = queueSettings(fields, plain(fields.arguments));
  if (existing === undefined) {
    if (fields.queue.startsWith('amq.')) throw accessRefused(`queue name '${name}' contains reserved prefix 'amq.*'`);
    return broker.addQueue(name, settings, settings.exclusive ? owner : undefined);
  }
  if (existing.owner !== undefined && existing.owner !== owner) throw resourceLocked(name);
  if (existing.settings.fingerprint !== settings.fingerprint)
    throw preconditionFailed(`inequivalent arg for queue '${name}'`);
  return existing;
}
