// One answer on the page: what it ran under, the folded thinking, what it said, the cache strip, the figures.
import { rate, textOf } from './answer.js';
import { count, fill, h, icon, seconds, specTag } from './dom.js';
import { markdown } from './markdown.js';
import { Passage } from './passage.js';
import { Strip } from './strip.js';
import { curl, python } from './snippet.js';

const ENDINGS = {
  max_tokens: (answer) => `Stopped at the limit of ${count(answer.tokens)} tokens. Raise “max tokens” for more.`,
  max_thinking: () => 'The thinking budget left no room for an answer.',
  max_chunks: (answer) => `Stopped after ${answer.chunks.length} chunks, the most this environment allows.`,
  loop: () => 'Stopped: it had begun to repeat itself.',
  context: () => 'The model’s context is full. Delethink thinks beyond it.',
  deadline: () => 'The server’s time limit was reached.',
  disconnect: () => 'The connection ended.',
  cancelled: () => 'Stopped.',
  kv_memory: () => 'The server ran out of cache memory.',
  internal: () => 'Something broke inside the server.',
};

const LIVE_LETTERS = 160;
const LONG_ANSWER = 24000; // letters; above it, Markdown is set once, at the end
const SET_MS = 150; // Markdown of an answer of some length is set at most that often while it grows

// The request without what only this page needs.
const plain = ({ throughline, stream_options, ...rest }) => rest;

export class AnswerView {
  #answer = null;
  #fade = false;
  #said = '';
  #frame = 0;
  #set = 0; // ms

  // hooks: {again(), origin, withKey()}
  constructor(label, hooks) {
    this.hooks = hooks;
    this.specs = h('p.specs');
    this.live = h('span.live-text');
    this.thinkingTitle = h('span.thinking-title');
    this.thoughts = new Passage(true);
    this.thoughtsBox = h('div.thoughts', { tabIndex: 0, role: 'region', 'aria-label': 'Thinking' }, this.thoughts.element);
    this.thinking = h('details.thinking', { hidden: true, ontoggle: () => this.#later() },
      h('summary', {}, icon('chevron'), this.thinkingTitle, h('span.live', { 'aria-hidden': 'true' }, this.live)), this.thoughtsBox);
    this.answerPassage = new Passage(false);
    this.said = h('div.said');
    this.notice = h('div.notice', { hidden: true, role: 'alert' });
    this.strip = new Strip((on) => { this.#fade = on; this.#said = ''; this.#later(); });
    this.figures = h('div.figures');
    this.gauge = h('div.gauge', { role: 'meter', 'aria-label': 'Tokens in the cache', 'aria-valuemin': 0 }, h('i.gauge-fill'), h('i.gauge-peak'));
    this.actions = h('div.actions', { hidden: true }, this.#copyButton('Copy', () => textOf(this.#answer, false).trim()),
      this.#copyButton('curl', () => curl(hooks.origin, plain(this.#answer.request), hooks.withKey())),
      this.#copyButton('Python', () => python(hooks.origin, plain(this.#answer.request), hooks.withKey())),
      h('button.quiet', { type: 'button', onclick: () => hooks.again(), title: 'Ask again' }, icon('again'), 'Again'));
    this.element = h('section.answer', { 'aria-label': label ? `Answer ${label}` : 'Answer' },
      h('header.answer-head', {}, label && h('span.badge', { 'data-lane': label }, label), this.specs),
      this.thinking, this.said, this.notice, this.strip.element,
      h('footer.answer-foot', {}, h('div.meter-row', {}, this.gauge, this.figures), this.actions));
  }

  update(answer) {
    this.#answer = answer;
    this.#later();
  }

  #later() {
    if (this.#frame || !this.#answer) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw(this.#answer);
    });
  }

  #draw(answer) {
    const running = answer.ended === null;
    this.element.dataset.state = answer.state;
    this.element.setAttribute('aria-busy', String(running));
    if (!this.specs.childElementCount) {
      fill(this.specs, specTag(answer.request.kv, 'KV policy'), specTag(answer.request.think, 'Thinking environment'));
    }
    this.#drawThinking(answer);
    this.#drawSaid(answer, running);
    this.#drawNotice(answer);
    this.#drawFigures(answer, running);
    this.strip.update(answer);
    this.actions.hidden = running;
  }

