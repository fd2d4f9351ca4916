import { trace } from '@opentelemetry/api';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SpanExporter,
} from '@opentelemetry/sdk-trace';
import type { Tracing, TracingOptions } from './open-tracing.js';
import { createOtelTracer } from './otel-tracer.js';
import { createPatientExporter } from './patient-exporter.js';
import type { SamplerName, TracingSettings } from './settings.js';

/** Ended spans that wait to be sent; more are dropped. Some 4 MB. */
const MOST_WAITING = 2_048;
const MOST_AT_ONCE = 512;
const SEND_EVERY_MS = 1_000;
const STOP_WITHIN_MS = 3_000;
/** Of one span. A batch may be linked to as many jobs. */
const MOST_LINKS = 128;
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
  const { settings, serviceName, instanceId, logger } = options;
  const processor = new BatchSpanProcessor({
    exporter: createPatientExporter(exporterOf(settings), logger),
    maxQueueSize: MOST_WAITING,
    maxExportBatchSize: MOST_AT_ONCE,
    scheduledDelayMillis: SEND_EVERY_MS,
  });
  const sdk = new NodeSDK({
    ...ONLY_TRACES,
    sampler: samplerOf(settings.sampler, settings.ratio),
    resource: resourceFromAttributes({
      'service.instance.id': instanceId,
      ...settings.resource,
      'service.name': settings.serviceName ?? settings.resource['service.name'] ?? serviceName,
    }),
    spanLimits: LIMITS,
    spanProcessors: [processor],
  });
  sdk.start();
  let stopping: Promise<void> | undefined;
  return {
    tracer: createOtelTracer(trace.getTracer('sluice')),
    async start() {
      const { sampler, ratio, protocol } = settings;
      logger.info({ sampler, ratio, protocol }, 'jobs are traced');
    },
    stop() {
      stopping ??= atMost(sdk.shutdown(), STOP_WITHIN_MS).then(() => trace.disable());
      return stopping;
    },
  };
}

function exporterOf({ url, protocol }: TracingSettings): SpanExporter {
  switch (protocol) {
    case 'http/json':
      return new JsonExporter({ url });
    case 'http/protobuf':
      return new ProtobufExporter({ url });
    case 'grpc':
      return new GrpcExporter({ url });
    default:
      return protocol satisfies never;
  }
}

function samplerOf(name: SamplerName, ratio: number): Sampler {
  switch (name) {
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
      return name satisfies never;
  }
}

/** Resolves when a promise is settled, or the time is over. */
async function atMost(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise.catch(() => undefined), late]);
  clearTimeout(timer);
}
