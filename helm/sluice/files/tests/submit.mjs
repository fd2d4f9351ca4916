// What `helm test` runs, in the gateway's image: a tenant of its own submits a job and waits for its end. Exits with 1 and says why.
const { GATEWAY_URL, SLUICE_ADMIN_KEY, TENANT, PLAN, MODEL, INPUT, TIMEOUT_SECONDS } = process.env;
const deadline = Date.now() + Number(TIMEOUT_SECONDS) * 1000;

async function ask(method, path, { key, body, headers = {} }) {
  const response = await fetch(new URL(path, GATEWAY_URL), {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(45_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

async function endOf(id, key) {
  while (Date.now() < deadline) {
    const job = await ask('GET', `/v1/jobs/${id}?wait=30`, { key });
    if (!['queued', 'running'].includes(job.state)) return job;
    console.log(`job ${id} is ${job.state}`);
  }
  throw new Error(`job ${id} had not ended after ${TIMEOUT_SECONDS} s`);
}

if (!SLUICE_ADMIN_KEY) throw new Error('the test needs the admin key of the gateway (gateway.existingSecret.adminKey)');
await ask('PUT', `/v1/admin/tenants/${TENANT}`, { key: SLUICE_ADMIN_KEY, body: { plan: PLAN } });
const apiKey = await ask('POST', `/v1/admin/tenants/${TENANT}/keys`, {
  key: SLUICE_ADMIN_KEY,
  body: { name: 'helm test' },
});
try {
  const job = await ask('POST', '/v1/jobs', { key: apiKey.key, body: { model: MODEL, input: INPUT } });
  const end = await endOf(job.id, apiKey.key);
  console.log(JSON.stringify(end, null, 2));
  if (end.state !== 'succeeded') throw new Error(`job ${job.id} ended ${end.state}`);
} finally {
  await ask('DELETE', `/v1/admin/keys/${apiKey.id}`, { key: SLUICE_ADMIN_KEY });
}
