// The settings panel. Policies and environments, their options, defaults and help all come from /props.
import { buildSpec, parseSpec, problems } from './spec.js';
import { laneSpecs, presets } from './request.js';
import { count, fill, h, icon, iconButton } from './dom.js';

const FIRST_OPTIONS = 3; // shown at once, besides the required ones and those given; the rest unfolds

let last_id = 0;
const newId = () => `field-${(last_id += 1)}`;

function field(label, control, hint) {
  const id = newId();
  control.id = id;
  const note = hint && h('small', { id: `${id}-hint` }, hint);
  if (note) control.setAttribute('aria-describedby', note.id);
  return h('div.field', {}, h('label', { htmlFor: id }, label), control, note);
}

const select = (options, value, onchange) => h('select', { onchange: (event) => onchange(event.target.value) },
  options.map(([key, name]) => h('option', { value: key, selected: key === value }, name)));

export class Controls {
  #lane = 0;
  #unfolded = { kv: false, think: false };

  constructor(settings, place, close) {
    Object.assign(this, { settings, place, close });
    this.props = null;
    this.body = h('div.panel-body');
    place.append(h('header.panel-head', {}, h('h2', {}, 'Settings'), iconButton('close', 'Close settings', close)), this.body);
  }

  setProps(props) {
    this.props = props;
    this.draw();
  }

