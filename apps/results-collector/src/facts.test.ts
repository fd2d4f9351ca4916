import { describe, expect, it } from '@jest/globals';
import { MESSAGE_TYPES } from '@sluice/contracts';
import { acceptedMessage, completedMessage, onTheWire } from '../test/messages.js';
import { decodeFact, factKey } from './facts.js';

const accepted = acceptedMessage();
const completed = completedMessage(accepted);

describe('decodeFact', () => {
  it('reads an accepted job without its input', () => {
    const { input: _input, ...fact } = accepted;
    expect(decodeFact(onTheWire(accepted))).toEqual({ fact: { type: 'accepted', message: fact } });
  });

  it('reads a completed job', () => {
    expect(decodeFact(onTheWire(completed))).toEqual({ fact: { type: 'completed', message: completed } });
  });

  it.each([
    ['an unknown type', { type: 'job.started.v1', body: Buffer.from('{}') }, 'type: is not a known message type'],
    ['no type', { type: '', body: Buffer.from('{}') }, 'type: is not a known message type'],
    ['a body that is not JSON', { ...onTheWire(completed), body: Buffer.from('{"a":') }, 'body: is not valid JSON'],
    ['bytes that are not text', { ...onTheWire(completed), body: Buffer.from([0xff, 0]) }, 'body: is not valid JSON'],
    ['an empty body', { ...onTheWire(completed), body: Buffer.alloc(0) }, 'body: is not valid JSON'],
  ])('refuses %s', (_name, message, problem) => {
    expect(decodeFact(message)).toEqual({ problem: `malformed_message: ${problem}` });
  });

  it('names the field that is wrong and does not repeat its value', () => {
    const message = { ...completed, usage: { ...completed.usage, inputTokens: -4711 } };
    const { problem } = decodeFact({ type: MESSAGE_TYPES.completed, body: Buffer.from(JSON.stringify(message)) });
    expect(problem).toMatch(/^malformed_message: usage\.inputTokens: ./);
    expect(problem).not.toContain('4711');
  });

  it('refuses a body of the other type', () => {
    expect(decodeFact({ ...onTheWire(completed), type: MESSAGE_TYPES.accepted }).problem).toMatch(
      /^malformed_message: /,
    );
  });

  it('keeps the problem short however long the message', () => {
    const message = { ...completed, ['x'.repeat(10_000)]: 1 };
    const { problem } = decodeFact({ type: MESSAGE_TYPES.completed, body: Buffer.from(JSON.stringify(message)) });
    expect(problem).toHaveLength(300);
  });
});

describe('a fact', () => {
  it('has a key of its own for each end of the job', () => {
    expect(factKey('accepted', accepted.jobId)).not.toBe(factKey('completed', accepted.jobId));
  });
});
