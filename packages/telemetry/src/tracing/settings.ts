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
  readonly sampler: SamplerName;
  /** Of the samplers that have one, 0 … 1. */
  readonly ratio: number;
  /** The program's own name when absent. */
  readonly serviceName: string | undefined;
  readonly resource: Readonly<Record<string, string>>;
}

const boolean = z.stringbool({ truthy: ['true'], falsy: ['false'] });
const url = z.url({ protocol: /^https?$/ });
const protocol = z.enum(PROTOCOLS);

/** What OpenTelemetry's specification calls them. The exporter reads headers, certificates and its timeout itself. */
export const tracingVariables = z.object({
  OTEL_SDK_DISABLED: boolean.default(false),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none']).default('otlp'),
  OTEL_EXPORTER_OTLP_ENDPOINT: url.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url.optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol.default('http/protobuf'),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol.optional(),
  OTEL_TRACES_SAMPLER: z.enum(SAMPLERS).default('parentbased_traceidratio'),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .refine((text) => /^\d*\.?\d+$/.test(text) && Number(text) <= 1, 'must be a number from 0 to 1')
    .transform(Number)
    .default(DEFAULT_RATIO),
  OTEL_SERVICE_NAME: z.string().max(255).optional(),
  OTEL_RESOURCE_ATTRIBUTES: z.string().transform(resourceOf).optional(),
});

/** The variables as settings; `tracing` is undefined when nothing is to be traced. For `parseEnvironment`. */
export const tracingEnvironment = tracingVariables.transform((env): { tracing: TracingSettings | undefined } => {
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? env.OTEL_EXPORTER_OTLP_PROTOCOL;
  const url = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? tracesUrl(env.OTEL_EXPORTER_OTLP_ENDPOINT, protocol);
  if (env.OTEL_SDK_DISABLED || env.OTEL_TRACES_EXPORTER === 'none' || url === undefined) return { tracing: undefined };
  return {
    tracing: {
      url,
      protocol,
      sampler: env.OTEL_TRACES_SAMPLER,
      ratio: env.OTEL_TRACES_SAMPLER_ARG,
      serviceName: env.OTEL_SERVICE_NAME,
      resource: env.OTEL_RESOURCE_ATTRIBUTES ?? {},
    },
  };
});

/** n.b. the endpoint of all signals is a base, that of traces the URL itself. gRPC knows no paths. */
function tracesUrl(base: string | undefined, protocol: Protocol): string | undefined {
  if (base === undefined || protocol === 'grpc') return base;
  return `${base.replace(/\/+$/, '')}/v1/traces`;
}

/** `key=value,key=value`, values percent-encoded. */
function resourceOf(text: string, context: z.RefinementCtx): Readonly<Record<string, string>> {
  const entries = text.split(',').map((entry) => /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(entry));
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
