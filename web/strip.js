// The strip under an answer: which positions of each chunk's context are still cached. Opens into the inspector.
import { chunkEvents, columns, contextLength, panels, placeOf, shares } from './memory.js';
import { fitCanvas, mix, palette } from './paint.js';
import { Inspector } from './inspector.js';
import { count, h, icon } from './dom.js';

const HEIGHT = 26;
const BAND = 4;
const REDRAW_MS = 120;

export class Strip {
  #answer = null;
  #due = 0;
  #inspector = null;
  #settled = false;

  // onFade(on): the reader wants text that left the cache to fade.
  constructor(onFade) {
    this.onFade = onFade;
    this.canvas = h('canvas.strip-canvas', { role: 'img' });
    this.label = h('span.strip-label');
    this.button = h('button.strip-button', { type: 'button', 'aria-expanded': 'false', onclick: () => this.#toggle() },
      icon('chevron'), h('span.strip-title', {}, 'Cache'), this.label);
    this.element = h('div.strip', { hidden: true }, this.button, this.canvas);
    this.canvas.addEventListener('click', () => this.#toggle());
    new ResizeObserver(() => this.#later()).observe(this.element);
    document.addEventListener('theme', () => this.#later());
  }

  update(answer) {
    this.#answer = answer;
    if (!answer.chunks.length) return;
    this.element.hidden = false;
    this.#settled = answer.ended !== null;
    this.#later();
  }

  #toggle() {
    if (!this.#inspector) {
      this.#inspector = new Inspector(this.onFade);
      this.element.append(this.#inspector.element);
    } else {
      this.#inspector.element.hidden = !this.#inspector.element.hidden;
    }
    this.button.setAttribute('aria-expanded', String(!this.#inspector.element.hidden));
    this.#later();
  }

  // At most one drawing each REDRAW_MS, the last one always.
  #later() {
    if (this.#due || !this.#answer) return;
    this.#due = setTimeout(() => requestAnimationFrame(() => {
      this.#due = 0;
      this.#draw();
    }), this.#settled ? 0 : REDRAW_MS);
  }

  #draw() {
    const answer = this.#answer;
    const width = this.canvas.clientWidth;
    if (!width || !answer.chunks.length) return;
    const paint = fitCanvas(this.canvas, width, HEIGHT);
    const colors = palette();
    const lengths = answer.chunks.map((_, n) => contextLength(answer, n));
    const last = lengths.length - 1;
    panels(lengths, width, lengths.length > 40 ? 1 : 3).forEach((panel, n) => {
      const number = Math.max(1, Math.round(panel.width));
      const held = columns(shares(chunkEvents(answer, n).at(-1) ?? null, lengths[n]), number);
      for (let c = 0; c < number; c++) {
        const { part } = placeOf(answer, n, Math.floor((c * lengths[n]) / number));
        const kept = n === last ? colors.kept : colors.released;
        paint.fillStyle = mix(colors.gone, kept, held[c]);
        paint.fillRect(panel.x + c, 0, 1.5, HEIGHT - BAND - 2);
        if (part !== 'own') {
          paint.fillStyle = mix(colors[part], colors[part], 1);
          paint.fillRect(panel.x + c, HEIGHT - BAND, 1.5, BAND);
        }
      }
    });
    const total = answer.chunks[0].prompt + answer.tokens;
    const text = [`${count(answer.cached)} of ${count(total)} held`,
      answer.compressions && `${count(answer.compressions)} compression${answer.compressions > 1 ? 's' : ''}`,
      last > 0 && `${last + 1} chunks`].filter(Boolean).join(' · ');
    this.label.textContent = text;
    this.canvas.setAttribute('aria-label', `Cached positions: ${text}`);
    if (this.#inspector && !this.#inspector.element.hidden) this.#inspector.update(answer);
  }
}
