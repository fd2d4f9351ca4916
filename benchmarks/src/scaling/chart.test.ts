import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { drawChart } from './chart.js';
import { RECOMMENDED_POLICY } from './policies.js';
import { SCENARIOS } from './scenarios.js';
import { CURVE_PATH, drawScenario, IMAGE_DIR, imageName, readService } from './scaling.js';
import { study, withDefaults } from './studies.js';

const slices = [0, 60, 120].map((at) => ({ at, jobsPerSecond: at, ready: 1, wanted: 2, p95: 0.2 }));

describe('drawChart', () => {
  it('escapes what it is given and keeps to its frame', () => {
    const svg = drawChart('1 < 2 & "so on"', { slices });
    expect(svg).toContain('1 &lt; 2 &amp; &quot;so on&quot;');
    const drawn = [...svg.matchAll(/[ML]?(\d+\.\d) (-?\d+\.\d)/g)];
    expect(drawn.length).toBeGreaterThan(0);
    for (const [, x] of drawn) expect(Number(x)).toBeLessThanOrEqual(760);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });

  it('can be read on light and on dark pages', () => {
    expect(drawChart('', { slices })).toContain('prefers-color-scheme:dark');
  });
});

describe('the pictures of the documents', () => {
  // The other scenarios take too long for a test; `npm run bench -- scaling` draws all of them.
  it.each(SCENARIOS.filter(({ name }) => name === 'bursts' || name === 'rare'))(
    '$name is what the simulator draws',
    async (scenario) => {
      const outcome = study(scenario, withDefaults(RECOMMENDED_POLICY), await readService(CURVE_PATH));
      expect(readFileSync(`${IMAGE_DIR}/${imageName(scenario)}`, 'utf8')).toBe(drawScenario(scenario, outcome));
    },
    120_000,
  );
});
