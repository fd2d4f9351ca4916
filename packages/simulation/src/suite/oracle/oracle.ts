import { actionsOf } from '../scenario/scenario.js';
import type { World } from '../world.js';
import { createAnswers, type Answers } from './answers.js';
import { checkFinally } from './final-check.js';
import { checkFlows } from './flow-check.js';
import { createChecker, InvariantError } from './invariant.js';
import { createLedgerWatch } from './ledger-watch.js';
import { createRedisWatch } from './redis-watch.js';
import { rulesIn } from './rules.js';

/**
 * Judges a run from what clients were told and what Redis and the ledger hold, by rules of its own: nothing of it is the
 * product's code.
 */
export interface Oracle extends Pick<
  Answers,
  'asked' | 'accepted' | 'refused' | 'leftUnknown' | 'saw' | 'sawState' | 'jobs' | 'kinds'
> {
  /** At Redis, after each command. */
  afterCommand(command: string): void;
  /** At PostgreSQL, after each statement. */
  afterStatement(method: string): void;
  /** A text ran to its end. */
  ran(text: string): void;
  /** An error that is none of the product's own reached a client. */
  internal(error: unknown): void;
  /** What still keeps the suite from being at rest; empty when it is. */
  unrest(): readonly string[];
  /** What must hold at rest. @throws InvariantError. */
  checkFinally(): void;
  /** The suite did not come to rest. @throws InvariantError. */
  stuck(reasons: readonly string[]): void;
  readonly counts: Readonly<Record<string, number>>;
}

export function createOracle(world: World): Oracle {
  const { kernel, quota, store, scenario, rabbit } = world;
  const checker = createChecker();
  const rules = rulesIn(scenario);
  const elapsedMs = (): number => kernel.elapsedMs;
  const answers = createAnswers(checker, elapsedMs);
  const ledger = createLedgerWatch({ store, rules, checker, elapsedMs });
  const redis = createRedisWatch({
    ...{ quota, scenario, rules, checker, elapsedMs },
    redisNowMs: () => world.redisNowMs(),
  });
  const ran = new Set<string>();
  const steadyClock = !actionsOf(scenario).some(({ kind }) => kind === 'redis-clock');

  /** n.b. thrown at a server it would be the answer to a request. */
  function atOnce(look: () => void): void {
    try {
      look();
    } catch (error) {
      kernel.fail(error);
    }
  }

  function unrest(): readonly string[] {
    const reasons: string[] = [];
    if (ledger.open > 0) reasons.push(`${ledger.open} jobs are open in the ledger`);
    const unended = [...answers.jobs].filter((jobId) => !ledger.jobs.get(jobId)?.end);
    if (unended.length > 0) reasons.push(`accepted, and not ended: ${unended.join(', ')}`);
    for (const { tenantId } of scenario.tenants) {
      const holds = quota.inspect(tenantId)?.holds.size ?? 0;
      if (holds > 0) reasons.push(`${tenantId} holds ${holds} jobs in Redis`);
    }
    for (const { name, ready, unacked } of rabbit.queues()) {
      if (ready + unacked > 0) reasons.push(`${name} has ${ready} ready, ${unacked} unacknowledged`);
    }
    if (reasons.length === 0 && !rabbit.idle) reasons.push('messages are under way');
    return reasons;
  }

  return {
    ...answers,
    counts: checker.counts,
    afterCommand: (command) => atOnce(() => redis.afterCommand(command)),
    afterStatement: () => atOnce(() => ledger.afterStatement()),
    ran: (text) => void ran.add(text),
    internal(error) {
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      kernel.fail(new InvariantError('no-internal-error', detail));
    },
    unrest,
    checkFinally() {
      checker.check('nothing-stuck', true, () => '');
      checkFlows({ rules, checker, ledger, firstHeld: redis.firstHeld, steadyClock });
      checkFinally({ world, answers, ledger, checker, ran });
    },
    stuck: (reasons) => checker.check('nothing-stuck', false, () => reasons.join('; ')),
  };
}
