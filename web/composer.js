// The prompt field with its button: Enter sends, Shift+Enter breaks the line, Escape stops.
import { buildSpec } from './spec.js';
import { laneSpecs } from './request.js';
import { fill, h, icon } from './dom.js';

export class Composer {
  constructor(chat, settings, openSettings) {
    Object.assign(this, { chat, settings });
    this.text = h('textarea.prompt', { id: 'prompt', rows: 1, placeholder: 'What shall it think about?', 'aria-label': 'Prompt', enterKeyHint: 'send',
      oninput: () => this.#fit(), onkeydown: (event) => this.#key(event) });
    this.button = h('button.send', { type: 'submit' });
    this.summary = h('button.lane-summary', { type: 'button', title: 'Open the settings', onclick: openSettings });
    this.element = h('form.composer', { onsubmit: (event) => { event.preventDefault(); this.#press(); } },
      h('div.composer-box', {}, this.text, this.button), this.summary);
    this.draw();
  }

  draw() {
    const { busy } = this.chat;
    const label = busy ? 'Stop' : 'Send';
    fill(this.button, icon(busy ? 'stop' : 'send'));
    this.button.setAttribute('aria-label', label);
    this.button.title = label;
    this.button.classList.toggle('is-stop', busy);
    this.button.disabled = !busy && (!this.chat.props || !this.text.value.trim());
    const { props } = this.chat;
    const { values } = this.settings;
    if (!props) return;
    fill(this.summary, (values.compare ? [0, 1] : [0]).map((lane) => {
      const { kv, think } = laneSpecs(values.lanes[lane], props.defaults);
      return h('span.lane-line', {}, values.compare && h('span.badge', { 'data-lane': 'AB'[lane] }, 'AB'[lane]),
        h('span.spec', {}, buildSpec(kv)), h('span.spec', {}, buildSpec(think)),
        values.budget && h('span.spec', {}, `budget ${values.budget}`));
    }));
  }

  set(text) {
    this.text.value = text;
    this.#fit();
    this.text.focus();
  }

  #fit() {
    this.text.style.height = 'auto';
    this.text.style.height = `${Math.min(this.text.scrollHeight, 220)}px`;
    this.draw();
  }

  #key(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!this.chat.busy) this.#press();
    }
  }

  #press() {
    if (this.chat.busy) {
      this.chat.stop();
      return;
    }
    const question = this.text.value.trim();
    if (!question || !this.chat.props) return;
    this.text.value = '';
    this.#fit();
    this.chat.ask(question);
  }
}
