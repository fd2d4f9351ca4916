import { describe, expect, it } from '@jest/globals';
import { useBooks } from './support.js';

const books = useBooks();

const tenantIn = (timeZone: string) => ({ tenantId: 'acme', plan: 'free', timeZone });

describe('the time zone of a tenant', () => {
  it.each([
    ['europe/berlin', 'Europe/Berlin'],
    ['Asia/Kolkata', 'Asia/Kolkata'],
    ['US/Eastern', 'US/Eastern'],
    ['Etc/GMT+5', 'Etc/GMT+5'],
    ['utc', 'UTC'],
    ['GMT', 'UTC'],
    ['Zulu', 'UTC'],
  ])('%s is stored as %s', async (given, stored) => {
    await books.store.upsertTenant(tenantIn(given));
    await books.store.upsertTenant(tenantIn(given));
    expect(await books.store.findTenant('acme')).toMatchObject({ timeZone: stored });
    expect(await books.query('SELECT * FROM v_recon_time_zone')).toEqual([]);
  });

  it.each([
    ...['CET', 'cet', 'EET', 'WET', 'MET', 'EST', 'MST', 'HST', 'BST', 'IST', 'PST', 'JST', 'XYZ5', 'UTC+3', '+03:00'],
    ...['posix/Europe/Berlin', 'localtime', 'Factory', 'Mars/Olympus', ''],
  ])('is not "%s", which PostgreSQL and programs do not understand alike', async (timeZone) => {
    await expect(books.store.upsertTenant(tenantIn(timeZone))).rejects.toMatchObject({
      code: 'invalid_request',
      fields: [{ field: 'timeZone' }],
    });
    await books.store.upsertTenant(tenantIn('Europe/Berlin'));
    await expect(books.store.upsertTenant(tenantIn(timeZone))).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(books.query('UPDATE tenants SET time_zone = $1', [timeZone])).rejects.toThrow();
    expect(await books.store.findTenant('acme')).toMatchObject({ timeZone: 'Europe/Berlin' });
  });

  it('is refused by the database itself, too', async () => {
    const inserting = books.query(`INSERT INTO tenants (tenant_id, plan, time_zone) VALUES ('acme', 'free', 'CET')`);
    await expect(inserting).rejects.toMatchObject({ code: '23514', column: 'time_zone' });
  });

  it('that was taken before is shown, and stays until it is changed', async () => {
    await books.query('ALTER TABLE tenants DISABLE TRIGGER tenants_time_zone_created');
    await books.query(`INSERT INTO tenants (tenant_id, plan, time_zone) VALUES ('acme', 'free', 'CET')`);
    await books.query('ALTER TABLE tenants ENABLE TRIGGER tenants_time_zone_created');
    const found = async () => (await books.store.reconcile()).find(({ view }) => view === 'v_recon_time_zone');
    expect(await found()).toMatchObject({ rows: 1, first: [{ tenant_id: 'acme', time_zone: 'CET' }] });
    await books.store.upsertTenant({ ...tenantIn('CET'), plan: 'team' });
    expect(await books.store.findTenant('acme')).toMatchObject({ plan: 'team', timeZone: 'CET' });
    await books.store.upsertTenant({ ...tenantIn('Europe/Brussels'), plan: 'team' });
    expect(await found()).toMatchObject({ rows: 0 });
  });
});
