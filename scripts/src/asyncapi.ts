import { createRequire } from 'node:module';
import {
  CONTENT_TYPES,
  ERRORS,
  EVENT_TYPES,
  EXCHANGES,
  INGEST_TYPES,
  jobEventDataSchema,
  cloudEventSchema,
  jobViewSchema,
  limitEventDataSchema,
  MESSAGE_ID,
  problemSchema,
  QUEUES,
  submitMessageSchema,
} from '@sluice/contracts';
import { Document } from 'yaml';
import { z } from 'zod';

const HEADER =
  ' Made from packages/contracts by `npm run asyncapi --workspace scripts`; do not edit. A test compares the two.';
const AMQP = '0.3.0';
const CLOUD_EVENTS = 'application/cloudevents+json';

const { version } = createRequire(import.meta.url)('../package.json') as { readonly version: string };

/** `docs/asyncapi.yaml`: what other services may send to RabbitMQ and hear from it, as AsyncAPI 3.0. */
export function asyncApiYaml(): string {
  // n.b. aliases would be valid YAML, but not every reader of AsyncAPI takes them.
  const document = new Document(asyncApi(), { aliasDuplicateObjects: false });
  document.commentBefore = HEADER;
  return document.toString({ lineWidth: 0, singleQuote: true });
}

/** The AsyncAPI 3.0 document. It speaks of Sluice: what Sluice receives, a producer sends. */
export function asyncApi() {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Sluice over AMQP',
      version,
      description:
        'Submit jobs to the exchange `ingest`, get the answer in a queue of your own, and bind a queue to the exchange `events` to hear how jobs end.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: CONTENT_TYPES.json,
    servers: {
      rabbitmq: {
        host: '{host}:{port}',
        protocol: 'amqp',
        protocolVersion: '0-9-1',
        description:
          'RabbitMQ 3.10 or newer. The user needs write permission on the exchange `ingest` and read permission on `events`, and must be registered as a producer: `PUT /v1/admin/producers/<user>`.',
        variables: { host: { default: 'localhost' }, port: { default: '5672' } },
      },
    },
    channels: channels(),
    operations: operations(),
    components: { messages: messages(), schemas: schemas() },
  };
}

function channels() {
  return {
    ingest: {
      address: 'job',
      description: `Any routing key leads to the queue \`${QUEUES.ingest}\`. Publish with the mandatory flag and await the confirm.`,
      messages: { submit: ref('messages', 'submit') },
      bindings: { amqp: exchange(EXCHANGES.ingest) },
    },
    replies: {
      address: null,
      description:
        'The queue that `reply_to` of the submission names, by the default exchange; direct reply-to works as well. Queues of the suite are refused.',
      messages: { accepted: ref('messages', 'accepted'), refused: ref('messages', 'refused') },
    },
    jobEvents: {
      address: 'job.{state}.{tenantId}',
      description: 'Bind with `#` for the tenant: a tenant id may hold dots.',
      parameters: {
        state: {
          description: 'What happened.',
          enum: EVENT_TYPES.filter((type) => type.startsWith('sluice.job.')).map((type) => type.split('.')[2] ?? ''),
        },
        tenantId: { description: 'Whose job it is.' },
      },
      messages: { jobEvent: ref('messages', 'jobEvent') },
      bindings: { amqp: exchange(EXCHANGES.events) },
    },
    limitEvents: {
      address: 'limit.threshold.{tenantId}',
      description: 'A quota was used to one of its alert percentages.',
      parameters: { tenantId: { description: 'Whose limit it is.' } },
      messages: { limitEvent: ref('messages', 'limitEvent') },
      bindings: { amqp: exchange(EXCHANGES.events) },
    },
  };
}

function operations() {
  return {
    submitJob: {
      action: 'receive',
      channel: ref('channels', 'ingest'),
      summary: 'Submit a job.',
      description:
        'Admitted like `POST /v1/jobs`, for the tenant that the broker-validated `user_id` is registered for. At least once: a message id that was admitted before answers with its job again.',
      messages: [channelMessage('ingest', 'submit')],
      reply: {
        address: { location: '$message.header#/reply_to' },
        channel: ref('channels', 'replies'),
        messages: [channelMessage('replies', 'accepted'), channelMessage('replies', 'refused')],
      },
    },
    tellJobEvents: {
      action: 'send',
      channel: ref('channels', 'jobEvents'),
      summary: 'A job was accepted or has ended. At least once; the same fact has the same event id.',
      messages: [channelMessage('jobEvents', 'jobEvent')],
    },
    tellLimitEvents: {
      action: 'send',
      channel: ref('channels', 'limitEvents'),
      summary: 'A threshold was reached, once in each period.',
      messages: [channelMessage('limitEvents', 'limitEvent')],
    },
  };
}

