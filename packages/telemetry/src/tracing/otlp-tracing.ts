import { diag, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SpanExporter,
} from '@opentelemetry/sdk-trace';
import { createBoundedProcessor } from './bounded-processor.js';
import { createLostSpans } from './lost-spans.js';
import type { Tracing, TracingOptions } from './open-tracing.js';
import { createOtelTracer } from './otel-tracer.js';
import { createPatientExporter } from './patient-exporter.js';
import { listenToSdk } from './sdk-diagnostics.js';
import type { TracingSettings } from './settings.js';
import { MOST_LINKS } from './tracer.js';

const STOP_WITHIN_MS = 3_000;
const MOST_CHARACTERS = 1_024;

const LIMITS = {
  linkCountLimit: MOST_LINKS,
  attributeValueLengthLimit: MOST_CHARACTERS,
  // n.b. what is absent here the SDK takes from variables that nobody checks.
  ...{ attributeCountLimit: 128, eventCountLimit: 128 },
  ...{ attributePerEventCountLimit: 128, attributePerLinkCountLimit: 128 },
};

/** Left to itself the SDK would send metrics and logs as well, look at the machine it is on, and carry an active context about. */
const ONLY_TRACES: Partial<NodeSDKConfiguration> = {
  autoDetectResources: false,
  instrumentations: [],
  metricReaders: [],
  logRecordProcessors: [],
  textMapPropagator: null,
  // n.b. its types do not know that null means none.
  contextManager: null as never,
};

/**
 * Records spans and sends them over OTLP. Loads the SDK; see `openTracing`. The SDK registers itself for the whole process, so there is
 * one of these at a time: the next one after `stop`.
 */
export function createOtlpTracing(options: TracingOptions & { readonly settings: TracingSettings }): Tracing {
  const { settings, serviceName, instanceId, begins, logger } = options;
  const lost = createLostSpans(logger);
  const exporter = createPatientExporter({ exporter: exporterOf(settings), timeoutMs: settings.timeoutMs, lost });
  const processor = createBoundedProcessor(exporter, lost);
  const sdk = new NodeSDK({
    ...ONLY_TRACES,
    sampler: begins ? samplerOf(settings) : samplerOf(FOLLOWING),
    resource: resourceFromAttributes({
      'service.instance.id': instanceId,
      ...settings.resource,
      'service.name': settings.serviceName ?? settings.resource['service.name'] ?? serviceName,
    }),
    spanLimits: LIMITS,
    spanProcessors: [processor],
  });
  listenToSdk(logger, lost);
  sdk.start();
  const { sampler, ratio, protocol } = settings;
  logger.info({ ...(begins && { sampler, ratio }), protocol }, 'jobs are traced');
  let stopping: Promise<void> | undefined;
  return {
    tracer: createOtelTracer(trace.getTracer('sluice')),
    stop(withinMs = STOP_WITHIN_MS) {
      stopping ??= atMost(sdk.shutdown(), withinMs).then(() => {
        exporter.giveUp();
        processor.giveUp();
        lost.tellRest();
        trace.disable();
        diag.disable();
      });
      return stopping;
    },
  };
}

function exporterOf({ url, protocol, timeoutMs: timeoutMillis }: TracingSettings): SpanExporter {
  switch (protocol) {
    case 'http/json':
      return new JsonExporter({ url, timeoutMillis });
    case 'http/protobuf':
      return new ProtobufExporter({ url, timeoutMillis });
    case 'grpc':
      return new GrpcExporter({ url, timeoutMillis });
    default:
      return protocol satisfies never;
  }
}

/** Of programs that jobs come to from the gateway, which has decided. */
const FOLLOWING = { sampler: 'parentbased_always_off', ratio: 0 } as const;

function samplerOf({ sampler, ratio }: Pick<TracingSettings, 'sampler' | 'ratio'>): Sampler {
  switch (sampler) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio);
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
    default:
      return sampler satisfies never;
  }
}

/** Resolves when a promise is settled, or the time is over. */
async function atMost(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise.catch(() => undefined), late]);
  clearTimeout(timer);
}
