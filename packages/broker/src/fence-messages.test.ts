import { describe, expect, it } from '@jest/globals';
import { parseAnswer, parseQuestion } from './fence-messages.js';

const question = { id: 'a:1', kind: 'drain', replyTo: 'inbox.1' };
const answer = { id: 'a:1', memberId: 'm', done: true, generation: 3, attached: false };
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

describe('messages of a fence', () => {
  it('are read as they were written', () => {
    expect(parseQuestion(bytes(question))).toEqual(question);
    expect(parseAnswer(bytes(answer))).toEqual(answer);
  });

  it.each([
    { ...question, id: '' },
    { ...question, kind: 'explode' },
    { ...question, replyTo: 'q'.repeat(256) },
    { ...question, replyTo: 7 },
    [question],
    null,
  ])('are no question: %j', (value) => {
    expect(parseQuestion(bytes(value))).toBeUndefined();
  });

  it.each([
    { ...answer, memberId: undefined },
    { ...answer, done: 'yes' },
    { ...answer, generation: 1.5 },
    { ...answer, attached: 0 },
    'answer',
  ])('are no answer: %j', (value) => {
    expect(parseAnswer(bytes(value))).toBeUndefined();
  });

  it('are nothing when they are not JSON', () => {
    expect(parseQuestion(Buffer.from('{'))).toBeUndefined();
    expect(parseAnswer(Buffer.alloc(0))).toBeUndefined();
  });
});
