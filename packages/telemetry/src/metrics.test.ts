import { describe, expect, it } from '@jest/globals';
import { createMetrics } from './metrics.js';

describe('createMetrics', () => {
  it('renders counters and gauges in the text format of Prometheus', () => {
    const metrics = createMetrics();
    const facts = metrics.counter('facts_total', 'Facts recorded.');
    const drift = metrics.gauge('drift', 'Distance.');
    facts.add();
    facts.add({ type: 'completed' }, 3);
    facts.add({ type: 'completed' });
    drift.set(-2.5, { tenant: 'a', limit: 'x' });
    drift.set(7, { limit: 'x', tenant: 'a' });
    expect(metrics.render()).toBe(
      [
        '# HELP facts_total Facts recorded.',
        '# TYPE facts_total counter',
        'facts_total 1',
        'facts_total{type="completed"} 4',
        '# HELP drift Distance.',
        '# TYPE drift gauge',
        'drift{limit="x",tenant="a"} 7',
        '',
      ].join('\n'),
    );
  });

  it('forgets the samples of a gauge whose labels have gone', () => {
    const metrics = createMetrics();
    const gauge = metrics.gauge('held', 'Held.');
    gauge.set(1, { tenant: 'a' });
    gauge.clear();
    expect(metrics.render()).toBe('# HELP held Held.\n# TYPE held gauge\n');
  });

  it('forgets single samples, which begin at 0 when they come again', () => {
    const metrics = createMetrics();
    const [counter, gauge] = [metrics.counter('runs_total', 'Runs.'), metrics.gauge('held', 'Held.')];
    for (const model of ['a', 'b']) {
      counter.add({ model, outcome: 'good' }, 5);
      gauge.set(5, { model });
    }
    for (const metric of [counter, gauge]) metric.forget((labels) => labels['model'] === 'a');
    counter.add({ outcome: 'good', model: 'a' });
    const samples = metrics
      .render()
      .split('\n')
      .filter((line) => /^\w/.test(line));
    expect(samples).toEqual([
      'runs_total{model="b",outcome="good"} 5',
      'runs_total{model="a",outcome="good"} 1',
      'held{model="b"} 5',
    ]);
  });

  it('escapes what would end a label or a line', () => {
    const metrics = createMetrics();
    metrics.gauge('odd', 'One\nline.').set(1, { name: 'a"b\\c\nd' });
    expect(metrics.render()).toBe('# HELP odd One\\nline.\n# TYPE odd gauge\nodd{name="a\\"b\\\\c\\nd"} 1\n');
  });

  it('refuses a name that is taken or is none', () => {
    const metrics = createMetrics();
    metrics.counter('twice', 'Once.');
    expect(() => metrics.gauge('twice', 'Again.')).toThrow(RangeError);
    expect(() => metrics.gauge('two words', 'No.')).toThrow(RangeError);
  });
});
