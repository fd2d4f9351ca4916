import { accessSync, constants } from 'node:fs';
import { z } from 'zod';

export const PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;
export type SamplerName = (typeof SAMPLERS)[number];

/** Of the traces that begin here; n.b. the SDK's own default is all of them. */
const DEFAULT_RATIO = 0.01;

/** Where traces go, and which. */
export interface TracingSettings {
  /** Full URL that spans are posted to; over gRPC the server alone. */
  readonly url: string;
  readonly protocol: Protocol;
  /** How long a batch may take to be sent, all attempts together. */
  readonly timeoutMs: number;
  readonly sampler: SamplerName;
  /** Of the samplers that have one, 0 … 1. */
  readonly ratio: number;
  /** The program's own name when absent. */
  readonly serviceName: string | undefined;
  readonly resource: Readonly<Record<string, string>>;
}

const boolean = z.stringbool({ truthy: ['true'], falsy: ['false'] });
const url = z
  .url({ protocol: /^https?$/ })
  .refine((text) => !/[?#]/.test(text), 'must be a URL without a query, for a path is put behind it');
const protocol = z.enum(PROTOCOLS);
const timeoutMs = z
  .string()
  .refine((text) => /^\d{1,9}$/.test(text) && Number(text) > 0, 'must be a number of milliseconds')
  .transform(Number);
const compression = z.enum(['none', 'gzip']);
const file = z.string().refine(isReadable, 'must name a file that can be read');

/** What OpenTelemetry's specification calls them. The exporter reads headers, certificates and the compression by itself. */
export const tracingVariables = z.object({
  OTEL_SDK_DISABLED: boolean.default(false),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none']).default('otlp'),
  OTEL_EXPORTER_OTLP_ENDPOINT: url.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url.optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol.default('http/protobuf'),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol.optional(),
  OTEL_EXPORTER_OTLP_TIMEOUT: timeoutMs.default(10_000),
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: timeoutMs.optional(),
  OTEL_EXPORTER_OTLP_COMPRESSION: compression.optional(),
  OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: compression.optional(),
  OTEL_EXPORTER_OTLP_CERTIFICATE: file.optional(),
  OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: file.optional(),
  OTEL_EXPORTER_OTLP_CLIENT_KEY: file.optional(),
  OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: file.optional(),
  OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: file.optional(),
  OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE: file.optional(),
  OTEL_TRACES_SAMPLER: z.enum(SAMPLERS).default('parentbased_traceidratio'),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .refine((text) => /^[\d.]/.test(text) && Number(text) <= 1, 'must be a number from 0 to 1')
    .transform(Number)
    .default(DEFAULT_RATIO),
  OTEL_SERVICE_NAME: z.string().max(255).optional(),
  OTEL_RESOURCE_ATTRIBUTES: z.string().transform(resourceOf).optional(),
});

/** What decides whether anything is traced. */
const SWITCHES = z.object({
  OTEL_SDK_DISABLED: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.string().optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.string().optional(),
});

/**
 * The variables as settings; `tracing` is undefined when nothing is to be traced. For `parseEnvironment`. n.b. they are often set for a
 * whole cluster: a program that traces nothing looks at none of the others.
 */
export const tracingEnvironment = z
  .looseObject(SWITCHES.shape)
  .transform((environment, context): { tracing: TracingSettings | undefined } => {
    if (isOff(environment)) return { tracing: undefined };
    const { data, error } = tracingVariables.safeParse(environment);
    if (data) return { tracing: settingsOf(data) };
    for (const { path, message } of error.issues) context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  });

function isOff(environment: z.infer<typeof SWITCHES>): boolean {
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = environment;
  return (
    environment.OTEL_SDK_DISABLED?.toLowerCase() === 'true' ||
    environment.OTEL_TRACES_EXPORTER === 'none' ||
    (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? OTEL_EXPORTER_OTLP_ENDPOINT) === undefined
  );
}

function settingsOf(env: z.infer<typeof tracingVariables>): TracingSettings | undefined {
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? env.OTEL_EXPORTER_OTLP_PROTOCOL;
  const url = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? tracesUrl(env.OTEL_EXPORTER_OTLP_ENDPOINT, protocol);
  return url === undefined
    ? undefined
    : {
        url,
        protocol,
        timeoutMs: env.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT ?? env.OTEL_EXPORTER_OTLP_TIMEOUT,
        sampler: env.OTEL_TRACES_SAMPLER,
        ratio: env.OTEL_TRACES_SAMPLER_ARG,
        serviceName: env.OTEL_SERVICE_NAME,
        resource: env.OTEL_RESOURCE_ATTRIBUTES ?? {},
      };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** n.b. the endpoint of all signals is a base, that of traces the URL itself. gRPC knows no paths. */
function tracesUrl(base: string | undefined, protocol: Protocol): string | undefined {
  if (base === undefined || protocol === 'grpc') return base;
  return `${base.replace(/\/+$/, '')}/v1/traces`;
}

/** `key=value,key=value`, values percent-encoded. */
function resourceOf(text: string, context: z.RefinementCtx): Readonly<Record<string, string>> {
  const given = text.split(',').filter((entry) => entry.trim() !== '');
  const entries = given.map((entry) => /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(entry));
  try {
    return Object.fromEntries(
      entries.map((match) => {
        if (!match) throw new URIError();
        const [, key = '', value = ''] = match;
        return [key, decodeURIComponent(value)];
      }),
    );
  } catch {
    context.addIssue({ code: 'custom', message: 'must be key=value pairs separated by commas, percent-encoded' });
    return z.NEVER;
  }
}
