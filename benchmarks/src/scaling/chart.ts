import type { Outcome, Slice } from './tally.js';

/** A line of a picture. */
interface Line {
  readonly name: string;
  readonly kind: 'first' | 'second';
  readonly of: (slice: Slice) => number;
  /** Steps instead of slopes: for what changes at once. */
  readonly steps?: boolean;
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
}

const PANELS: readonly Panel[] = [
  { title: 'jobs/s', lines: [{ name: 'arrivals', kind: 'first', of: ({ jobsPerSecond }) => jobsPerSecond }] },
  {
    title: 'workers',
    lines: [
      { name: 'wanted', kind: 'second', of: ({ wanted }) => wanted, steps: true },
      { name: 'ready', kind: 'first', of: ({ ready }) => ready, steps: true },
    ],
  },
  { title: 'wait of interactive jobs, p95, s', lines: [{ name: 'p95', kind: 'first', of: ({ p95 }) => p95 }] },
];

const WIDTH = 760;
const LEFT = 56;
const RIGHT = 16;
const TOP = 34;
const PANEL_HEIGHT = 96;
const GAP = 34;
const HEIGHT = TOP + PANELS.length * (PANEL_HEIGHT + GAP) + 6;

// A picture in a page knows what the reader prefers; colours keep a contrast of at least 4.5 on white and on near black.
const STYLE = [
  'text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.axis{stroke:#6e7781;stroke-width:1}',
  '.first{stroke:#0550ae;fill:none;stroke-width:1.6}.second{stroke:#bc4c00;fill:none;stroke-width:1.6;stroke-dasharray:4 3}',
  '.firstName{fill:#0550ae}.secondName{fill:#bc4c00}',
  '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#8b949e}.first{stroke:#79c0ff}.second{stroke:#ffa657}',
  '.firstName{fill:#79c0ff}.secondName{fill:#ffa657}}',
].join('');

/** What came of a simulation over its time, as an SVG that needs nothing else. The same outcome gives the same text. */
export function drawChart(title: string, { slices }: Pick<Outcome, 'slices'>): string {
  const seconds = (slices[1]?.at ?? 0) * slices.length;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="${LEFT}" y="16">${escape(title)}</text>`,
    ...PANELS.flatMap((panel, at) => drawPanel(panel, TOP + at * (PANEL_HEIGHT + GAP), slices)),
    ...drawTimes(seconds),
    '</svg>',
    '',
  ].join('\n');
}

function drawPanel({ title, lines }: Panel, top: number, slices: readonly Slice[]): readonly string[] {
  const bottom = top + PANEL_HEIGHT;
  const most = roundUp(Math.max(...slices.flatMap((slice) => lines.map(({ of }) => of(slice)))));
  const yOf = (value: number): string => (bottom - (value / most) * (PANEL_HEIGHT - 18)).toFixed(1);
  return [
    `<text x="${LEFT + 6}" y="${top + 10}">${escape(title)}</text>`,
    ...legend(lines, top + 10),
    `<line class="axis" x1="${LEFT}" y1="${bottom}" x2="${WIDTH - RIGHT}" y2="${bottom}"/>`,
    `<line class="axis" x1="${LEFT}" y1="${yOf(most)}" x2="${LEFT}" y2="${bottom}"/>`,
    `<text x="${LEFT - 6}" y="${bottom}" text-anchor="end">0</text>`,
    `<text x="${LEFT - 6}" y="${Number(yOf(most)) + 9}" text-anchor="end">${most.toLocaleString('en-US')}</text>`,
    ...lines.map(({ kind, of, steps }) => `<path class="${kind}" d="${pathOf(slices.map(of), yOf, steps ?? false)}"/>`),
  ];
}

function legend(lines: readonly Line[], y: number): readonly string[] {
  if (lines.length < 2) return [];
  return lines.map(
    ({ name, kind }, at) =>
      `<text class="${kind}Name" x="${WIDTH - RIGHT - 70 * (lines.length - at) + 60}" y="${y}" text-anchor="end">${name}</text>`,
  );
}

function pathOf(values: readonly number[], yOf: (value: number) => string, steps: boolean): string {
  const width = (WIDTH - LEFT - RIGHT) / values.length;
  return values
    .map((value, at) => {
      const x = (LEFT + at * width).toFixed(1);
      if (at === 0) return `M${x} ${yOf(value)}`;
      return steps ? `H${x}V${yOf(value)}` : `L${x} ${yOf(value)}`;
    })
    .join('');
}

function drawTimes(seconds: number): readonly string[] {
  const parts = 6;
  return Array.from({ length: parts + 1 }, (_, at) => {
    const x = LEFT + (at * (WIDTH - LEFT - RIGHT)) / parts;
    const anchor = at === parts ? 'end' : 'middle';
    return `<text x="${x.toFixed(1)}" y="${HEIGHT - 14}" text-anchor="${anchor}">${Math.round((at * seconds) / parts / 60)} min</text>`;
  });
}

/** 1, 2 or 5 times a power of ten, at least as large. */
function roundUp(value: number): number {
  for (let power = 0.1; ; power *= 10) {
    const found = [1, 2, 5, 10].map((digit) => Number((digit * power).toPrecision(1))).find((edge) => edge >= value);
    if (found !== undefined) return found;
  }
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
