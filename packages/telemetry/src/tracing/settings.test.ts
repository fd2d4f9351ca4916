import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { tracingEnvironment, tracingVariables } from './settings.js';

const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://collector:4318';

function settings(environment: Readonly<Record<string, string>>) {
  return tracingEnvironment.parse(environment).tracing;
}

describe('settings of tracing', () => {
  it.each([
    ['without an endpoint', { OTEL_TRACES_SAMPLER: 'always_on' }],
    ['disabled', { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: 'true' }],
    ['without an exporter', { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER: 'none' }],
  ])('are off %s', (_how, environment) => {
    expect(settings(environment)).toBeUndefined();
  });

  it('record one trace of a hundred and follow the sampling of parents by default', () => {
    expect(settings({ OTEL_EXPORTER_OTLP_ENDPOINT })).toEqual({
      url: 'http://collector:4318/v1/traces',
      protocol: 'http/protobuf',
      timeoutMs: 10_000,
      sampler: 'parentbased_traceidratio',
      ratio: 0.01,
      serviceName: undefined,
      resource: {},
    });
  });

  it('put those of traces before those of all signals, and take their URL as it is', () => {
    const traces = {
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces.example/otlp',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
    };
    expect(settings({ OTEL_EXPORTER_OTLP_ENDPOINT, ...traces })).toMatchObject({
      url: 'https://traces.example/otlp',
      protocol: 'http/json',
    });
  });

  it('name the server alone over gRPC', () => {
    const grpc = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
    expect(settings(grpc)).toMatchObject({ url: 'http://collector:4317', protocol: 'grpc' });
  });

  it('read attributes of the resource', () => {
    const OTEL_RESOURCE_ATTRIBUTES = 'deployment.environment.name=test, team=a%2Cb%3D';
    expect(settings({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_RESOURCE_ATTRIBUTES })?.resource).toEqual({
      'deployment.environment.name': 'test',
      team: 'a,b=',
    });
  });

  it('refuse every wrong value at once, by its name', () => {
    const wrong = {
      OTEL_SDK_DISABLED: 'perhaps',
      OTEL_TRACES_EXPORTER: 'zipkin',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'grpc://collector',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'thrift',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http',
      OTEL_TRACES_SAMPLER: 'sometimes',
      OTEL_TRACES_SAMPLER_ARG: '1.5',
      OTEL_RESOURCE_ATTRIBUTES: 'team',
      OTEL_EXPORTER_OTLP_TIMEOUT: 'soon',
      OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '0',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'zstd',
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/no/such/file.pem',
      OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: '/no/such/key.pem',
    };
    const { error } = tracingEnvironment.safeParse(wrong);
    expect(error?.issues.map(({ path }) => path[0]).sort()).toEqual(Object.keys(wrong).sort());
    for (const ratio of ['-1', '', '0x', 'NaN', 'half', '1e3']) {
      const { error } = tracingEnvironment.safeParse({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG: ratio });
      expect(error?.issues.map(({ path }) => path)).toEqual([['OTEL_TRACES_SAMPLER_ARG']]);
    }
    const query = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/?token=x' };
    expect(tracingEnvironment.safeParse(query).error?.issues[0]?.message).toContain('without a query');
  });

  it('are not looked at while nothing is traced', () => {
    const OTEL_EXPORTER_OTLP_PROTOCOL = 'thrift';
    expect(settings({ OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_TRACES_SAMPLER: 'jaeger_remote' })).toBeUndefined();
    expect(
      settings({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_SDK_DISABLED: 'TRUE' }),
    ).toBeUndefined();
  });

  it('may be written as numbers and lists usually are', () => {
    const variables = {
      OTEL_TRACES_SAMPLER_ARG: '1e-3',
      OTEL_RESOURCE_ATTRIBUTES: 'a=b,',
      OTEL_EXPORTER_OTLP_TIMEOUT: '2500',
    };
    expect(settings({ OTEL_EXPORTER_OTLP_ENDPOINT, ...variables })).toMatchObject({
      ratio: 0.001,
      resource: { a: 'b' },
      timeoutMs: 2500,
    });
  });

  it('are exactly those that docs/configuration.md lists', () => {
    const page = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
    const [, section = ''] = page.split('\n## Tracing\n');
    const [table = ''] = section.split('\n## ');
    const documented = [...table.matchAll(/^\| `(OTEL_\w+)`/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(Object.keys(tracingVariables.shape).sort());
  });
});
