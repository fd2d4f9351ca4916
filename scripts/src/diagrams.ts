import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Graphviz } from '@hpcc-js/wasm-graphviz';

export interface Diagram {
  /** Where the picture belongs. */
  readonly path: string;
  readonly svg: string;
}

/** Draws every `.dot` file of a folder (Graphviz' language) as SVG of the same name; the same text gives the same bytes everywhere. */
export async function drawDiagrams(folder: string): Promise<readonly Diagram[]> {
  const graphviz = await Graphviz.load();
  const sources = (await readdir(folder)).filter((name) => name.endsWith('.dot')).sort();
  return Promise.all(
    sources.map(async (name) => ({
      path: join(folder, name.replace(/\.dot$/, '.svg')),
      svg: graphviz.dot(await readFile(join(folder, name), 'utf8')),
    })),
  );
}

export async function writeDiagrams(folder: string): Promise<void> {
  for (const { path, svg } of await drawDiagrams(folder)) await writeFile(path, svg);
}
