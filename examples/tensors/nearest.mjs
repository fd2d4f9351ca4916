/**
 * Finds the nearest of some sentences: has the suite make embeddings of them, and gives those to the model `cosine` as tensors.
 *
 * usage: node nearest.mjs (while `npm start` runs; SLUICE_RUN_FILE names another run file)
 */
import { readFile } from 'node:fs/promises';

const runFile = process.env.SLUICE_RUN_FILE ?? new URL('../../.local/run.json', import.meta.url);
const { url, demo } = JSON.parse(await readFile(runFile, 'utf8'));
const headers = { authorization: `Bearer ${demo.key}`, 'content-type': 'application/json' };

/** Submits a job and waits for what comes of it. */
async function run(body) {
  const submitted = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(body) });
  const job = await submitted.json();
  if (submitted.status !== 202) throw new Error(job.detail);
  const ended = await (await fetch(`${url}/v1/jobs/${job.id}?wait=30`, { headers })).json();
  if (ended.state !== 'succeeded') throw new Error(ended.error?.detail ?? ended.state);
  return ended;
}

const query = 'How old are you?';
const sentences = ['The stock market fell sharply.', 'What is your age?', 'It rains.'];
const { output } = await run({ model: 'use-lite-en', input: [query, ...sentences] });
const [first, ...others] = output.embeddings;

const tensor = (name, rows) => ({ name, datatype: 'FP32', shape: [rows.length, rows[0].length], data: rows });
const inputs = [tensor('queries', [first]), tensor('documents', others)];
const { output: found, usage } = await run({ model: 'cosine', inputs });
const [scores, nearest] = found.outputs.map(({ data }) => data);

sentences.forEach((sentence, at) => console.log(`${scores[at].toFixed(3)}  ${sentence}`));
console.log(`nearest to "${query}": ${sentences[nearest[0]]} (${usage.inputTokens} input tokens)`);
