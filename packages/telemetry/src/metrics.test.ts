import { describe, expect, it } from '@jest/globals';
import { createMetrics } from './metrics.js';

describe('createMetrics', () => {
  it('renders counters and gauges in the text format of Prometheus', () => {
    const metrics = createMetrics();
    const facts = metrics.counter('facts_total', 'Facts recorded.', ['type']);
    const drift = metrics.gauge('drift', 'Distance.', ['tenant', 'limit']);
    const rounds = metrics.counter('rounds_total', 'Rounds.');
    metrics.gauge('full', 'How full.').set(Infinity);
    facts.of({ type: 'completed' }).add(3);
    facts.of({ type: 'completed' }).add();
    drift.of({ tenant: 'a', limit: 'x' }).set(-2.5);
    drift.of({ limit: 'x', tenant: 'a' }).set(7);
    rounds.add(-1);
    rounds.add(NaN);
    expect(metrics.render()).toBe(
      [
        '# HELP facts_total Facts recorded.',
        '# TYPE facts_total counter',
        'facts_total{type="completed"} 4',
        '# HELP drift Distance.',
        '# TYPE drift gauge',
        'drift{limit="x",tenant="a"} 7',
        '# HELP rounds_total Rounds.',
        '# TYPE rounds_total counter',
        'rounds_total 0',
        '# HELP full How full.',
        '# TYPE full gauge',
        'full +Inf',
        '',
      ].join('\n'),
    );
  });

  it('renders histograms with all values that are no larger than each bound', () => {
    const metrics = createMetrics();
    const plain = metrics.histogram('took_seconds', 'Time.', [0.1, 1]);
    metrics.histogram('size', 'Size.', [2], ['model']).of({ model: 'a' }).observe(3);
    for (const value of [0.1, 0.5, 1.5, -2, NaN]) plain.observe(value);
    expect(metrics.render()).toBe(
      [
        '# HELP took_seconds Time.',
        '# TYPE took_seconds histogram',
        'took_seconds_bucket{le="0.1"} 3',
        'took_seconds_bucket{le="1"} 4',
        'took_seconds_bucket{le="+Inf"} 5',
        'took_seconds_sum 2.1',
        'took_seconds_count 5',
        '# HELP size Size.',
        '# TYPE size histogram',
        'size_bucket{model="a",le="2"} 0',
        'size_bucket{model="a",le="+Inf"} 1',
        'size_sum{model="a"} 3',
        'size_count{model="a"} 1',
        '',
      ].join('\n'),
    );
  });

  it('looks up what is only shown when somebody asks', () => {
    const metrics = createMetrics();
    const size = metrics.gauge('size', 'Size.');
    let now = 3;
    metrics.beforeRender(() => size.set(now));
    const first = metrics.render();
    now = 4;
    expect([first, metrics.render()]).toEqual([
      expect.stringContaining('size 3\n'),
      expect.stringContaining('size 4\n'),
    ]);
  });

  it('forgets the samples of a metric whose labels have gone, and goes on telling the names of its labels', () => {
    const metrics = createMetrics();
    const gauge = metrics.gauge('held', 'Held.', ['tenant', 'kind']);
    gauge.of({ tenant: 'a', kind: 'b' }).set(1);
    gauge.clear();
    expect(metrics.render()).toBe('# HELP held Held.\n# TYPE held gauge\n# held{kind,tenant} has no samples\n');
  });

  it('forgets single samples, which begin at 0 when they come again', () => {
    const metrics = createMetrics();
    const counter = metrics.counter('runs_total', 'Runs.', ['model', 'outcome']);
    const gauge = metrics.gauge('held', 'Held.', ['model']);
    for (const model of ['a', 'b']) {
      counter.of({ model, outcome: 'good' }).add(5);
      gauge.of({ model }).set(5);
    }
    for (const metric of [counter, gauge]) metric.forget(({ model }) => model === 'a');
    counter.of({ outcome: 'good', model: 'a' }).add();
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
    const odd = metrics.gauge('odd', 'One\nline.', ['name']);
    odd.of({ name: 'a"b\\c\nd' }).set(1);
    expect(metrics.render()).toBe('# HELP odd One\\nline.\n# TYPE odd gauge\nodd{name="a\\"b\\\\c\\nd"} 1\n');
  });

  it('refuses a name that is taken or is none, and bounds that do not ascend', () => {
    const metrics = createMetrics();
    metrics.counter('twice', 'Once.');
    expect(() => metrics.gauge('twice', 'Again.')).toThrow(RangeError);
    expect(() => metrics.gauge('two words', 'No.')).toThrow(RangeError);
    expect(() => metrics.gauge('labelled', 'No.', ['two words'])).toThrow(RangeError);
    expect(() => metrics.histogram('falling', 'No.', [2, 1])).toThrow(RangeError);
  });
});
