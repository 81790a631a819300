// The conversation: turns of a question and one answer, or two side by side; asking, stopping, asking again.
import { apply, fail, newAnswer, textOf } from './answer.js';
import { AnswerView } from './answer_view.js';
import { comparison } from './compare.js';
import { requestBody } from './request.js';
import { ApiError } from './api.js';
import { h } from './dom.js';

const CANCEL_PATIENCE_MS = 1500;

export class Chat extends EventTarget {
  #running = new Set(); // {answer, abort}

  constructor(api, settings, place, announce) {
    super();
    Object.assign(this, { api, settings, place, announce });
    this.turns = []; // {question, answers: [lane 0, lane 1 or none], element}
    this.props = null;
  }

  get busy() {
    return this.#running.size > 0;
  }

  // What lane saw so far; a turn that had one answer counts for both lanes.
  #messages(lane, before) {
    const out = [];
    for (const turn of this.turns.slice(0, before)) {
      const said = textOf(turn.answers[lane] ?? turn.answers[0], false).trim();
      if (!said) continue;
      out.push({ role: 'user', content: turn.question }, { role: 'assistant', content: said });
    }
    return out;
  }

  ask(question) {
    const { values } = this.settings;
    const lanes = values.compare ? [0, 1] : [0];
    const turn = { question, answers: [], views: [], element: null, index: this.turns.length };
    this.turns.push(turn);
    const box = h('div.answers', { 'data-lanes': lanes.length });
    turn.element = h('article.turn', {}, h('h2.question', {}, question), box);
    this.place.append(turn.element);
    turn.box = box;
    // The same seed for both lanes: what differs is the policy, not the luck.
    const typed = values.seed === '' ? undefined : Number(values.seed);
    const seed = typed ?? (lanes.length > 1 ? Math.floor(Math.random() * 2 ** 31) : undefined);
    for (const lane of lanes) this.#answer(turn, lane, seed);
    turn.element.scrollIntoView({ block: 'start', behavior: 'smooth' });
  }

  #answer(turn, lane, seed) {
    const { values } = this.settings;
    const messages = [...this.#messages(lane, turn.index), { role: 'user', content: turn.question }];
    const body = requestBody(values, lane, messages, this.props, seed);
    const answer = newAnswer(body, performance.now());
    turn.answers[lane] = answer;
    if (!turn.views[lane]) {
      turn.views[lane] = new AnswerView(turn.box.dataset.lanes === '2' ? 'AB'[lane] : '', {
        again: () => this.#again(turn, lane), origin: location.origin, withKey: () => Boolean(this.settings.key) });
      turn.box.append(turn.views[lane].element);
    }
    this.#run(turn, lane, answer);
  }

  #again(turn, lane) {
    if (turn.answers[lane].ended === null) return;
    const old = turn.views[lane];
    turn.views[lane] = null;
    turn.summary?.remove();
    const { box } = turn;
    this.#answer(turn, lane, this.settings.values.seed === '' ? undefined : Number(this.settings.values.seed));
    old.element.replaceWith(turn.views[lane].element);
    if (!box.contains(turn.views[lane].element)) box.append(turn.views[lane].element);
  }

  async #run(turn, lane, answer) {
    const view = turn.views[lane];
    const abort = new AbortController();
    const run = { answer, abort };
    this.#running.add(run);
    this.#changed();
    view.update(answer);
    const ticker = setInterval(() => view.update(answer), 500); // the rate falls while nothing comes
    try {
      let state = answer.state;
      for await (const chunk of this.api.chat(answer.request, abort.signal)) {
        apply(answer, chunk, performance.now());
        view.update(answer);
        if (answer.state !== state) this.#say(state = answer.state, answer, lane, turn);
      }
      if (answer.ended === null) throw new ApiError('broken', 'The stream ended early. What had arrived is kept.');
    } catch (error) {
      const stopped = error.name === 'AbortError';
      if (!stopped && !(error instanceof ApiError)) console.error(error);
      fail(answer, stopped ? new ApiError('broken', 'Stopped.') : error instanceof ApiError ? error
        : new ApiError('server', `The page could not read the answer (${error.message}).`), performance.now());
      if (stopped) Object.assign(answer, { error: null, state: 'done', final: { finish_detail: 'cancelled' } });
      else this.dispatchEvent(new CustomEvent('trouble', { detail: answer.error }));
    }
    clearInterval(ticker);
    this.#running.delete(run);
    view.update(answer);
    if (turn.answers.length === 2 && turn.answers.every((a) => a.state === 'done' && a.tokens)) {
      turn.summary?.remove();
      turn.element.append(turn.summary = comparison(turn.answers));
    }
    this.#changed();
  }

  #say(state, answer, lane, turn) {
    const which = turn.answers.length > 1 ? `Answer ${'AB'[lane]}: ` : '';
    const text = { thinking: 'Thinking', answering: 'Answering', done: `Done, ${answer.tokens} tokens` }[state];
    if (text) this.announce(which + text);
  }

  // Asks the server to end properly, so that the figures come; closes the connection if that takes long.
  stop() {
    for (const { answer, abort } of this.#running) {
      if (answer.id) this.api.cancel(answer.id).catch(() => abort.abort());
      else abort.abort();
      setTimeout(() => abort.abort(), CANCEL_PATIENCE_MS);
    }
  }

  clear() {
    for (const { abort } of this.#running) abort.abort();
    this.turns = [];
    this.place.replaceChildren();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
