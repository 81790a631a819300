// The strip at large: how the cache grew, and which positions were kept, over time or by layer and head.
import { saidBetween } from './answer.js';
import { chunkEvents, columns, contextLength, matchingSets, panels, placeOf, shares } from './memory.js';
import { fitCanvas, heatmap, mix, palette } from './paint.js';
import { count, fill, h } from './dom.js';

const GUTTER = 46;
const CURVE_HEIGHT = 72;
const MAX_ROWS = 96;
const MAX_CHUNKS = 12; // side by side; of more, the newest
const PART_NAMES = { query: 'question', head: 'first tokens', carried: 'carried tail', own: 'said here' };

const choice = (label, options, onchange) => h('label.choice', {}, h('span', {}, label), h('select', { onchange, 'aria-label': label },
  options.map(([value, name]) => h('option', { value }, name))));

export class Inspector {
  #answer = null;
  #view = 'time';
  #layer = null;
  #head = null;
  #chunk = null;
  #event = null; // index; null follows the newest
  #cells = [];   // what is where, for the pointer: {x, width, y, height, chunk, length, event, layer, head}
  #cursor = null;
  #known = '';

  constructor(onFade) {
    this.curve = h('canvas.curve', { role: 'img' });
    this.map = h('canvas.map', { role: 'img', tabIndex: 0, onkeydown: (event) => this.#key(event),
      onpointermove: (event) => this.#point(event), onpointerdown: (event) => this.#point(event),
      onpointerleave: () => this.#place(null) });
    this.mark = h('i.map-mark', { hidden: true });
    this.readout = h('p.readout', { 'aria-live': 'polite' });
    this.tools = h('div.inspector-tools');
    this.slider = h('input', { type: 'range', min: 0, max: 0, value: 0, 'aria-label': 'Compression',
      oninput: () => { this.#event = Number(this.slider.value); this.#draw(); } });
    this.sliderRow = h('label.slider-row', { hidden: true }, h('span', {}, 'After'), this.slider, this.sliderText = h('span.mono'));
    this.views = h('div.segmented', { role: 'group', 'aria-label': 'View' },
      [['time', 'Over time'], ['layer', 'By layer']].map(([view, name]) => h('button', { type: 'button', 'data-view': view,
        'aria-pressed': String(view === this.#view), onclick: () => this.#show(view) }, name)));
    const fade = h('label.check', {}, h('input', { type: 'checkbox', onchange: (event) => onFade(event.target.checked) }),
      'Fade text that left the cache');
    const legend = h('p.legend', {}, [['kept', 'cached'], ['gone', 'evicted'], ['released', 'earlier chunk'], ['query', 'question'],
      ['head', 'first tokens'], ['carried', 'carried tail']].map(([name, text]) => h('span', {}, h(`i.swatch.${name}`), text)));
    this.element = h('div.inspector', {}, h('div.inspector-head', {}, this.views, this.tools, fade),
      this.curve, h('div.map-box', {}, this.map, this.mark), this.sliderRow, this.readout, legend);
  }

  update(answer) {
    this.#answer = answer;
    this.#offer();
    this.#draw();
  }

  #show(view) {
    this.#view = view;
    for (const button of this.views.children) button.setAttribute('aria-pressed', String(button.dataset.view === view));
    this.sliderRow.hidden = view !== 'layer' || !this.#answer.events.length;
    this.#known = '';
    this.#offer();
    this.#draw();
  }

  // Selects for chunk, layer and head, made anew only when there is more to choose from.
  #offer() {
    const answer = this.#answer;
    const sets = answer.events.at(-1)?.sets ?? [];
    const layers = [...new Set(sets.map((set) => set.layer))];
    const heads = [...new Set(sets.map((set) => set.head).filter((head) => head !== null))];
    const by_time = this.#view === 'time';
    const known = `${this.#view} ${answer.chunks.length} ${layers} ${heads}`;
    this.slider.max = String(Math.max(0, answer.events.length - 1));
    if (this.#event === null) this.slider.value = this.slider.max;
    if (known === this.#known) return;
    this.#known = known;
    const number = (text) => (text === '' ? null : Number(text));
    const select = (label, value, all, list, name, set) => {
      const made = choice(label, [['', all], ...list.map((item) => [String(item), name(item)])],
        (event) => { set(number(event.target.value)); this.#draw(); });
      made.lastChild.value = value === null ? '' : String(value);
      return made;
    };
    fill(this.tools,
      by_time && answer.chunks.length > 1 && select('Chunk', this.#chunk, answer.chunks.length > MAX_CHUNKS ? `newest ${MAX_CHUNKS}` : 'all', answer.chunks.map((_, n) => n), (n) => String(n + 1), (n) => { this.#chunk = n; }),
      by_time && layers.length > 1 && select('Layer', this.#layer, 'all', layers, String, (n) => { this.#layer = n; }),
      by_time && heads.length > 1 && select('KV head', this.#head, 'all', heads, String, (n) => { this.#head = n; }));
  }

  #draw() {
    const answer = this.#answer;
    const width = this.map.clientWidth;
    if (!answer || !width) return;
    this.colors = palette();
    this.#drawCurve(answer, width);
    this.sliderRow.hidden = this.#view !== 'layer' || !answer.events.length;
    if (this.#view === 'time') this.#drawTime(answer, width);
    else this.#drawLayers(answer, width);
    this.#place(this.#cursor);
  }

  // Cached tokens over the trace, under the line that one uncompressed context would follow.
  #drawCurve(answer, width) {
    const paint = fitCanvas(this.curve, width, CURVE_HEIGHT);
    const base = answer.chunks[0].prompt;
    const top = base + Math.max(1, answer.tokens);
    const x = (token) => GUTTER + ((width - GUTTER) * token) / Math.max(1, answer.tokens);
    const y = (tokens) => CURVE_HEIGHT - 1 - ((CURVE_HEIGHT - 12) * tokens) / top;
    const { colors } = this;
    paint.strokeStyle = mix(colors.muted, colors.muted, 1);
    paint.setLineDash([3, 3]);
    paint.beginPath();
    paint.moveTo(x(0), y(base));
    paint.lineTo(x(answer.tokens), y(top));
    paint.stroke();
    paint.setLineDash([]);
    paint.beginPath();
    paint.moveTo(x(0), y(0));
    paint.lineTo(x(0), y(base));
    for (const sample of answer.samples) paint.lineTo(x(sample.token), y(sample.cached));
    paint.lineTo(x(answer.tokens), y(0));
    paint.closePath();
    paint.fillStyle = mix(colors.surface, colors.kept, 0.25);
    paint.fill();
    paint.beginPath();
    paint.moveTo(x(0), y(base));
    for (const sample of answer.samples) paint.lineTo(x(sample.token), y(sample.cached));
    paint.strokeStyle = mix(colors.kept, colors.kept, 1);
    paint.lineWidth = 1.5;
    paint.stroke();
    paint.lineWidth = 1;
    this.#text(paint, count(top), GUTTER - 6, y(top) + 4, 'right');
    if (y(answer.peak) - y(top) > 14 && CURVE_HEIGHT - y(answer.peak) > 14) {
      this.#text(paint, count(answer.peak), GUTTER - 6, y(answer.peak) + 4, 'right', colors.kept);
    }
    this.#text(paint, '0', GUTTER - 6, CURVE_HEIGHT - 2, 'right');
    this.curve.setAttribute('aria-label', `Cached tokens over the answer: at most ${count(answer.peak)}; one uncompressed context would hold ${count(top)}`);
  }

  #text(paint, text, x, y, align, color = this.colors.muted) {
    paint.font = '11px ui-monospace, "SF Mono", Menlo, Consolas, monospace';
    paint.textAlign = align;
    paint.fillStyle = mix(color, color, 1);
    paint.fillText(text, x, y);
  }

  #drawTime(answer, width) {
    const chunks = this.#chunk === null ? answer.chunks.map((_, n) => n).slice(-MAX_CHUNKS) : [this.#chunk];
    const rows = chunks.map((n) => {
      const events = chunkEvents(answer, n);
      const step = Math.ceil(events.length / MAX_ROWS);
      // The newest always; before it every step-th.
      const shown = events.filter((_, i) => (events.length - 1 - i) % step === 0);
      return [...shown.map((event) => ({ event, length: event.context })), { event: events.at(-1) ?? null, length: contextLength(answer, n) }];
    });
    const most = Math.max(...rows.map((list) => list.length));
    const each = Math.max(2, Math.min(14, Math.floor(190 / most)));
    const height = Math.max(28, each * most) + 8;
    const paint = fitCanvas(this.map, width, height);
    const places = panels(chunks.map((n) => contextLength(answer, n)), width - GUTTER, 4);
    this.#cells = [];
    chunks.forEach((n, i) => {
      const length = contextLength(answer, n);
      const { x, width: wide } = places[i];
      const own = rows[i].length * each < 28 ? Math.floor(28 / rows[i].length) : each;
      const number = Math.max(1, Math.min(length, Math.round(wide)));
      const values = rows[i].map((row) => {
        const held = shares(row.event, length, this.#layer, this.#head);
        held.fill(NaN, row.length);
        return columns(held, number);
      });
      this.#blit(paint, values, number, GUTTER + x, wide, own, n === answer.chunks.length - 1);
      this.#band(paint, answer, n, GUTTER + x, wide, rows[i].length * own + 3);
      rows[i].forEach((row, y) => this.#cells.push({ x: GUTTER + x, width: wide, y: y * own, height: own, chunk: n, length: row.length,
        span: length, event: row.event, layer: this.#layer, head: this.#head }));
    });
    const first = rows[0];
    if (chunks.length > 1) return this.#describe(answer);
    if (first.length > 1) this.#text(paint, `${count(first[0].event.at)}`, GUTTER - 6, 10, 'right');
    this.#text(paint, 'now', GUTTER - 6, Math.max(10, height - 10), 'right');
    return this.#describe(answer);
  }

  #describe(answer) {
    this.map.setAttribute('aria-label', `Kept positions, one row a compression, ${answer.events.length} in all. Arrow keys read it.`);
  }

  #drawLayers(answer, width) {
    const index = this.#event === null ? answer.events.length - 1 : Math.min(this.#event, answer.events.length - 1);
    const event = answer.events[index] ?? null;
    const n = event ? event.chunk : answer.chunks.length - 1;
    const length = event ? event.context : contextLength(answer, n);
    const sets = event?.sets.length ? event.sets : [{ layer: null, head: null }];
    const each = Math.max(4, Math.min(16, Math.floor(240 / sets.length)));
    const paint = fitCanvas(this.map, width, sets.length * each + 8);
    const number = Math.max(1, Math.min(length, Math.round(width - GUTTER)));
    const values = sets.map((set) => columns(shares(event, length, set.layer, set.head), number));
    this.#blit(paint, values, number, GUTTER, width - GUTTER, each, true);
    this.#band(paint, answer, n, GUTTER, width - GUTTER, sets.length * each + 3, length);
    this.#cells = sets.map((set, y) => ({ x: GUTTER, width: width - GUTTER, y: y * each, height: each, chunk: n, length, span: length, event,
      layer: set.layer, head: set.head }));
    let labelled = -12;
    sets.forEach((set, y) => {
      if (set.layer === null || y * each - labelled < 11) return;
      labelled = y * each;
      this.#text(paint, set.head === null ? `L${set.layer}` : `L${set.layer}·${set.head}`, GUTTER - 6, y * each + Math.min(each, 12) - 2, 'right');
    });
    this.sliderText.textContent = event ? `compression ${index + 1} of ${answer.events.length} · token ${count(event.at)}${answer.chunks.length > 1 ? ` · chunk ${n + 1}` : ''}` : '';
    this.map.setAttribute('aria-label', `Kept positions in each layer${event?.perHead ? ' and KV head' : ''}. Arrow keys read it.`);
  }

  #blit(paint, values, number, x, width, each, live) {
    const image = heatmap(values, number, this.colors.gone, live ? this.colors.kept : this.colors.released);
    paint.imageSmoothingEnabled = false;
    paint.drawImage(image, x, 0, width, values.length * each);
    if (each >= 5) {
      paint.fillStyle = mix(this.colors.surface, this.colors.surface, 1);
      for (let y = 1; y < values.length; y++) paint.fillRect(x, y * each - 0.5, width, 1);
    }
  }

  #band(paint, answer, n, x, width, y, length = contextLength(answer, n)) {
    const { prompt, query, head, carried } = answer.chunks[n];
    for (const [part, from, to] of [['query', 0, query], ['head', query, query + head], ['carried', prompt - carried, prompt]]) {
      if (to <= from) continue;
      paint.fillStyle = mix(this.colors[part], this.colors[part], 1);
      paint.fillRect(x + (width * from) / length, y, Math.max(1, (width * (to - from)) / length), 4);
    }
  }

  #point(event) {
    const box = this.map.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const cell = this.#cells.findIndex((c) => x >= c.x && x < c.x + c.width && y >= c.y && y < c.y + c.height);
    if (cell < 0) return this.#place(null);
    const position = Math.floor(((x - this.#cells[cell].x) / this.#cells[cell].width) * this.#cells[cell].span);
    return this.#place({ cell, position });
  }

  #key(event) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move || !this.#cells.length) return;
    event.preventDefault();
    const at = this.#cursor ?? { cell: this.#cells.length - 1, position: 0 };
    const cell = Math.max(0, Math.min(this.#cells.length - 1, at.cell + move[0]));
    const step = event.shiftKey ? 10 : 1;
    this.#place({ cell, position: Math.max(0, Math.min(this.#cells[cell].length - 1, at.position + step * move[1])) });
  }

  #place(cursor) {
    const cell = cursor && this.#cells[cursor.cell];
    this.#cursor = cell && cursor.position < cell.length ? cursor : null;
    this.mark.hidden = !this.#cursor;
    if (!this.#cursor) {
      this.readout.textContent = this.#answer?.events.length ? 'Point at a cell, or use the arrow keys, to read it.'
        : 'Every position is cached: nothing has been evicted.';
      return;
    }
    const answer = this.#answer;
    const wide = cell.width / cell.span;
    Object.assign(this.mark.style, { left: `${cell.x + cursor.position * wide + wide / 2}px`, top: `${cell.y}px`, height: `${cell.height}px`,
      width: `${Math.max(3, wide)}px` });
    const { part, token } = placeOf(answer, cell.chunk, cursor.position);
    const sets = cell.event ? matchingSets(cell.event, cell.layer, cell.head) : [];
    const share = shares(cell.event, cell.length, cell.layer, cell.head)[cursor.position];
    const said = token === null ? '' : saidBetween(answer, token - 2, token + 3).replaceAll('\n', '⏎');
    fill(this.readout,
      h('b', {}, share === 1 ? 'Cached' : share === 0 ? 'Evicted' : `Cached in ${Math.round(share * sets.length)} of ${sets.length}`),
      ` · ${answer.chunks.length > 1 ? `chunk ${cell.chunk + 1}, ` : ''}position ${count(cursor.position)} · ${PART_NAMES[part]}`,
      said && [' · ', h('q', {}, said)],
      cell.layer !== null && ` · layer ${cell.layer}`, cell.head !== null && `, KV head ${cell.head}`);
  }
}
