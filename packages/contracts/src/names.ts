import { z } from 'zod';

/** What a name of configuration is: lower-case letters, digits, `.`, `_` and `-`, at most 63 characters. */
export const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

/** A name of configuration; see `NAME`. */
export const nameSchema = z.string().regex(NAME, 'must be a name of lower-case letters, digits, ".", "_" or "-"');

/** A tenant's id. It is part of Redis keys, where it is the hash tag, so braces can never occur in it. */
export const tenantIdSchema = nameSchema;
