// What the user chose, kept in localStorage; the API key in sessionStorage unless it shall be remembered.
// Listeners hear of every change.

const PLACE = 'throughline.settings';
const KEY_PLACE = 'throughline.key';

const fresh = () => ({
  lanes: [
    { kv: null, think: null }, // specs {method, options}; null: the server's default
    { kv: null, think: null },
  ],
  compare: false,
  budget: '',        // thinking tokens; '' leaves it to the server
  max_tokens: '',
  temperature: '',
  top_p: '',
  seed: '',
  system: '',
  no_thinking: false,
  events: 'auto',    // kept positions to ask for: auto | all | none
  panel: null,       // settings open; null: as the screen allows
  remember_key: false,
});

function read(storage, place) {
  try {
    return storage.getItem(place);
  } catch {
    return null; // storage may be forbidden
  }
}

function write(storage, place, text) {
  try {
    if (text === null) storage.removeItem(place);
    else storage.setItem(place, text);
  } catch {
    // full or forbidden: the settings last as long as the page
  }
}

const isSpec = (value) => value === null || (typeof value?.method === 'string' && typeof value.options === 'object' && value.options !== null);

// Only fields we know, each with the type it should have: what is stored may be of another version of the page.
function checked(stored) {
  const out = fresh();
  for (const name of Object.keys(out)) {
    const value = stored?.[name];
    if (name === 'lanes') {
      if (Array.isArray(value) && value.length === 2 && value.every((lane) => isSpec(lane?.kv) && isSpec(lane?.think))) out.lanes = value;
    } else if (name === 'panel') {
      if (typeof value === 'boolean') out.panel = value;
    } else if (typeof value === typeof out[name]) {
      out[name] = value;
    }
  }
  return out;
}

export class Settings extends EventTarget {
  constructor() {
    super();
    let stored = null;
    try {
      stored = JSON.parse(read(localStorage, PLACE));
    } catch {
      // not ours
    }
    this.values = checked(stored);
    this.key = read(sessionStorage, KEY_PLACE) ?? read(localStorage, KEY_PLACE) ?? '';
  }

  change(changes) {
    Object.assign(this.values, changes);
    write(localStorage, PLACE, JSON.stringify(this.values));
    this.dispatchEvent(new Event('change'));
  }

  setLane(lane, changes) {
    this.change({ lanes: this.values.lanes.map((old, i) => (i === lane ? { ...old, ...changes } : old)) });
  }

  setKey(key, remember) {
    this.key = key;
    write(sessionStorage, KEY_PLACE, key || null);
    write(localStorage, KEY_PLACE, remember && key ? key : null);
    this.change({ remember_key: remember });
    this.dispatchEvent(new Event('key'));
  }

  reset() {
    this.change({ ...fresh(), panel: this.values.panel, remember_key: this.values.remember_key });
  }
}
