import { v7 } from 'uuid';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Mints a job id: a UUIDv7 (RFC 9562 §5.7), lower case. Its first 48 bits are the acceptance time in Unix
 * milliseconds, so partition and age of a job follow from the id alone.
 */
export function newJobId(): string {
  return v7();
}

export function isUuid(value: string): boolean {
  return UUID.test(value);
}

export function isJobId(value: string): boolean {
  return UUID_V7.test(value);
}

/** The acceptance time carried by a job id, in Unix milliseconds. The id must be valid (see `isJobId`). */
export function jobIdTimeMs(jobId: string): number {
  return Number.parseInt(jobId.slice(0, 8) + jobId.slice(9, 13), 16);
}
