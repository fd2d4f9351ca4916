/**
 * Runs sessions for the tests in a process of its own, as applications do: ONNX Runtime blocks its process, and inside
 * a test environment its checks of typed arrays would fail.
 *
 * Request `{ id, repository, name, version, batches: Int32Array[][] }`, answer `{ id, rows: Float32Array[] }` or
 * `{ id, code, detail }`.
 */
import { openModelRepository } from '@sluice/models';
import { openSession } from '@sluice/models/session';

const sessions = new Map();

function sessionOf({ repository, name, version }) {
  const key = JSON.stringify([repository, name, version]);
  if (!sessions.has(key)) sessions.set(key, open(repository, name, version));
  return sessions.get(key);
}

async function open(repository, name, version) {
  const models = await openModelRepository(repository);
  return openSession(await models.find(name, version), { threads: 1 });
}

async function answer(request) {
  const session = await sessionOf(request);
  const rows = [];
  for (const batch of request.batches) rows.push(await session.run(batch));
  return rows;
}

process.on('message', (request) => {
  answer(request).then(
    (rows) => process.send({ id: request.id, rows }),
    (error) => process.send({ id: request.id, code: error.code ?? 'unknown', detail: error.message }),
  );
});