  draw() {
    const { values } = this.settings;
    if (!values.compare) this.#lane = 0;
    fill(this.body, ...(this.props ? [
      values.compare && this.#lanes(), this.#presets(), this.#spec('kv', 'Cache', 'What stays in the KV cache while it thinks'),
      this.#spec('think', 'Thinking', 'How long thoughts are cut into contexts'), this.#budget(), this.#sampling()] : []),
    this.#server());
  }

  #lanes() {
    return h('div.segmented.lanes', { role: 'group', 'aria-label': 'Side' }, [0, 1].map((lane) => h('button', { type: 'button',
      'aria-pressed': String(lane === this.#lane), onclick: () => { this.#lane = lane; this.draw(); } },
    h('span.badge', { 'data-lane': 'AB'[lane] }, 'AB'[lane]), ` Side ${'AB'[lane]}`)));
  }

  #presets() {
    const now = laneSpecs(this.settings.values.lanes[this.#lane], this.props.defaults);
    const all = presets(this.props);
    const same = (preset) => buildSpec(preset.kv) === buildSpec(now.kv) && buildSpec(preset.think) === buildSpec(now.think);
    return h('section.group', {}, h('h3', {}, 'Start from'), h('div.presets', {}, all.map((preset) => h('button.preset', { type: 'button',
      'aria-pressed': String(same(preset)), onclick: () => {
        this.settings.setLane(this.#lane, { kv: preset.kv, think: preset.think });
        this.draw();
      } }, h('b', {}, preset.name), h('small', {}, preset.hint)))));
  }

  // One spec: the method, its options, and the string they make, which can be edited too.
  #spec(kind, title, help) {
    const { methods } = this.props[kind];
    const spec = laneSpecs(this.settings.values.lanes[this.#lane], this.props.defaults)[kind];
    const method = methods.find((known) => known.method === spec.method);
    const box = h('section.group', { 'aria-label': title });
    const text = h('input.mono', { type: 'text', spellcheck: false, autocapitalize: 'off', autocomplete: 'off', 'aria-label': `${title} as a spec`, value: buildSpec(spec) });
    const fault = h('p.fault', { role: 'status' });
    const check = (value) => {
      const found = problems(value, methods);
      fault.textContent = found[0]?.message ?? '';
      for (const control of box.querySelectorAll('[data-option]')) {
        control.setAttribute('aria-invalid', String(found.some((problem) => problem.option === control.dataset.option)));
      }
    };
    const store = (value) => {
      this.settings.setLane(this.#lane, { [kind]: value });
      text.value = buildSpec(value);
      check(value);
    };
    text.addEventListener('change', () => {
      this.settings.setLane(this.#lane, { [kind]: parseSpec(text.value) });
      this.draw();
    });
    const options = method?.options ?? [];
    const shown = (option, i) => i < FIRST_OPTIONS || option.required || option.name === 'budget' || (spec.options[option.name] ?? '') !== '';
    const make = (option) => this.#option(option, spec, store);
    const rest = options.filter((option, i) => !shown(option, i));
    fill(box, h('h3', {}, title, h('small', {}, help)),
      select([...(method ? [] : [[spec.method, spec.method]]), ...methods.map((known) => [known.method, known.method])], spec.method,
        (name) => { this.settings.setLane(this.#lane, { [kind]: this.#opened(methods, name) }); this.draw(); }),
      method && h('p.help', {}, method.help),
      h('div.options', {}, options.filter(shown).map(make)),
      rest.length > 0 && h('details.more', { open: this.#unfolded[kind], ontoggle: (event) => { this.#unfolded[kind] = event.target.open; } },
        h('summary', {}, icon('chevron'), `${rest.length} more option${rest.length > 1 ? 's' : ''}`), h('div.options', {}, rest.map(make))),
      h('label.spec-text', {}, text), fault);
    box.querySelector('select').setAttribute('aria-label', title);
    check(spec);
    return box;
  }

  // A method as first chosen: what it needs is filled in with something that fits the model.
  #opened(methods, name) {
    const fitting = presets(this.props).map((preset) => preset.think).find((spec) => spec.method === name);
    if (fitting?.options.chunk) return fitting; // Delethink's defaults are for large contexts
    const options = {};
    for (const option of methods.find((known) => known.method === name).options) {
      if (!option.required) continue;
      const share = { budget: 1 / 4, recent: 1 / 16, min_thinking: 1 / 4 }[option.name] ?? 1 / 8;
      options[option.name] = String(2 ** Math.max(3, Math.round(Math.log2((this.props.model.max_context || 4096) * share))));
    }
    return { method: name, options };
  }

  #option(option, spec, store) {
    const value = spec.options[option.name] ?? '';
    const given = (text) => {
      const { [option.name]: _, ...others } = spec.options;
      const typed = text.trim();
      // Options keep the order of /props, whatever order they were given in.
      spec.options = typed === '' || typed === option.default ? others : { ...others, [option.name]: typed };
      store({ ...spec });
    };
    let control;
    if (option.type === 'boolean' || (option.type === 'choice' && !option.choices.some((choice) => choice.includes(':')))) {
      const names = option.type === 'boolean' ? ['true', 'false'] : option.choices;
      control = select(names.map((name) => [name, name]), value || option.default, given);
    } else {
      const numeric = option.type === 'integer' || option.type === 'number';
      control = h('input', { type: 'text', value, placeholder: option.default ?? (option.required ? 'needed' : 'off'), autocomplete: 'off',
        spellcheck: false, inputMode: option.type === 'integer' ? 'numeric' : numeric ? 'decimal' : 'text', oninput: (event) => given(event.target.value) });
      if (option.type === 'choice') control.setAttribute('list', 'choices');
    }
    control.dataset.option = option.name;
    return field(option.name, control, option.help);
  }

  #budget() {
    const { values } = this.settings;
    const most = Math.max(1024, (this.props.model.max_context || 4096) * 4);
    const steps = ['', ...Array.from({ length: Math.round(Math.log2(most)) - 3 }, (_, i) => String(2 ** (i + 4)))];
    const number = h('input', { type: 'text', inputMode: 'numeric', value: values.budget, placeholder: 'off', autocomplete: 'off', 'aria-label': 'Thinking budget in tokens' });
    const nearest = () => (values.budget === '' ? 0 : 1 + steps.slice(1).findLastIndex((step) => Number(step) <= Number(number.value)));
    const slider = h('input', { type: 'range', min: 0, max: steps.length - 1, value: nearest(), 'aria-label': 'Thinking budget' });
    const spoken = () => slider.setAttribute('aria-valuetext', number.value === '' ? 'off' : `${number.value} tokens`);
    slider.addEventListener('input', () => {
      number.value = steps[slider.value];
      this.settings.change({ budget: number.value });
      spoken();
    });
    number.addEventListener('input', () => {
      this.settings.change({ budget: number.value.trim() });
      slider.value = String(nearest());
      spoken();
    });
    spoken();
    return h('section.group', { 'aria-label': 'Budget' }, h('h3', {}, 'Thinking budget', h('small', {}, 'Tokens; then it has to answer')),
      h('div.budget', {}, slider, number),
      h('label.check', {}, h('input', { type: 'checkbox', checked: values.no_thinking,
        onchange: (event) => this.settings.change({ no_thinking: event.target.checked }) }), 'Answer without thinking (where the template can)'));
  }

  #sampling() {
    const { values } = this.settings;
    const { defaults } = this.props;
    const text = (name, label, placeholder, mode = 'decimal') => field(label, h('input', { type: 'text', inputMode: mode, value: values[name], placeholder,
      autocomplete: 'off', oninput: (event) => this.settings.change({ [name]: event.target.value.trim() }) }));
    return h('section.group', { 'aria-label': 'Sampling' }, h('h3', {}, 'Sampling'),
      h('div.options', {}, text('max_tokens', 'max tokens', defaults.max_tokens ?? 'context', 'numeric'), text('temperature', 'temperature', String(defaults.temperature ?? 1)),
        text('top_p', 'top-p', String(defaults.top_p ?? 1)), text('seed', 'seed', 'random', 'numeric')),
      field('System prompt', h('textarea', { rows: 2, value: values.system, placeholder: 'none', oninput: (event) => this.settings.change({ system: event.target.value }) })),
      field('Record kept positions', select([['auto', 'as much as is readable'], ['all', 'every layer'], ['none', 'not at all']], values.events,
        (value) => this.settings.change({ events: value }))));
  }

  #server() {
    const key = h('input', { type: 'password', value: this.settings.key, placeholder: this.props?.server.keys === false ? 'not needed here' : 'none', autocomplete: 'off', name: 'api-key' });
    const remember = h('input', { type: 'checkbox', checked: this.settings.values.remember_key });
    const store = () => this.settings.setKey(key.value.trim(), remember.checked);
    key.addEventListener('change', store);
    remember.addEventListener('change', store);
    const model = this.props?.model;
    const facts = model && [['Model', model.id], ['Context', `${count(model.max_context)} tokens`], ['Layers', `${model.layers}, ${model.kv_heads} KV heads`],
      ['Compute', model.dtype], ['Template', model.chat_template ? 'the model’s own' : 'plain fallback'], ['Server', `Throughline ${this.props.server.version}`]];
    return h('form.group', { 'aria-label': 'Server', onsubmit: (event) => event.preventDefault() }, h('h3', {}, 'Server'), field('API key', key),
      h('label.check', {}, remember, 'Remember it on this device'),
      facts && h('dl.facts', {}, facts.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
      h('button.quiet', { type: 'button', onclick: () => { this.settings.reset(); this.draw(); } }, icon('again'), 'Back to the defaults'));
  }

  focusKey() {
    this.body.querySelector('[name=api-key]')?.focus();
  }
}
