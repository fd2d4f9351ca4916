/** `gateway`: publishes jobs; `collector`: consumes `results` and records it. */
export type FenceRole = 'gateway' | 'collector';

export interface FenceMemberFacts {
  /** UUID of the process; a new one at each start. */
  readonly memberId: string;
  readonly role: FenceRole;
  /** Where it is asked. Exists exactly as long as the connection that the member publishes or consumes on. */
  readonly queue: string;
}

export interface RegisteredMember extends FenceMemberFacts {
  /** When it last registered (Unix milliseconds, by the registry's clock). */
  readonly seenAtMs: number;
}

/** Who must be asked before a fence has passed; kept where facts are recorded. */
export interface FenceRegistry {
  /** Adds the member, or notes that it was seen now. */
  register(member: FenceMemberFacts): Promise<void>;
  members(): Promise<readonly RegisteredMember[]>;
  /** Removes the member; nothing when it is not there. */
  forget(memberId: string): Promise<void>;
}

/** A member registers again this often, in milliseconds, whether or not anything happened. */
export const REFRESH_MS = 10 * 60_000;

/** For how long a member trusts its last registration, in milliseconds; much less than `FORGET_AFTER_MS`. */
export const TRUST_MS = 12 * 3_600_000;

/** A member without a queue that has not been seen for so long has ended for good. */
export const FORGET_AFTER_MS = 24 * 3_600_000;
