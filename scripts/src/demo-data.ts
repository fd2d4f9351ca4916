import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXAMPLE_DATA } from './paths.js';

export interface DemoText {
  readonly model: 'use-lite-en' | 'guesslang';
  /** The sentence, or the name of the code file. */
  readonly title: string;
  readonly input: string;
}

/** A few hundred real sentences and code files, from examples/data. */
export async function loadDemoTexts(): Promise<readonly DemoText[]> {
  const sentences = await readFile(join(EXAMPLE_DATA, 'sentences.txt'), 'utf8');
  const names = (await readdir(join(EXAMPLE_DATA, 'snippets'))).sort();
  const snippets = names.map(async (name): Promise<DemoText> => {
    const input = await readFile(join(EXAMPLE_DATA, 'snippets', name), 'utf8');
    return { model: 'guesslang', title: name, input };
  });
  return [
    ...sentences
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line): DemoText => ({ model: 'use-lite-en', title: line, input: line })),
    ...(await Promise.all(snippets)),
  ];
}
