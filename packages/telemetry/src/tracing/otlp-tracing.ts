import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
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

/** Records spans and posts them over OTLP. Loads the SDK; see `openTracing`. */
export function createOtlpTracing(options: TracingOptions & { readonly settings: TracingSettings }): Tracing {
  const { settings, serviceName, instanceId, logger } = options;
  const processor = new BatchSpanProcessor({
    exporter: createPatientExporter(exporterOf(settings), logger),
    maxQueueSize: MOST_WAITING,
    maxExportBatchSize: MOST_AT_ONCE,
    scheduledDelayMillis: SEND_EVERY_MS,
  });
  const provider = new TracerProvider({
    sampler: samplerOf(settings.sampler, settings.ratio),
    resource: resourceFromAttributes({
      'service.instance.id': instanceId,
      ...settings.resource,
      'service.name': settings.serviceName ?? settings.resource['service.name'] ?? serviceName,
    }),
    spanLimits: { linkCountLimit: MOST_LINKS, attributeValueLengthLimit: MOST_CHARACTERS },
    spanProcessors: [processor],
  });
  let stopping: Promise<void> | undefined;
  return {
    tracer: createOtelTracer(provider.getTracer('sluice')),
    async start() {
      const { sampler, ratio, protocol } = settings;
      logger.info({ sampler, ratio, protocol }, 'jobs are traced');
    },
    stop() {
      stopping ??= atMost(provider.shutdown(), STOP_WITHIN_MS);
      return stopping;
    },
  };
}

function exporterOf({ url, protocol }: TracingSettings): SpanExporter {
  return protocol === 'http/json' ? new JsonExporter({ url }) : new ProtobufExporter({ url });
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
