export { compare, type Comparison, type Metric } from './harness/comparison.js';
export { type Round } from './harness/figures.js';
export { formatResult, writeResult, type BenchmarkResult, type CaseResult } from './harness/report.js';
export { type Percentiles, type Spread } from './harness/statistics.js';
export type { BenchmarkOptions } from './harness/benchmark.js';
export { runPipeline } from './pipeline/pipeline.js';