function messages() {
  return {
    submit: {
      name: INGEST_TYPES.submit,
      title: 'A job to be done',
      contentType: CONTENT_TYPES.json,
      correlationId: {
        description: 'AMQP `correlation_id`; answers carry it, or the message id when it is absent.',
        location: '$message.header#/correlation_id',
      },
      headers: submitProperties(),
      payload: ref('schemas', 'submit'),
      bindings: { amqp: { messageType: INGEST_TYPES.submit, bindingVersion: AMQP } },
      examples: [
        {
          name: 'embedding',
          headers: { message_id: 'order-4711', user_id: 'shop', reply_to: 'amq.gen-x', correlation_id: '4711' },
          payload: { model: 'use-lite-en', input: 'It will rain tomorrow.', class: 'interactive' },
        },
      ],
    },
    accepted: reply(INGEST_TYPES.accepted, 'The job', CONTENT_TYPES.json, 'job'),
    refused: reply(INGEST_TYPES.refused, 'Why there is no job', CONTENT_TYPES.problem, 'problem'),
    jobEvent: event('What happened to a job', 'jobEvent'),
    limitEvent: event('A threshold of a limit', 'limitEvent'),
  };
}

/** n.b. AsyncAPI has no place for AMQP's basic properties; they are described as headers of their protocol names. */
function submitProperties() {
  return {
    type: 'object',
    description: 'AMQP basic properties (not entries of the `headers` table).',
    required: ['message_id', 'user_id'],
    properties: {
      message_id: { type: 'string', pattern: MESSAGE_ID.source, description: 'Idempotency key within the tenant.' },
      user_id: { type: 'string', description: "The connection's user, which RabbitMQ checks." },
      reply_to: {
        type: 'string',
        maxLength: 255,
        description: 'Where the answer goes. Without it a refusal ends in the dead letters, for operators.',
      },
      correlation_id: { type: 'string', maxLength: 255 },
      content_type: { type: 'string', const: CONTENT_TYPES.json },
      type: { type: 'string', const: INGEST_TYPES.submit, description: 'May be absent.' },
    },
  };
}

function reply(name: string, title: string, contentType: string, schema: string) {
  return {
    name,
    title,
    contentType,
    correlationId: { location: '$message.header#/correlation_id' },
    payload: ref('schemas', schema),
    bindings: { amqp: { messageType: name, bindingVersion: AMQP } },
  };
}

function event(title: string, schema: string) {
  return { title, contentType: CLOUD_EVENTS, payload: ref('schemas', schema) };
}

function schemas() {
  const { data: _data, ...envelope } = cloudEventSchema.shape;
  const eventOf = (types: readonly string[], data: z.ZodType): z.ZodType =>
    z.strictObject({ ...envelope, type: z.enum(types), data });
  const [jobs, limits] = [
    EVENT_TYPES.filter((type) => type.startsWith('sluice.job.')),
    EVENT_TYPES.filter((type) => type.startsWith('sluice.limit.')),
  ];
  return {
    submit: jsonSchema(submitMessageSchema),
    job: jsonSchema(jobViewSchema),
    problem: {
      ...jsonSchema(problemSchema),
      description: `RFC 9457. Retryable codes: ${retryableCodes().join(', ')}.`,
    },
    jobEvent: jsonSchema(eventOf(jobs, jobEventDataSchema)),
    limitEvent: jsonSchema(eventOf(limits, limitEventDataSchema)),
  };
}

function retryableCodes(): readonly string[] {
  return Object.entries(ERRORS).flatMap(([code, { retryable }]) => (retryable ? [code] : []));
}

/** The schema as AsyncAPI takes it (JSON Schema draft 7); noise that says nothing to a reader is left out. */
function jsonSchema(schema: z.ZodType): object {
  const { $schema: _schema, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-7',
    override({ jsonSchema: json }) {
      if (json.format !== undefined) delete json.pattern;
      if (json.minimum === Number.MIN_SAFE_INTEGER) delete json.minimum;
      if (json.maximum === Number.MAX_SAFE_INTEGER) delete json.maximum;
    },
  });
  return rest;
}

function exchange(name: string) {
  return {
    is: 'routingKey',
    exchange: { name, type: 'topic', durable: true, autoDelete: false, vhost: '/' },
    bindingVersion: AMQP,
  };
}

function ref(kind: 'messages' | 'schemas' | 'channels', name: string) {
  return { $ref: kind === 'channels' ? `#/channels/${name}` : `#/components/${kind}/${name}` };
}

function channelMessage(channel: string, message: string) {
  return { $ref: `#/channels/${channel}/messages/${message}` };
}
