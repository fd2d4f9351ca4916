import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** How an API key begins; secret scanners look for it. */
const PREFIX = 'slk_';

export interface NewApiKey {
  /** Shown to its owner once and stored nowhere. */
  readonly key: string;
  /** Enough of the key to recognise it in a list, not enough to use it. */
  readonly displayPrefix: string;
}

/** 256 random bits, base64url. */
export function newApiKey(): NewApiKey {
  const key = PREFIX + randomBytes(32).toString('base64url');
  return { key, displayPrefix: key.slice(0, 10) };
}

/** What PostgreSQL stores of a key: HMAC-SHA-256 with a secret that is not in the database, 32 bytes. */
export function hashApiKey(key: string, pepper: string): Buffer {
  return createHmac('sha256', pepper).update(key).digest();
}

/** Compares secrets in time that does not depend on where they differ. */
export function equalSecrets(left: string, right: string, pepper: string): boolean {
  return timingSafeEqual(hashApiKey(left, pepper), hashApiKey(right, pepper));
}
