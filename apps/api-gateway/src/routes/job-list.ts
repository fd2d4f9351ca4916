import { isJobId, isUuid, JOB_CLASSES, nameSchema, TERMINAL_STATES } from '@sluice/contracts';
import type { JobSummary, Store } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import type { Authentication } from '../authentication.js';
import { invalidRequest, validate } from '../field-errors.js';
import { jobFromRecord } from '../job-view.js';
import { sendJson } from '../middleware/respond.js';
import { cursorAfter, readCursor } from '../page-cursor.js';
import { cursorField, moment, momentMs, pageSize, someOf } from '../query-fields.js';

export interface JobListRoutesOptions {
  readonly authentication: Authentication;
  readonly store: Pick<Store, 'listJobs'>;
}

const querySchema = z.strictObject({
  /** n.b. who is running is not recorded: such a job is listed as queued. */
  state: someOf(['queued', ...TERMINAL_STATES], 'a running job is listed as queued').optional(),
  model: nameSchema.optional(),
  class: z.enum(JOB_CLASSES).optional(),
  apiKey: z.string().refine(isUuid, 'must be the id of an API key').optional(),
  /** When the job was accepted: inclusive and exclusive; dates are days of the tenant's calendar. */
  from: moment.optional(),
  to: moment.optional(),
  limit: pageSize(50, 200),
  cursor: cursorField,
});

/**
 * `GET /v1/jobs`: the tenant's recorded jobs, newest first, without outputs. A job that was accepted a moment ago and is
 * not recorded yet is not among them. With a filter that few jobs pass, pages may be shorter than `limit` before the last.
 */
export function jobListRoutes({ authentication, store }: JobListRoutesOptions): Router {
  const router = Router();
  router.get('/v1/jobs', async (request, response) => {
    const { tenantId, timeZone } = await authentication.authenticate(request.headers.authorization);
    const { limit, cursor, ...filters } = validate(querySchema, request.query);
    const fromMs = filters.from === undefined ? undefined : momentMs(filters.from, timeZone);
    const toMs = filters.to === undefined ? undefined : momentMs(filters.to, timeZone);
    if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs) {
      throw invalidRequest([{ field: 'from', reason: 'must be before "to"' }]);
    }
    const { jobs, next } = await store.listJobs({
      tenantId,
      states: filters.state,
      model: filters.model,
      class: filters.class,
      apiKeyId: filters.apiKey,
      fromMs,
      toMs,
      beforeJobId: cursor === undefined ? undefined : readCursor(cursor, filters, isJobId),
      limit,
    });
    // n.b. a page may be short, even empty, and yet have a next one: the store looks at so many jobs for each, and no more.
    const nextCursor = next === undefined ? null : cursorAfter(next, filters);
    sendJson(response, 200, { object: 'list', data: jobs.map(view), hasMore: next !== undefined, nextCursor });
  });
  return router;
}

function view(summary: JobSummary) {
  return jobFromRecord({ ...summary, output: undefined, replayedAs: undefined });
}
