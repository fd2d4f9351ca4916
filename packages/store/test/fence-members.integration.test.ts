import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { useBooks } from './support.js';

const books = useBooks();

describe('members of the fence', () => {
  it('are listed from when they are registered until they are forgotten', async () => {
    const [gateway, collector] = [randomUUID(), randomUUID()];
    const beforeMs = Date.now() - 1;
    await books.store.registerFenceMember({ memberId: gateway, role: 'gateway', queue: 'fence.a' });
    await books.store.registerFenceMember({ memberId: collector, role: 'collector', queue: 'fence.b' });
    const seenAtMs: unknown = expect.any(Number);
    expect(await books.store.fenceMembers()).toEqual([
      { memberId: collector, role: 'collector', queue: 'fence.b', seenAtMs },
      { memberId: gateway, role: 'gateway', queue: 'fence.a', seenAtMs },
    ]);
    await books.store.forgetFenceMember(collector);
    await books.store.forgetFenceMember(collector);
    const [left] = await books.store.fenceMembers();
    expect(left?.memberId).toBe(gateway);
    expect(left?.seenAtMs).toBeGreaterThanOrEqual(beforeMs);
  });

  it('that register again say what holds now', async () => {
    const memberId = randomUUID();
    for (const queue of ['fence.a', 'fence.b']) {
      await books.store.registerFenceMember({ memberId, role: 'gateway', queue });
    }
    expect(await books.store.fenceMembers()).toMatchObject([{ memberId, queue: 'fence.b' }]);
  });

  it('are seen by other programs as soon as they are registered', async () => {
    const other = await books.another();
    const memberId = randomUUID();
    await books.store.registerFenceMember({ memberId, role: 'collector', queue: 'q' });
    expect((await other.fenceMembers()).map((member) => member.memberId)).toEqual([memberId]);
  });
});
