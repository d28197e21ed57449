// Charts as SVG: bars, a curve over time, ranks against frequencies.
//
// It deliberately knows no job. What would surprise: a chart is drawn again whenever its place changes its width, in
// pixels as they are, so that its text is as large on a phone as elsewhere.

import { make } from './elements.js';
import { digits } from './shown.js';

const HEIGHT = 200;
const [LEFT, RIGHT, TOP, BOTTOM] = [72, 12, 10, 34];

const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [attribute, value] of Object.entries(attributes)) {
    element.setAttribute(attribute, typeof value === 'number' ? Math.round(value * 10) / 10 : value);
  }
  element.append(...children);
  return element;
};

const compact = (number) => number.toLocaleString('en', { notation: 'compact' });

const text = (x, y, content, anchor = 'middle') => svg('text', { x, y, 'text-anchor': anchor }, content);

// A figure with its caption. `draw` gets the data and the width and returns shapes; `told` says the data in words.
export const chart = (caption, draw, told) => {
  const drawing = svg('svg', { role: 'img', height: HEIGHT, width: '100%' });
  const words = make('figcaption');
  const element = make('figure', { class: 'chart' }, make('h3', {}, caption), drawing, words);
  let data = null;
  const redraw = () => {
    const width = drawing.getBoundingClientRect().width;
    if (data !== null && width > 0) {
      drawing.replaceChildren(...draw(data, width));
    }
  };
  new ResizeObserver(redraw).observe(element);
  const show = (next) => {
    data = next;
    words.textContent = told(data);
    drawing.setAttribute('aria-label', `${caption}. ${words.textContent}`);
    redraw();
  };
  return { element, show };
};

// A number that is not below `most` and round when it is written with units of `base`.
const roundUp = (most, base = 10) => {
  const unit = base ** Math.floor(Math.log(most) / Math.log(base));
  const power = unit * 10 ** Math.floor(Math.log10(most / unit));
  return power * [1, 2, 4, 6, 8, 10].find((step) => step * power >= most);
};

// The frame around a plot whose left side is linear; `named` writes its numbers.
const frame = (width, most, named) => {
  const shapes = [];
  for (const part of [0, 0.5, 1]) {
    const y = TOP + (1 - part) * (HEIGHT - TOP - BOTTOM);
    shapes.push(svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    shapes.push(text(LEFT - 6, y + 4, named(most * part), 'end'));
  }
  return shapes;
};

export const bars = (numbers, width) => {
  const most = roundUp(Math.max(1, ...numbers));
  const inner = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const step = inner[0] / numbers.length;
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const shapes = numbers.map((number, at) => {
    const height = number / most * inner[1];
    const gap = step > 3 ? Math.min(step * 0.2, 6) : 0;
    const place = { x: LEFT + at * step + gap / 2, y: TOP + inner[1] - height, width: step - gap, height };
    return svg('rect', { class: 'mark', ...place }, svg('title', {}, `${at}: ${digits(number)}`));
  });
  const y = TOP + (1 - mean / most) * inner[1];
  const every = Math.ceil(numbers.length / Math.max(1, Math.floor(inner[0] / 40)));
  const names = [...numbers.keys()].filter((at) => at % every === 0);
  return [
    ...frame(width, most, compact), ...shapes,
    ...['mean-edge', 'mean'].map((kind) => svg('line', { class: kind, x1: LEFT, x2: width - RIGHT, y1: y, y2: y })),
    ...names.map((at) => text(LEFT + (at + 0.5) * step, HEIGHT - BOTTOM + 15, String(at))),
    text(LEFT + inner[0] / 2, HEIGHT - 3, 'partition'),
  ];
};

// Spans of `{ fromMs, toMs, rate }` as steps; `named` writes a rate.
export const curve = (named, spanMs) => ({ spans, nowMs }, width) => {
  const rates = spans.map((span) => span.rate);
  const most = roundUp(Math.max(1, ...rates), 1024);
  const inner = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const x = (ms) => LEFT + Math.max(0, 1 - (nowMs - ms) / spanMs) * inner[0];
  const y = (rate) => TOP + (1 - rate / most) * inner[1];
  const points = spans.flatMap(({ fromMs, toMs, rate }) => [[fromMs, rate], [toMs, rate]]);
  const line = points.map(([ms, rate]) => `${x(ms).toFixed(1)},${y(rate).toFixed(1)}`).join(' ');
  const foot = points.length ? [`${x(points[0][0])},${y(0)}`, `${x(points.at(-1)[0])},${y(0)}`] : ['', ''];
  const marks = [[spanMs, `${spanMs / 60_000} min ago`, 'start'], [0, 'now', 'end']];
  return [
    ...frame(width, most, named),
    svg('polygon', { class: 'area', points: `${foot[0]} ${line} ${foot[1]}` }),
    svg('polyline', { class: 'line', points: line }),
    ...marks.map(([ms, words, anchor]) => text(x(nowMs - ms), HEIGHT - BOTTOM + 15, words, anchor)),
  ];
};

// Pairs of a key as text and its count, the largest first, both sides logarithmic: a straight line is a power law.
export const ranks = (pairs, width) => {
  const logs = pairs.map(([, number]) => Math.log10(Math.max(1, Number(number))));
  const low = Math.floor(Math.min(...logs));
  const high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const inner = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const x = (rank) => LEFT + 8 + Math.log10(rank) / Math.log10(Math.max(pairs.length, 10)) * (inner[0] - 16);
  const y = (log) => TOP + (1 - (log - low) / (high - low)) * inner[1];
  const powers = Array.from({ length: high - low + 1 }, (_, at) => low + at);
  const every = Math.ceil(powers.length / 5);
  const shapes = powers.filter((power) => (power - low) % every === 0).flatMap((power) => [
    svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(power), y2: y(power) }),
    text(LEFT - 6, y(power) + 4, compact(10 ** power), 'end'),
  ]);
  const dots = pairs.map(([key, number], at) => svg('circle', { class: 'mark', cx: x(at + 1), cy: y(logs[at]), r: 3 },
    svg('title', {}, `${at + 1}: ${key}, ${digits(number)}`)));
  const marks = [1, 2, 5, 10, 20, 50, 100].filter((rank) => rank <= Math.max(pairs.length, 10));
  return [
    ...shapes, ...dots, ...marks.map((rank) => text(x(rank), HEIGHT - BOTTOM + 15, String(rank))),
    text(LEFT + inner[0] / 2, HEIGHT - 3, 'rank'),
  ];
};
