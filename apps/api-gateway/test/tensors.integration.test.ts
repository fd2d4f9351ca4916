import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  acceptedMessageSchema,
  isTensorInput,
  jobViewSchema,
  type AcceptedMessage,
  type TensorMessage,
} from '@sluice/contracts';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';

const YAML = `
name: adder
task: tensors
description: Adds, for tests
licence: Apache-2.0
source: none
precision: fp32
inputs: [{ name: a, datatype: FP32, shape: [-1, 2] }, { name: b, datatype: INT64, shape: [] }]
outputs: [{ name: sum, datatype: FP32, shape: [-1, 2] }]
elementsPerToken: 4
maxInputTokens: 10
maxOutputTokens: 7
`;

let fixture: Fixture;
let gateway: Gateway;
let modelDir: string;

beforeAll(async () => {
  fixture = await createFixture();
  const built = fixture.environment['SLUICE_MODEL_DIR'] ?? '';
  modelDir = await mkdtemp(join(tmpdir(), 'sluice-models-'));
  for (const name of await readdir(built)) await symlink(join(built, name), join(modelDir, name));
  await mkdir(join(modelDir, 'adder', '1'), { recursive: true });
  // n.b. the gateway never loads it.
  await writeFile(join(modelDir, 'adder', '1', 'model.onnx'), 'bytes');
  await writeFile(join(modelDir, 'adder', '1', 'model.yaml'), YAML);
  const models = join(fixture.environment['SLUICE_CONFIG_DIR'] ?? '', 'models.yaml');
  await writeFile(models, "  adder: { pool: text, version: '1' }\n", { flag: 'a' });
  gateway = await fixture.startGateway({ SLUICE_MODEL_DIR: modelDir, SLUICE_MAX_BODY_BYTES: '4096' });
}, 60_000);

afterAll(async () => {
  await fixture.close();
  await rm(modelDir, { recursive: true });
});

const a = { name: 'a', datatype: 'FP32', shape: [2, 2], data: [1, 2.5, -3, 0.1] };
const b = { name: 'b', datatype: 'INT64', shape: [], data: [7] };
const good = { model: 'adder', inputs: [a, b] };

function submit(key: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return send(gateway.url, '/v1/jobs', { method: 'POST', body: JSON.stringify(body), key, headers });
}

async function drain(): Promise<readonly AcceptedMessage[]> {
  const channel = await fixture.amqp.createChannel();
  const messages: AcceptedMessage[] = [];
  for (let got = await channel.get('work.text.standard', { noAck: true }); got;) {
    messages.push(acceptedMessageSchema.parse(JSON.parse(got.content.toString())));
    got = await channel.get('work.text.standard', { noAck: true });
  }
  await channel.close();
  return messages;
}

const base64 = (array: Float32Array | BigInt64Array): string => Buffer.from(array.buffer).toString('base64');

describe('a submission of tensors', () => {
  it('is held for its elements, and queued as bytes, however it was written', async () => {
    const key = await createTenant(gateway.url, 'tensors');
    const inBytes = { ...a, data: base64(Float32Array.of(1, 2.5, -3, 0.1)) };
    const nested = {
      ...a,
      data: [
        [1, 2.5],
        [-3, 0.1],
      ],
    };
    for (const written of [a, inBytes, nested]) {
      const { status, body } = await submit(key, { ...good, inputs: [b, written] });
      expect([status, body]).toMatchObject([202, { reservation: { tokens: 9, inputTokens: 2, maxOutputTokens: 7 } }]);
    }
    const queued = await drain();
    expect(queued).toHaveLength(3);
    for (const { input, inputTokens, reservedTokens } of queued) {
      expect({ inputTokens, reservedTokens }).toEqual({ inputTokens: 2, reservedTokens: 9 });
      expect(input).toEqual({
        tensors: [{ ...b, data: base64(BigInt64Array.of(7n)) }, inBytes],
        outputEncoding: 'json',
      });
    }
  });

  it('may be empty where the model has a free axis, for a token at least', async () => {
    const key = await createTenant(gateway.url, 'empty');
    const one = await submit(key, { ...good, inputs: [{ ...a, shape: [0, 2], data: [] }, b] });
    expect([one.status, one.body]).toMatchObject([202, { reservation: { inputTokens: 1 } }]);
    expect(await drain()).toMatchObject([{ inputTokens: 1, input: { tensors: [{ shape: [0, 2], data: '' }, {}] } }]);
    const fixed = await submit(key, { ...good, inputs: [{ ...a, shape: [2, 0], data: '' }, b] });
    expect(fixed.body).toMatchObject({ errors: [{ field: 'inputs.0.shape' }] });
  });

  it('is the same submission in bytes and in numbers, and another one for another encoding of its result', async () => {
    const key = await createTenant(gateway.url, 'again');
    const headers = { 'Idempotency-Key': 'one' };
    const first = await submit(key, good, headers);
    const again = await submit(
      key,
      { ...good, inputs: [{ ...a, data: base64(Float32Array.of(1, 2.5, -3, 0.1)) }, b] },
      headers,
    );
    expect(again.body).toEqual(first.body);
    const other = await submit(key, { ...good, outputEncoding: 'base64' }, headers);
    expect(other.body).toMatchObject({ code: 'idempotency_key_reused' });
    await drain();
  });

  it.each<[string, object, string, string]>([
    ['texts', { input: 'x' }, 'invalid_request', 'input must be absent: adder takes tensors, in inputs'],
    ['an input less', { inputs: [a] }, 'invalid_request', 'inputs must hold the input b'],
    ['an unknown name', { inputs: [a, { ...b, name: 'c' }] }, 'invalid_request', 'inputs.1.name names no input'],
    ['another type', { inputs: [{ ...a, datatype: 'FP64' }, b] }, 'invalid_request', 'inputs.0.datatype must be FP32'],
    [
      'another shape',
      { inputs: [{ ...a, shape: [4, 1] }, b] },
      'invalid_request',
      'inputs.0.shape is [4, 1]; the input a',
    ],
    ['no room for outputs', { ...good, maxOutputTokens: 0 }, 'invalid_request', 'maxOutputTokens must be at least 1'],
    [
      'too many',
      { inputs: [{ ...a, shape: [20, 2], data: new Array(40).fill(0) }, b] },
      'input_too_long',
      'inputs have 11 tokens',
    ],
  ])('is refused with %s', async (_what, body, code, detail) => {
    const key = await createTenant(gateway.url, `refused-${code}-${detail.length}`);
    const answer = await submit(key, { model: 'adder', ...body });
    expect(answer.body).toMatchObject({ code, detail: expect.stringContaining(detail) as unknown });
    expect(answer.status).toBe(400);
  });

  it('is refused for a model of texts', async () => {
    const key = await createTenant(gateway.url, 'for-texts');
    const { body } = await submit(key, { ...good, model: 'guesslang' });
    expect(body).toMatchObject({
      code: 'invalid_request',
      detail: 'inputs must be absent: guesslang takes texts, in input.',
    });
  });

  it('is refused when it is short but says that it is long, and when it is too long to be queued', async () => {
    const key = await createTenant(gateway.url, 'too-large');
    const huge = { ...a, shape: [2 ** 31 - 1, 2 ** 31 - 1], data: [] };
    const { status, body } = await submit(key, { ...good, inputs: [huge, b] });
    expect([status, body]).toMatchObject([413, { code: 'payload_too_large', maxBytes: 4_096 }]);
    const zeros = { ...a, shape: [700, 2], data: new Array(1_400).fill(0) };
    expect((await submit(key, { ...good, inputs: [zeros, b] })).body).toMatchObject({
      code: 'payload_too_large',
      detail: 'The inputs have 7480 bytes in base64, at most 4096 are allowed.',
    });
    const body20MB = { ...good, inputs: [{ ...a, data: 'A'.repeat(20_000_000) }, b] };
    expect((await submit(key, body20MB)).body).toMatchObject({ code: 'payload_too_large' });
  });
});

