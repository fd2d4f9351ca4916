import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { findPromtool, type Promtool } from '@sluice/local-services';
import { parse } from 'yaml';
import { ROOT } from '../src/paths.js';

const CHART = join(ROOT, 'helm', 'sluice');
const OPERATIONS = join(ROOT, 'docs', '04-operations');
const RULES = join('files', 'alerts.yaml');
const UNIT_TESTS = join('tests', 'alerts', 'alerts.test.yaml');
const DASHBOARD = join('files', 'dashboards', 'sluice-overview.json');

/** What others tell, and docs/04-operations/metrics.md therefore does not list. */
const METRICS_OF_OTHERS = [
  ...['kube_pod_status_ready', 'kube_pod_container_status_restarts_total', 'keda_scaler_detail_errors_total'],
  ...['rabbitmq_queue_messages', 'rabbitmq_alarms_memory_used_watermark', 'rabbitmq_alarms_free_disk_space_watermark'],
];

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr: string }[];
}

const rules = (
  parse(readFileSync(join(CHART, RULES), 'utf8')) as { groups: readonly { rules: readonly Rule[] }[] }
).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(CHART, DASHBOARD), 'utf8')) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

let promtool: Promtool;
beforeAll(async () => {
  promtool = await findPromtool(process.env);
}, 300_000);

/** Metrics that an expression names; of a histogram's series the histogram. */
function metricsOf(expr: string): readonly string[] {
  return [...expr.matchAll(/\b(?:sluice|process|nodejs|rabbitmq|kube|keda)_\w+/g)].map(([name]) =>
    name.replace(/_(bucket|sum|count)$/, ''),
  );
}

function knownMetrics(): ReadonlySet<string> {
  const page = readFileSync(join(OPERATIONS, 'metrics.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name ?? '');
  expect(listed.length).toBeGreaterThan(30);
  return new Set([...listed, ...METRICS_OF_OTHERS]);
}

describe('the alert rules', () => {
  it('fire when they should and only then, by the unit tests that promtool runs', async () => {
    expect(await promtool.run(['test', 'rules', UNIT_TESTS], CHART)).toMatchObject({ ok: true });
  });

  it('each fire in one of these tests', () => {
    const tests = readFileSync(join(CHART, UNIT_TESTS), 'utf8');
    const fired = new Set([...tests.matchAll(/alertname="(\w+)"/g)].map(([, alert]) => alert));
    expect(rules.map(({ alert }) => alert).filter((alert) => !fired.has(alert))).toEqual([]);
    expect(rules.length).toBeGreaterThan(20);
  });

  it('name what is wrong, how urgent it is, and their section of alerting.md, which has no other', () => {
    const page = readFileSync(join(OPERATIONS, 'alerting.md'), 'utf8');
    const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, section]) => section);
    expect(rules.map(({ alert }) => alert).toSorted()).toEqual(sections.toSorted());
    for (const { alert, labels, annotations } of rules) {
      expect(['critical', 'warning']).toContain(labels['severity']);
      expect(annotations).toEqual({
        summary: expect.stringMatching(/\w/),
        description: expect.stringMatching(/\.$/),
        runbook: `docs/04-operations/alerting.md#${alert.toLowerCase()}`,
      });
    }
  });

  it('look at metrics that there are', () => {
    const known = knownMetrics();
    for (const { alert, expr } of rules) {
      const names = metricsOf(expr);
      expect([alert, names.length > 0]).toEqual([alert, true]);
      expect([alert, names.filter((name) => !known.has(name))]).toEqual([alert, []]);
    }
  });
});

describe('the dashboard', () => {
  it('looks at metrics that there are', () => {
    const known = knownMetrics();
    const asked = [...queries, ...dashboard.templating.list.map(({ definition = '' }) => definition)];
    expect(asked.flatMap(metricsOf).filter((name) => !known.has(name))).toEqual([]);
    expect(queries.filter((query) => metricsOf(query).length === 0)).toEqual([]);
  });

  it('has a unit and a description for each panel, and a title of its own', () => {
    for (const { title, description, fieldConfig, targets = [] } of panels) {
      expect([title, description]).toEqual([title, expect.stringMatching(/\.$/)]);
      expect([title, fieldConfig?.defaults.unit]).toEqual([title, expect.stringMatching(/\w/)]);
      expect([title, targets.length > 0]).toEqual([title, true]);
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  it('asks questions that Prometheus understands, with variables that it has', async () => {
    const variables = dashboard.templating.list.map(({ name }) => name);
    expect(variables).toEqual(['datasource', 'namespace', 'pool']);
    const used = queries.flatMap((query) => [...query.matchAll(/\$(\w+)/g)].map(([, name]) => name));
    expect(used.filter((name) => name !== '__rate_interval' && !variables.includes(name ?? ''))).toEqual([]);
    const folder = mkdtempSync(join(tmpdir(), 'sluice-dashboard-'));
    try {
      const asRules = queries.map((query, index) => {
        const expr = query.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, '.*');
        return { record: `query:${index}`, expr };
      });
      writeFileSync(join(folder, 'queries.yaml'), JSON.stringify({ groups: [{ name: 'queries', rules: asRules }] }));
      expect(await promtool.run(['check', 'rules', 'queries.yaml'], folder)).toMatchObject({ ok: true });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