  #drawThinking(answer) {
    const thought = answer.segments.some((segment) => segment.thinking);
    this.thinking.hidden = !thought && answer.state !== 'thinking';
    if (this.thinking.hidden) return;
    const thinking_now = answer.state === 'thinking' || answer.state === 'waiting';
    this.thinking.classList.toggle('is-live', thinking_now);
    const parts = [`${count(answer.reasoning)} tokens`];
    if (answer.chunks.length > 1) parts.push(thinking_now ? `chunk ${answer.chunks.length}` : `${answer.chunks.length} chunks`);
    const end = answer.answered ?? answer.ended;
    if (!thinking_now && end && answer.first) parts.push(seconds((end - answer.first) / 1000));
    fill(this.thinkingTitle, h('b', {}, thinking_now ? 'Thinking' : 'Thought'), ` ${parts.join(' · ')}`);
    if (thinking_now && !this.thinking.open) {
      let text = '';
      for (let i = answer.segments.length - 1; i >= 0 && text.length < LIVE_LETTERS; i--) text = answer.segments[i].text + text;
      this.live.textContent = text.replaceAll('\n', ' ').slice(-LIVE_LETTERS);
    } else {
      this.live.textContent = '';
    }
    if (this.thinking.open) {
      const box = this.thoughtsBox;
      const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
      this.thoughts.update(answer, this.#fade);
      if (thinking_now && follows) box.scrollTop = box.scrollHeight;
    }
  }

  #drawSaid(answer, running) {
    // Without thinking, what was chunked is the answer itself.
    const chunked = answer.chunks.length > 1 && this.thinking.hidden;
    if (chunked || this.#fade) {
      if (this.said.firstChild !== this.answerPassage.element) fill(this.said, this.answerPassage.element);
      this.answerPassage.update(answer, this.#fade);
      this.#said = '';
      return;
    }
    const text = textOf(answer, false).trimStart();
    if (text === this.#said && (text || this.said.childElementCount === 0)) return;
    const now = performance.now();
    if (running && text.length > LONG_ANSWER / 8 && now - this.#set < SET_MS) return;
    this.#set = now;
    this.#said = text;
    if (running && text.length > LONG_ANSWER) fill(this.said, h('p.passage-text', {}, text));
    else fill(this.said, markdown(text));
  }

  #drawNotice(answer) {
    const { error, final } = answer;
    const ending = ENDINGS[final?.finish_detail]?.(answer);
    const silent = answer.state === 'done' && !ending && !answer.segments.some((s) => s.text.trim());
    const said = error?.message ?? final?.error ?? ending ?? (silent ? 'The model ended without saying anything.' : '');
    const lowered = final?.kv?.lowered_to;
    const text = [said, lowered && `KV memory ran short: the budget fell to ${count(lowered)}.`].filter(Boolean).join(' ');
    this.notice.hidden = !text;
    this.notice.classList.toggle('is-bad', Boolean(error || final?.error));
    if (!text || this.notice.dataset.text === text) return;
    this.notice.dataset.text = text;
    const retry = error && h('button.quiet', { type: 'button', onclick: () => this.hooks.again() }, icon('again'), 'Try again');
    fill(this.notice, h('span', {}, text), error?.retry_s && h('span', {}, ` Free again in about ${error.retry_s} s.`), retry);
  }

  #drawFigures(answer, running) {
    const now = performance.now();
    const per_s = rate(answer, now);
    const total = (answer.chunks[0]?.prompt ?? 0) + answer.tokens;
    const figures = [];
    if (answer.state === 'waiting') figures.push(h('span.pulse', {}, 'Waiting for the first token'));
    else if (answer.tokens) {
      figures.push(h('span', {}, h('b', {}, count(answer.tokens)), ' tokens'));
      if (per_s > 0) figures.push(h('span', {}, h('b', {}, per_s < 10 ? per_s.toFixed(1) : count(per_s)), ' tok/s'));
      if (answer.chunks.length) {
        figures.push(h('span', {}, 'cache ', h('b', {}, count(answer.cached)), ` of ${count(total)}`));
        figures.push(h('span', {}, 'peak ', h('b', {}, count(answer.peak))));
      }
      if (!running && answer.ended) figures.push(h('span', {}, seconds((answer.ended - answer.begun) / 1000)));
    }
    fill(this.figures, figures);
    this.gauge.hidden = !answer.chunks.length;
    this.gauge.firstChild.style.width = `${Math.min(100, (100 * answer.cached) / Math.max(1, total))}%`;
    this.gauge.lastChild.style.left = `${Math.min(100, (100 * answer.peak) / Math.max(1, total))}%`;
    this.gauge.setAttribute('aria-valuemax', String(total));
    this.gauge.setAttribute('aria-valuenow', String(answer.cached));
    this.gauge.title = `${count(answer.cached)} tokens are cached (at most ${count(answer.peak)}); one uncompressed context would hold ${count(total)}`;
  }

  #copyButton(name, text) {
    const label = h('span', {}, name);
    const mark = icon('copy');
    const button = h('button.quiet', { type: 'button', title: name === 'Copy' ? 'Copy the answer' : `Copy the request as ${name}` }, mark, label);
    button.addEventListener('click', async () => {
      const copied = await copy(text());
      label.textContent = copied ? 'Copied' : 'Not allowed';
      setTimeout(() => { label.textContent = name; }, 1400);
    });
    return button;
  }
}

// The clipboard API exists only on https and localhost; elsewhere a selected text field does it.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h('textarea.visually-hidden', { value: text });
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    return done;
  }
}
