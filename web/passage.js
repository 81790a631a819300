// Text of a trace, thinking or answer, cut at chunk boundaries: the head and the tails that later chunks carry are marked,
// and, when asked, what has left the cache fades.
import { tokenShares } from './memory.js';
import { count, h } from './dom.js';

// [{chunk, marked: ''|'head'|'carried', level: 0-4|null, text}], neighbours alike joined. Pure.
export function runs(answer, thinking, faded) {
  const cuts = new Set();
  for (const [n, chunk] of answer.chunks.entries()) {
    cuts.add(chunk.at);
    if (n) cuts.add(chunk.at - chunk.carried).add(chunk.head);
  }
  const sorted = [...cuts].sort((a, b) => a - b);
  const head = answer.chunks[1]?.head ?? 0;
  const tails = []; // disjoint, though one may reach back over others
  for (const { at, carried } of answer.chunks.slice(1)) {
    let from = at - carried;
    while (tails.length && tails.at(-1)[1] >= from) from = Math.min(from, tails.pop()[0]);
    tails.push([from, at]);
  }
  const held = faded ? tokenShares(answer) : null;
  const out = [];
  let chunk = 0;
  let cut = 0;
  let tail = 0;
  for (const segment of answer.segments) {
    if (segment.thinking !== thinking) continue;
    for (const [from, to, text] of pieces(segment, sorted, () => cut, (value) => { cut = value; })) {
      while (chunk + 1 < answer.chunks.length && from >= answer.chunks[chunk + 1].at) chunk += 1;
      while (tail < tails.length && from >= tails[tail][1]) tail += 1;
      const carried = tail < tails.length && from >= tails[tail][0];
      const marked = carried ? 'carried' : from < head ? 'head' : '';
      const level = held ? Math.round(4 * mean(held, from, to)) : null;
      const last = out.at(-1);
      if (last && last.chunk === chunk && last.marked === marked && last.level === level) last.text += text;
      else out.push({ chunk, marked, level, text });
    }
  }
  return out;
}

function mean(values, from, to) {
  if (to <= from) return values[from] ?? 1;
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[i] ?? 1;
  return sum / Math.max(1, to - from);
}

// A segment of several tokens is cut where a boundary falls inside it, by its share of the letters.
function pieces(segment, cuts, getCut, setCut) {
  let cut = getCut();
  while (cut < cuts.length && cuts[cut] <= segment.from) cut += 1;
  setCut(cut);
  if (cut >= cuts.length || cuts[cut] >= segment.to) return [[segment.from, segment.to, segment.text]];
  const out = [];
  let { from } = segment;
  let begin = 0;
  for (; cut <= cuts.length && from < segment.to; cut++) {
    const to = Math.min(cuts[cut] ?? segment.to, segment.to);
    const end = to === segment.to ? segment.text.length
      : Math.round((segment.text.length * (to - segment.from)) / (segment.to - segment.from));
    out.push([from, to, segment.text.slice(begin, end)]);
    [from, begin] = [to, end];
  }
  return out;
}

function knotLabel(answer, n) {
  const { head, carried } = answer.chunks[n];
  const parts = [head && `first ${count(head)}`, carried && `last ${count(carried)}`].filter(Boolean);
  return parts.length ? `continues from the ${parts.join(' and ')} tokens` : 'starts from the question alone';
}

export class Passage {
  #thinking;
  #drawn = 0;      // segments drawn
  #shape = '';     // what makes a full redraw necessary
  #last = null;    // text node that grows
  #section = 0;    // chunk it is in

  constructor(thinking) {
    this.#thinking = thinking;
    this.element = h('div.passage');
  }

  update(answer, faded) {
    const shape = `${answer.chunks.length} ${faded ? `${answer.tokens} ${answer.compressions}` : ''}`;
    const ahead = this.#section !== answer.chunks.length - 1 && this.#drawn < answer.segments.length;
    if (shape !== this.#shape || !this.#last || ahead) this.#redraw(answer, faded);
    else this.#grow(answer);
    this.#shape = shape;
    this.#drawn = answer.segments.length;
  }

  #grow(answer) {
    let text = '';
    for (let i = this.#drawn; i < answer.segments.length; i++) {
      if (answer.segments[i].thinking === this.#thinking) text += answer.segments[i].text;
    }
    if (text) this.#last.appendData(text);
  }

  #redraw(answer, faded) {
    this.#last = null;
    const sections = new Map();
    for (const run of runs(answer, this.#thinking, faded)) {
      if (!sections.has(run.chunk)) sections.set(run.chunk, h('p.passage-text'));
      const text = document.createTextNode(run.text);
      const plain = !run.marked && run.level === null;
      const title = { carried: 'Carried into the next chunk', head: 'The first tokens, kept for every chunk' }[run.marked];
      const classes = [run.marked, run.level === null ? '' : `held-${run.level}`].filter(Boolean).join(' ');
      sections.get(run.chunk).append(plain ? text : h(run.marked ? 'mark' : 'span', { className: classes, title }, text));
      this.#last = plain ? text : null;
      this.#section = run.chunk;
    }
    const many = answer.chunks.length > 1;
    this.element.replaceChildren(...[...sections].map(([n, body]) => h('section.chunk', {},
      many && h('p.knot', {}, h('b', {}, `Chunk ${n + 1}`), n > 0 && h('span', {}, knotLabel(answer, n))), body)));
    if (!this.#last && sections.size && !faded) {
      // The growing end is plain text of its own; runs() will class it at the next redraw.
      this.#last = document.createTextNode('');
      [...sections.values()].at(-1).append(this.#last);
    }
  }
}
