import { randomUUID } from 'node:crypto';
import {
  inputTexts,
  newJobId,
  type AcceptedMessage,
  type TensorModelFile,
  type TextModelFile,
} from '@sluice/contracts';
import type { Delivery } from '@sluice/broker';
import type { ServedTensorModel, ServedTextModel } from '../src/models/served-models.js';

/** A model with one output column and one token for each character (its code). */
export function characterModel(overrides: Partial<Pick<TextModelFile, 'quantisation' | 'maxInputTokens'>> = {}) {
  const encode = (text: string): Int32Array => Int32Array.from(text, (character) => character.charCodeAt(0));
  const served: ServedTextModel = {
    key: 'characters/1',
    model: {
      name: 'characters',
      version: '1',
      directory: 'none',
      modelPath: 'none',
      file: {
        name: 'characters',
        task: 'embedding',
        description: 'For tests',
        licence: 'Apache-2.0',
        source: 'None',
        precision: 'fp32',
        tokenizer: { type: 'bytes' },
        maxInputTokens: 100,
        maxOutputTokens: 0,
        quantisation: 'none',
        inputs: { inputIds: 'ids', attentionMask: 'mask' },
        output: { name: 'rows', dimensions: 1 },
        ...overrides,
      },
    },
    tokenizer: { encode, count: (text: string) => encode(text).length },
  };
  return served;
}

/** A model with one input and one output of bytes. */
export function tensorModel(): ServedTensorModel {
  const about = { name: 'tensors', description: 'For tests', licence: 'Apache-2.0', source: 'None' };
  const bytes = { datatype: 'UINT8' as const, shape: [-1] };
  const file: TensorModelFile = {
    ...{ ...about, task: 'tensors', precision: 'int8' },
    ...{ inputs: [{ name: 'x', ...bytes }], outputs: [{ name: 'y', ...bytes }] },
    ...{ elementsPerToken: 1, maxInputTokens: 100, maxOutputTokens: 0 },
  };
  return { key: 'tensors/1', model: { name: 'tensors', version: '1', directory: 'none', modelPath: 'none', file } };
}

let minted = 0;

/** An id of a job that was accepted then (Unix milliseconds). */
export function jobIdAt(timeMs: number): string {
  const time = timeMs.toString(16).padStart(12, '0');
  const serial = (minted += 1).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${serial}`;
}

/** A job as the gateway publishes it. */
export function acceptedMessage(overrides: Partial<AcceptedMessage> = {}): AcceptedMessage {
  return {
    jobId: newJobId(),
    tenantId: 'acme',
    apiKeyId: randomUUID(),
    model: 'characters',
    class: 'interactive',
    input: 'hello',
    inputTokens: 5,
    maxOutputTokens: 0,
    reservedTokens: 5,
    reservedNanoUsd: 100,
    expiresAtMs: Date.now() + 600_000,
    ...overrides,
  };
}

/** A job for the tiny model, whose tokens are the bytes of its texts. */
export function tinyJob(input: string | string[], overrides: Partial<AcceptedMessage> = {}): AcceptedMessage {
  const inputTokens = Buffer.byteLength(inputTexts(input).join(''));
  const tokens = { inputTokens, reservedTokens: inputTokens };
  return acceptedMessage({ model: 'tiny', class: 'standard', input, ...tokens, ...overrides });
}

/** A message as the broker hands it out. */
export function deliveryOf(body: unknown, overrides: Partial<Delivery> = {}): Delivery {
  return {
    body: Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body)),
    type: 'job.accepted.v1',
    messageId: 'message-1',
    ...{ userId: '', replyTo: '', correlationId: '', contentType: 'application/json' },
    routingKey: 'text.interactive',
    attempt: 1,
    redelivered: false,
    exchange: 'jobs',
    headers: {},
    queue: 'work.text.interactive',
    ...overrides,
  };
}
