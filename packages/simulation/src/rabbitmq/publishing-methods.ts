import { accessRefused, preconditionFailed } from './broker-error.js';
import type { ChannelState } from './channel-state.js';
import { createConfirms } from './confirms.js';
import type { ClientMethods, Content } from './frames.js';
import type { Message } from './message.js';

const NO_ROUTE = 312;

/** What clients ask about publishing. */
export const publishingMethods = {
  ConfirmSelect(channel: ChannelState): void {
    const { random, later } = channel.broker;
    channel.confirms ??= createConfirms({
      random,
      later,
      send: (method, fields) => !channel.closed && channel.send(method, fields),
    });
    channel.send('ConfirmSelectOk', {});
  },

  BasicPublish(channel: ChannelState, fields: ClientMethods['BasicPublish'], content: Content): void {
    const { broker, confirms } = channel;
    const { exchange, routingKey, mandatory } = fields;
    check(channel, exchange, content);
    const names = broker.exchanges.route(exchange, routingKey);
    const tag = confirms?.next() ?? 0;
    if (names.length === 0) {
      if (mandatory) returnToSender(channel, { exchange, routingKey, content });
      confirms?.seal(tag, true);
      return;
    }
    let open = names.length;
    let accepted = true;
    for (const name of names)
      broker.commit(channel, broker.queue(name), { exchange, routingKey, content }, (taken) => {
        open -= 1;
        accepted &&= taken;
        if (open === 0) confirms?.seal(tag, accepted);
      });
  },
};

function check({ broker, owner }: ChannelState, exchange: string, { properties }: Content): void {
  if (exchange !== '' && broker.exchanges.find(exchange).internal)
    throw accessRefused(`cannot publish to internal exchange '${exchange}'`);
  const { userId, expiration } = properties;
  if (userId !== undefined && userId !== owner.user)
    throw preconditionFailed(`user_id property set to '${userId}' but authenticated user was '${owner.user}'`);
  if (expiration !== undefined && !/^\d+$/.test(expiration))
    throw preconditionFailed(`invalid expiration '${expiration}'`);
}

function returnToSender({ send }: ChannelState, { exchange, routingKey, content }: Message): void {
  send('BasicReturn', { replyCode: NO_ROUTE, replyText: 'NO_ROUTE', exchange, routingKey }, content);
}
