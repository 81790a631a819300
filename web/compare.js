// Two finished answers side by side in figures: the shorter bar is the smaller number.
import { rate } from './answer.js';
import { count, h, seconds } from './dom.js';

const ROWS = [
  ['Tokens', (a) => a.tokens, count],
  ['Thinking', (a) => a.reasoning, count],
  ['Time', (a) => (a.ended - a.begun) / 1000, seconds],
  ['Tokens/s', (a) => rate(a, a.ended), count],
  ['Peak cache', (a) => a.peak, count],
  ['Mean cache', (a) => a.final?.kv?.mean_tokens ?? 0, count],
  ['Evicted', (a) => a.final?.kv?.evicted_tokens ?? 0, count],
  ['Compressions', (a) => a.compressions, count],
];

export function comparison(answers) {
  const rows = ROWS.map(([name, value, write]) => [name, answers.map(value), write]).filter(([, values]) => values.some((v) => v > 0));
  return h('table.comparison', {}, h('caption', {}, 'Side by side'),
    h('thead', {}, h('tr', {}, h('td'), ['A', 'B'].map((lane) => h('th', { scope: 'col' }, h('span.badge', { 'data-lane': lane }, lane))))),
    h('tbody', {}, rows.map(([name, values, write]) => h('tr', {}, h('th', { scope: 'row' }, name), values.map((value, lane) => {
      const bar = h(`i.bar-${lane ? 'b' : 'a'}`);
      bar.style.width = `${(100 * value) / Math.max(...values)}%`;
      return h('td', {}, h('span', {}, write(value)), bar);
    })))));
}