describe('the result of a job of tensors', () => {
  async function told(
    key: string,
    sum: Omit<TensorMessage, 'name'>,
    outputEncoding?: 'json' | 'base64',
  ): Promise<unknown> {
    const { body } = await submit(key, { ...good, ...(outputEncoding && { outputEncoding }) });
    const { id } = body as { id: string };
    const fact = (await drain()).find(({ jobId }) => jobId === id);
    if (!fact || !isTensorInput(fact.input)) throw new Error('the job was not queued');
    const { jobId, tenantId, apiKeyId, model, class: jobClass } = fact;
    const output = {
      task: 'tensors' as const,
      encoding: fact.input.outputEncoding,
      outputs: [{ name: 'sum', ...sum }],
    };
    const usage = { inputTokens: 2, outputTokens: 1, cachedTokens: 0 };
    const end = { state: 'succeeded' as const, usage, output, attempt: 1, finishedAtMs: Date.now() };
    await fixture.complete({ jobId, tenantId, apiKeyId, model, class: jobClass, ...end });
    const job = (await send(gateway.url, `/v1/jobs/${id}?wait=30`, { key })).body;
    const { state, usage: used, output: view } = jobViewSchema.parse(job);
    expect({ state, used }).toEqual({ state: 'succeeded', used: usage });
    return view;
  }

  const sum = { datatype: 'FP32' as const, shape: [2, 2], data: base64(Float32Array.of(8, 9.5, 4, 7.25)) };

  it('is a list, or base64 where that was asked for', async () => {
    const key = await createTenant(gateway.url, 'results');
    const outputs = (data: unknown) => ({ task: 'tensors', outputs: [{ ...sum, name: 'sum', data }] });
    expect(await told(key, sum)).toEqual(outputs([8, 9.5, 4, 7.25]));
    expect(await told(key, sum, 'base64')).toEqual(outputs(sum.data));
  });

  it('is base64 in any case where JSON has no exact numbers, or very many', async () => {
    const key = await createTenant(gateway.url, 'inexact');
    const cases: Omit<TensorMessage, 'name'>[] = [
      { ...sum, data: base64(Float32Array.of(1, NaN, Infinity, 0)) },
      { datatype: 'INT64', shape: [1], data: base64(BigInt64Array.of(2n ** 60n)) },
      { datatype: 'FP32', shape: [65_537], data: base64(new Float32Array(65_537)) },
    ];
    for (const found of cases) expect(await told(key, found)).toMatchObject({ outputs: [{ data: found.data }] });
    const most = { datatype: 'UINT8' as const, shape: [65_536], data: Buffer.alloc(65_536, 3).toString('base64') };
    expect(await told(key, most)).toMatchObject({ outputs: [{ data: new Array(65_536).fill(3) }] });
  });
});

describe('a model of tensors', () => {
  it('is listed with its signature', async () => {
    const key = await createTenant(gateway.url, 'listing');
    const { data } = (await send(gateway.url, '/v1/models', { key })).body as { data: { id: string }[] };
    expect(data.find(({ id }) => id === 'adder')).toMatchObject({
      task: 'tensors',
      inputs: [{ name: 'a', datatype: 'FP32', shape: [-1, 2] }, { name: 'b' }],
      outputs: [{ name: 'sum' }],
      elementsPerToken: 4,
    });
  });
});
