import { startFloor } from '../floor/floor.js';
import { openBooks } from './books.js';
import { JOB_BODY, TENANT_IDS, type Side } from './side.js';

/** Starts the no-frills pipeline. */
export async function startFloorSide(environment: Readonly<Record<string, string>>): Promise<Side> {
  const floor = await startFloor({ environment, tenantIds: TENANT_IDS });
  const books = await openBooks(floor.postgresUrl, 'sql/floor-billed.sql');
  return {
    name: 'floor',
    url: floor.url,
    roles: Object.fromEntries(Object.entries(floor.pids).map(([role, pid]) => [role, [pid]])),
    templates: TENANT_IDS.map((tenantId) => ({
      headers: { 'content-type': 'application/json', 'x-tenant': tenantId },
      body: JOB_BODY,
    })),
    books,
    async stop() {
      await books.close();
      await floor.stop();
    },
  };
}
