import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CONFIG_DIR } from '../src/paths.js';

export interface Configuration {
  /** As in `config/plans.yaml`, below `plans`. */
  readonly plans: Readonly<Record<string, unknown>>;
  /** As in `config/prices.yaml`, below `prices`. */
  readonly prices: readonly Readonly<Record<string, unknown>>[];
}

/** The repository's own configuration with other plans and prices, in a folder of its own. JSON is YAML. */
export async function writeConfiguration({ plans, prices }: Configuration): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-config-'));
  await cp(CONFIG_DIR, directory, { recursive: true });
  await writeFile(join(directory, 'plans.yaml'), JSON.stringify({ plans }));
  await writeFile(join(directory, 'prices.yaml'), JSON.stringify({ prices }));
  return directory;
}
