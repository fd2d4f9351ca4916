import { NotSimulated } from './broker-error.js';
import { byConsumer, takeUnacked, usableQueue, type ChannelState, type Unacked } from './channel-state.js';
import { plain, type ClientMethods, type Content } from './frames.js';
import type { Entry } from './message.js';
import type { Consumer, Queue } from './queue.js';

/** What clients ask about deliveries. */
export const consumingMethods = {
  BasicQos(channel: ChannelState, { prefetchCount, global }: ClientMethods['BasicQos']): void {
    if (global) throw new NotSimulated('prefetch for a whole channel');
    channel.prefetch = prefetchCount;
    channel.send('BasicQosOk', {});
  },

  BasicConsume(channel: ChannelState, fields: ClientMethods['BasicConsume']): void {
    if (fields.exclusive || Object.keys(plain(fields.arguments)).length > 0)
      throw new NotSimulated('exclusive or prioritised consumers');
    const queue = usableQueue(channel, fields.queue);
    const tag = fields.consumerTag === '' ? `amq.ctag-${channel.broker.nextNumber()}` : fields.consumerTag;
    const consumer = consumerOf(channel, queue, { tag, noAck: fields.noAck });
    channel.consumers.set(tag, { consumer, queue });
    channel.send('BasicConsumeOk', { consumerTag: tag });
    queue.subscribe(consumer);
  },

  BasicCancel(channel: ChannelState, { consumerTag }: ClientMethods['BasicCancel']): void {
    const known = channel.consumers.get(consumerTag);
    channel.send('BasicCancelOk', { consumerTag });
    if (known === undefined) return;
    channel.consumers.delete(consumerTag);
    channel.cancelled.push(known);
    known.queue.unsubscribe(known.consumer);
  },

  BasicAck(channel: ChannelState, { deliveryTag, multiple }: ClientMethods['BasicAck']): void {
    const taken = takeUnacked(channel, deliveryTag, multiple);
    for (const { queue, consumer, entries } of byConsumer(taken)) queue.settle(consumer, entries);
  },

  BasicNack(channel: ChannelState, { deliveryTag, multiple, requeue }: ClientMethods['BasicNack']): void {
    refuse(takeUnacked(channel, deliveryTag, multiple), requeue);
  },

  BasicReject(channel: ChannelState, { deliveryTag, requeue }: ClientMethods['BasicReject']): void {
    refuse(takeUnacked(channel, deliveryTag, false), requeue);
  },
};

function refuse(taken: readonly Unacked[], requeue: boolean): void {
  for (const { queue, consumer, entries } of byConsumer(taken)) {
    if (requeue) queue.giveBack(consumer, entries);
    else queue.settle(consumer, entries, 'rejected');
  }
}

function consumerOf(channel: ChannelState, queue: Queue, { tag, noAck }: { tag: string; noAck: boolean }): Consumer {
  const { prefetch } = channel;
  const consumer: Consumer = {
    tag,
    noAck,
    held: 0,
    hasRoom: () => noAck || prefetch === 0 || consumer.held < prefetch,
    deliver(entry) {
      // The queue has not noticed yet; what it gives is lost, or comes back when it does.
      if (channel.closed) return;
      const deliveryTag = ++channel.deliveries;
      if (!noAck) channel.unacked.set(deliveryTag, { consumer, queue, entry });
      const { exchange, routingKey } = entry.message;
      const redelivered = entry.returns > 0;
      channel.send('BasicDeliver', { consumerTag: tag, deliveryTag, redelivered, exchange, routingKey }, seen(entry));
    },
    onCancel() {
      channel.consumers.delete(tag);
      if (!channel.closed) channel.send('BasicCancel', { consumerTag: tag, nowait: true });
    },
  };
  return consumer;

  function seen({ message: { content }, returns }: Entry): Content {
    const headers = plain(content.properties.headers);
    if (queue.settings.quorum && returns > 0) headers['x-delivery-count'] = returns;
    return { properties: { ...content.properties, headers }, body: content.body };
  }
}
