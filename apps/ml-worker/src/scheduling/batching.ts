import { isServedText, type ServedModel } from '../models/served-models.js';
import { createCostModel, UNMEASURED, UNMEASURED_TENSORS, type CostModel, type MeasuredCost } from './cost-model.js';

/** Bounds of the batches of a model. The cost model decides within them. */
export interface BatchLimits {
  /** Most tokens of a batch, padding included: longest text × texts. A longer text runs by itself. */
  readonly maxTokens: number;
  /** Most padding of a batch as a share of its tokens, 0 … 1. */
  readonly maxPadding: number;
  /** How long texts that are not interactive wait for company while a process is idle, in milliseconds. */
  readonly maxDelayMs: number;
  /** Longest that several texts may be predicted to take together, in milliseconds. A slower text runs by itself. */
  readonly targetLatencyMs: number;
}

/** How the texts of a model are batched. */
export interface ModelBatching {
  readonly limits: BatchLimits;
  readonly cost: CostModel;
}

/** How each model is batched. */
export interface Batchings {
  /** Limits of the served model within the defaults, and what runs of its version cost. */
  of(served: ServedModel): ModelBatching;
  /** What runs of a version cost; as of a model that was not measured until somebody says otherwise. */
  costOf(key: string): CostModel;
  /** Begins a version with what runs of another one cost by now; nothing happens when that is not known. */
  inherit(key: string, from: string): void;
  /** Forgets what runs of other versions cost. */
  keepOnly(keys: ReadonlySet<string>): void;
  /** By version: the tokens at which a token of a run is cheapest (none: no end), and real over predicted time. */
  detail(): Readonly<Record<string, { readonly bestTokens: number | undefined; readonly correction: number }>>;
}

/** Tensors of different jobs never share a run nor a trip: one text is more than may be in a batch already. */
const BY_ITSELF = { maxTokens: 1, maxDelayMs: 0 } as const;

/** `defaults` are the limits of whatever a model does not say itself. */
export function createBatchings(defaults: BatchLimits): Batchings {
  const costs = new Map<string, CostModel>();
  const known = new WeakMap<ServedModel, ModelBatching>();

  function costOf(key: string, first: MeasuredCost = UNMEASURED): CostModel {
    let cost = costs.get(key);
    if (!cost) costs.set(key, (cost = createCostModel(first)));
    return cost;
  }

  function batchingOf(served: ServedModel): ModelBatching {
    const limits = { ...defaults, ...served.batching };
    if (isServedText(served)) return { limits, cost: costOf(served.key) };
    return { limits: { ...limits, ...BY_ITSELF }, cost: costOf(served.key, UNMEASURED_TENSORS) };
  }

  return {
    costOf: (key) => costOf(key),
    inherit(key, from) {
      const other = costs.get(from);
      if (other) costOf(key).adopt(other.current);
    },
    keepOnly(keys) {
      for (const key of costs.keys()) if (!keys.has(key)) costs.delete(key);
    },
    detail: () => Object.fromEntries([...costs].map(([key, cost]) => [key, detailOf(cost)])),
    of(served) {
      let batching = known.get(served);
      if (!batching) known.set(served, (batching = batchingOf(served)));
      return batching;
    },
  };
}

function detailOf({ bestTokens, correction }: CostModel) {
  const rounded = Number(correction.toPrecision(3));
  return { bestTokens: Number.isFinite(bestTokens) ? Math.round(bestTokens) : undefined, correction: rounded };
}

/** Company must save this part of what a text takes alone; less is not worth waiting for. */
const WORTH_WAITING_FOR = 0.1;

/** Whether a text of this length may, and would save by, sharing a run with another one like it. */
export function companyPays({ limits, cost }: ModelBatching, length: number): boolean {
  const aloneMs = cost.tripMs + cost.runMs(1, length);
  const togetherMs = cost.tripMs + cost.runMs(2, length);
  return (
    togetherMs < aloneMs * (2 - WORTH_WAITING_FOR) &&
    togetherMs <= limits.targetLatencyMs &&
    2 * length <= limits.maxTokens
  );
}

/**
 * Why a batch was closed.
 *
 * - `full`: another text would pass the bound on tokens, the target latency, or the size at which a token is cheapest.
 * - `waste`: more waited, or might have come, but sharing would cost more than it saves or pass the bound on padding.
 * - `delay`: nothing else waited, and its first text was held back for company as long as it may.
 * - `deadline`: nothing else waited, and the class or the deadline of its first text does not let it wait.
 * - `drain`: nothing else waited when a process became idle.
 * - `isolated`: the text runs by itself because a run that it was part of went wrong.
 */
export const BATCH_REASONS = ['full', 'waste', 'delay', 'deadline', 'drain', 'isolated'] as const;
export type BatchReason = (typeof BATCH_REASONS)[number];
