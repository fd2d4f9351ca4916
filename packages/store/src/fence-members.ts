import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** A process that takes part in fences (docs/decisions/0007-fence.md). */
export interface FenceMember {
  /** A UUID of its own for each run. */
  readonly memberId: string;
  readonly role: 'gateway' | 'collector';
  /** Where it is asked. */
  readonly queue: string;
}

/** A member as it is registered. */
export interface RegisteredFenceMember extends FenceMember {
  /** When it last registered, by the database's clock (Unix milliseconds). */
  readonly seenAtMs: number;
}

export interface FenceMembers {
  /** Resolves when the member is recorded, which must be before it reserves or consumes; again changes what it said. */
  registerFenceMember(member: FenceMember): Promise<void>;
  /** All members, also those that have died and that nobody has forgotten yet. */
  fenceMembers(): Promise<readonly RegisteredFenceMember[]>;
  /** Removes a member that is known to be gone. */
  forgetFenceMember(memberId: string): Promise<void>;
}

const statements = {
  register: loadStatement('register-fence-member'),
  list: loadStatement('list-fence-members'),
  forget: loadStatement('forget-fence-member'),
};

interface MemberRow {
  readonly member_id: string;
  readonly role: FenceMember['role'];
  readonly queue: string;
  readonly seen_at_ms: string;
}

export function createFenceMembers(database: Database): FenceMembers {
  return {
    async registerFenceMember({ memberId, role, queue }) {
      await database.run(statements.register, [memberId, role, queue]);
    },

    async fenceMembers() {
      const rows = await database.run<MemberRow & Record<string, unknown>>(statements.list);
      return rows.map(({ member_id: memberId, role, queue, seen_at_ms: seenAtMs }) => ({
        memberId,
        role,
        queue,
        seenAtMs: Math.floor(Number(seenAtMs)),
      }));
    },

    async forgetFenceMember(memberId) {
      await database.run(statements.forget, [memberId]);
    },
  };
}
