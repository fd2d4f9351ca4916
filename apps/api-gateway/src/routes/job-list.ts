import { isJobId, isUuid, JOB_CLASSES, nameSchema, TERMINAL_STATES } from '@sluice/contracts';
import type { JobSummary, Store } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import type { Authentication } from '../authentication.js';
import { invalidRequest, validate } from '../field-errors.js';
import { jobFromRecord } from '../job-view.js';
import { sendJson } from '../middleware/respond.js';
import { cursorAfter, listPage, readCursor } from '../page-cursor.js';
import { cursorField, instant, pageSize, someOf } from '../query-fields.js';

export interface JobListRoutesOptions {
  readonly authentication: Authentication;
  readonly store: Pick<Store, 'listJobs'>;
}

const querySchema = z.strictObject({
  /** n.b. who is running is not recorded: such a job is listed as queued. */
  state: someOf(['queued', ...TERMINAL_STATES]).optional(),
  model: nameSchema.optional(),
  class: z.enum(JOB_CLASSES).optional(),
  apiKey: z.string().refine(isUuid, 'must be the id of an API key').optional(),
  /** When the job was accepted: inclusive and exclusive. */
  from: instant.optional(),
  to: instant.optional(),
  limit: pageSize(50, 200),
  cursor: cursorField,
});

/**
 * `GET /v1/jobs`: the tenant's recorded jobs, newest first, without outputs. A job that was accepted a moment ago and is
 * not recorded yet is not among them.
 */
export function jobListRoutes({ authentication, store }: JobListRoutesOptions): Router {
  const router = Router();
  router.get('/v1/jobs', async (request, response) => {
    const { tenantId } = await authentication.authenticate(request.headers.authorization);
    const { limit, cursor, ...filters } = validate(querySchema, request.query);
    if (filters.from !== undefined && filters.to !== undefined && filters.from >= filters.to) {
      throw invalidRequest([{ field: 'from', reason: 'must be before "to"' }]);
    }
    const jobs = await store.listJobs({
      tenantId,
      states: filters.state,
      model: filters.model,
      class: filters.class,
      apiKeyId: filters.apiKey,
      fromMs: filters.from,
      toMs: filters.to,
      beforeJobId: cursor === undefined ? undefined : readCursor(cursor, filters, isJobId),
      // One more tells whether there is another page.
      limit: limit + 1,
    });
    const cursorOf = ({ jobId }: JobSummary): string => cursorAfter(jobId, filters);
    sendJson(response, 200, listPage(jobs, limit, { view, cursor: cursorOf }));
  });
  return router;
}

function view(summary: JobSummary) {
  return jobFromRecord({ ...summary, output: undefined, replayedAs: undefined });
}
