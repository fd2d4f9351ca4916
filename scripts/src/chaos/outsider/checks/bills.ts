import type { Entry, Price } from '../books.js';
import { endOf, finalOf, type Evidence, type JobFile } from '../evidence.js';
import type { Check } from '../verdict.js';
import { checkOf, jobOffence } from './check.js';

/** Each terminal entry bills what HTTP shows, at the prices that were in force when the job was accepted. */
export function billsAreRight(evidence: Evidence): Check {
  const { prices } = evidence.books;
  const billed = [...evidence.jobs.values()].filter((job) => endOf(job));
  const offences = billed.flatMap((job) => {
    const end = endOf(job);
    const what = end && (wrongAmount(end, prices) ?? wrongView(job, end));
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const ends = billed.flatMap((job) => endOf(job) ?? []);
  return checkOf(
    'each bill is what HTTP shows and what the prices make of it',
    {
      bills: ends.length,
      'bills above nothing': ends.filter(({ amountNanoUsd }) => amountNanoUsd > 0n).length,
      tokens: ends.reduce((sum, { inputTokens, outputTokens }) => sum + inputTokens + outputTokens, 0),
      'nano-USD': Number(ends.reduce((sum, { amountNanoUsd }) => sum + amountNanoUsd, 0n)),
    },
    offences,
  );
}

function wrongAmount(end: Entry, prices: readonly Price[]): string | undefined {
  const amount = amountOf(end, prices);
  if (amount !== end.amountNanoUsd) return `billed ${end.amountNanoUsd} nano-USD, the prices make ${amount}`;
  const overage = Math.max(0, end.inputTokens + end.outputTokens - end.reservedTokens);
  return end.reservedTokens > 0 && overage !== end.overageTokens
    ? `${end.overageTokens} tokens booked as overage, used were ${overage} beyond the hold`
    : undefined;
}

function wrongView(job: JobFile, end: Entry): string | undefined {
  const { usage, amountNanoUsd = '0' } = finalOf(job) ?? {};
  if (!usage) return 'HTTP shows no usage';
  const shown = [usage.inputTokens, usage.outputTokens, usage.cachedTokens].join(' + ');
  const booked = [end.inputTokens, end.outputTokens, end.cachedTokens].join(' + ');
  if (shown !== booked) return `HTTP shows ${shown} tokens, the ledger bills ${booked}`;
  return amountNanoUsd === end.amountNanoUsd.toString()
    ? undefined
    : `HTTP shows ${amountNanoUsd} nano-USD, the ledger bills ${end.amountNanoUsd}`;
}

const MILLION = 1_000_000n;

/** What the entry costs in nano-USD: expired jobs and unused ones that did not succeed are free; rounded half up, once. */
export function amountOf(end: Entry, prices: readonly Price[]): bigint {
  const { state, inputTokens, outputTokens, cachedTokens } = end;
  const isFree = state === 'expired' || (state !== 'succeeded' && inputTokens + outputTokens === 0);
  if (isFree) return 0n;
  const price = (meter: Price['meter']): bigint =>
    prices.find((one) => one.meter === meter && one.model === end.model && isInForce(one, end.atMs))
      ?.nanoUsdPerMillion ?? 0n;
  const sum =
    BigInt(inputTokens - cachedTokens) * price('input') +
    BigInt(cachedTokens) * price('cached') +
    BigInt(outputTokens) * price('output') +
    price('request');
  return (sum + MILLION / 2n) / MILLION;
}

function isInForce({ fromMs, toMs }: Price, atMs: number): boolean {
  return fromMs <= atMs && (toMs === null || atMs < toMs);
}
