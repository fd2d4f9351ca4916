import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { customSchema, kubernetesSchemas } from './schema-files.js';
import { SCHEMAS } from './places.js';

/*
Makes helm/schemas anew. Run by hand when the versions change:

  node scripts/dist/manifests/schemas-main.js <kubernetes> <keda> <prometheus-operator> <gateway-api>

Each is a folder with the sources of that project, such as the Go module k8s.io/kubernetes.
*/
const [kubernetes, keda, prometheusOperator, gatewayApi] = process.argv.slice(2);
if (!kubernetes || !keda || !prometheusOperator || !gatewayApi) {
  throw new Error('say where the sources of kubernetes, keda, prometheus-operator and gateway-api are');
}

const monitoring = join(prometheusOperator, 'example/prometheus-operator-crd/monitoring.coreos.com');
const schemas = [
  ...(await kubernetesSchemas(join(kubernetes, 'api/openapi-spec/swagger.json'))),
  await customSchema(join(keda, 'config/crd/bases/keda.sh_scaledobjects.yaml'), 'v1alpha1'),
  await customSchema(join(keda, 'config/crd/bases/keda.sh_triggerauthentications.yaml'), 'v1alpha1'),
  await customSchema(`${monitoring}_podmonitors.yaml`, 'v1'),
  await customSchema(`${monitoring}_servicemonitors.yaml`, 'v1'),
  await customSchema(`${monitoring}_prometheusrules.yaml`, 'v1'),
  await customSchema(join(gatewayApi, 'config/crd/standard/gateway.networking.k8s.io_httproutes.yaml'), 'v1'),
];
await mkdir(SCHEMAS, { recursive: true });
for (const { file, schema } of schemas) await writeFile(join(SCHEMAS, file), `${JSON.stringify(schema)}\n`);
