import { describe, expect, it } from '@jest/globals';
import { MigrationError, missingMigrations } from './migrations.js';

const files = ['0001_a.sql', '0002_b.sql', '0003_c.sql'].map((name) => ({ name, checksum: `of ${name}` }));

describe('missingMigrations', () => {
  it('returns what was not applied, in order', () => {
    expect(missingMigrations(files, [])).toEqual(files);
    expect(missingMigrations(files, files.slice(0, 1))).toEqual(files.slice(1));
    expect(missingMigrations(files, files)).toEqual([]);
  });

  it('leaves migrations of a newer program alone', () => {
    expect(missingMigrations(files, [...files, { name: '0004_d.sql', checksum: 'x' }])).toEqual([]);
  });

  it('refuses an edited file and names it', () => {
    const applied = [{ name: '0002_b.sql', checksum: 'other' }];
    expect(() => missingMigrations(files, applied)).toThrow(MigrationError);
    expect(() => missingMigrations(files, applied)).toThrow(/0002_b\.sql was edited/);
  });

  it('refuses a new file that sorts before an applied one', () => {
    expect(() => missingMigrations(files, files.slice(1, 2))).toThrow(
      /0001_a\.sql is new but sorts before 0002_b\.sql/,
    );
  });
});
