import { isServiceError, isUuid, ServiceError, tenantIdSchema, toProblem } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { DeadLetterQuery, DeadLetterSummary, Store } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import { letterDetails, letterView } from '../dead-letter-view.js';
import { validate } from '../field-errors.js';
import { readJsonBody } from '../middleware/json-body.js';
import { sendJson } from '../middleware/respond.js';
import { cursorAfter, listPage, readCursor } from '../page-cursor.js';
import { cursorField, pageSize } from '../query-fields.js';
import type { Replay } from '../replay.js';
import { isStorable, UNSTORABLE } from '../submission.js';
import { createAdminGuard } from './admin.js';

export interface DeadLetterRoutesOptions {
  readonly store: Pick<Store, 'listDeadLetters' | 'findDeadLetter'>;
  readonly replay: Replay;
  readonly adminKey: string | undefined;
  readonly pepper: string;
  readonly maxBodyBytes: number;
  /** Aborted when the gateway drains: a bulk replay then begins no further letter. */
  readonly draining: AbortSignal;
  readonly logger: Logger;
}

/** Letters of a bulk replay that are under way at once. */
const CONCURRENCY = 8;
const MAX_BULK = 1_000;

const ID = /^[1-9]\d{0,14}$/;
const name = z.string().min(1).max(500).refine(isStorable, UNSTORABLE);

const filterFields = {
  queue: name.optional(),
  reason: name.optional(),
  tenant: tenantIdSchema.optional(),
  job: z.string().refine(isUuid, 'must be a job id').optional(),
};
const listSchema = z.strictObject({
  status: z.enum(['open', 'replayed']).optional(),
  ...filterFields,
  limit: pageSize(50, 200),
  cursor: cursorField,
});
const showSchema = z.strictObject({ payload: z.enum(['true', 'false']).default('false') });
const note = z.string().min(1).max(500).refine(isStorable, UNSTORABLE);
const replaySchema = z.strictObject({ note });
const bulkSchema = z.strictObject({
  ...filterFields,
  note,
  limit: z.int().min(1).max(MAX_BULK).default(100),
  cursor: cursorField,
});

type Filters = Pick<z.output<typeof listSchema>, 'status' | 'queue' | 'reason' | 'tenant' | 'job'>;

/**
 * What an operator does with messages that died: look at them, and have their work done again.
 *
 * - `GET /v1/admin/dead-letters`, newest first; `GET /v1/admin/dead-letters/:id`, texts only with `?payload=true`.
 * - `POST /v1/admin/dead-letters/:id/replay` `{ note }`.
 * - `POST /v1/admin/dead-letters/replay` `{ filters…, note, limit }`: the newest open ones that match, the oldest of
 *   them first; says of each what became of it.
 */
export function deadLetterRoutes(options: DeadLetterRoutesOptions): Router {
  const { store, replay, maxBodyBytes, draining, logger } = options;
  const authorize = createAdminGuard(options.adminKey, options.pepper);
  const router = Router();

  router.get('/v1/admin/dead-letters', async (request, response) => {
    authorize(request);
    const { limit, cursor, ...filters } = validate(listSchema, request.query);
    const letters = await store.listDeadLetters({ ...queryOf(filters, cursor), limit: limit + 1 });
    const cursorOf = ({ id }: DeadLetterSummary): string => cursorAfter(String(id), filters);
    sendJson(response, 200, listPage(letters, limit, { view: letterView, cursor: cursorOf }));
  });

  router.get('/v1/admin/dead-letters/:id', async (request, response) => {
    authorize(request);
    const { payload } = validate(showSchema, request.query);
    const letter = await store.findDeadLetter(idOf(request.params.id));
    if (!letter) throw noSuchLetter();
    sendJson(response, 200, letterDetails(letter, payload === 'true'));
  });

  router.post('/v1/admin/dead-letters/replay', async (request, response) => {
    authorize(request);
    const { note: why, limit, cursor, ...rest } = validate(bulkSchema, await readJsonBody(request, maxBodyBytes));
    const filters: Filters = { status: 'open', ...rest };
    const letters = await store.listDeadLetters({ ...queryOf(filters, cursor), limit });
    const data = await inLanes([...letters].reverse(), ({ id }) => replayOne(id, why));
    const count = (wanted: string): number => data.filter(({ outcome }) => outcome === wanted).length;
    const last = letters.length === limit ? letters.at(-1) : undefined;
    const nextCursor = last ? cursorAfter(String(last.id), filters) : null;
    const counts = { replayed: count('replayed'), refused: count('refused') };
    sendJson(response, 200, { object: 'replays', ...counts, data, nextCursor });
  });

  router.post('/v1/admin/dead-letters/:id/replay', async (request, response) => {
    authorize(request);
    const id = idOf(request.params.id);
    const { note: why } = validate(replaySchema, await readJsonBody(request, maxBodyBytes));
    sendJson(response, 200, letterView(await replay({ id, note: why })));
  });

  async function replayOne(id: number, why: string) {
    if (draining.aborted) return { id, outcome: 'not_tried' } as const;
    try {
      const letter = await replay({ id, note: why });
      return { id, outcome: 'replayed', jobId: letter.replay?.jobId } as const;
    } catch (error) {
      if (!isServiceError(error)) logger.error({ err: error, deadLetter: id }, 'a dead letter could not be replayed');
      return { id, outcome: 'refused', problem: toProblem(error) } as const;
    }
  }

  return router;
}

function queryOf(filters: Filters, cursor: string | undefined): Omit<DeadLetterQuery, 'limit'> {
  const { status, queue, reason, tenant, job } = filters;
  const beforeId = cursor === undefined ? undefined : Number(readCursor(cursor, filters, (last) => ID.test(last)));
  return { status, queue, reason, tenantId: tenant, jobId: job, beforeId };
}

function idOf(text: string): number {
  if (ID.test(text)) return Number(text);
  throw noSuchLetter();
}

function noSuchLetter(): ServiceError {
  return new ServiceError('dead_letter_not_found', 'No such dead letter.', {
    fields: [{ field: 'id', reason: 'names no dead letter' }],
  });
}

/** Runs `work` for each item, a few at once, and returns the results in the order of the items. */
async function inLanes<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  const entries = items.entries();
  async function lane(): Promise<void> {
    for (const [index, item] of entries) results[index] = await work(item);
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return results;
}
