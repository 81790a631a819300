// Specs: {method: 'rpc', options: {interval: '64'}} <-> 'rpc:interval=64'. Methods are those of /props.
// Options hold what the user typed; an option that is absent or empty has its default. A value with a comma makes the
// text that of a JSON object, as base/spec.h has it.

export function buildSpec(spec) {
  const given = Object.entries(spec.options).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  if (given.some(([, value]) => String(value).includes(','))) return JSON.stringify({ method: spec.method, ...Object.fromEntries(given) });
  return given.length ? `${spec.method}:${given.map(([name, value]) => `${name}=${value}`).join(',')}` : spec.method;
}

// What is no object yet, as while it is typed, is a method that nobody knows.
function parseObject(text) {
  try {
    const { method, ...options } = JSON.parse(text);
    return { method: String(method), options: Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)])) };
  } catch {
    return { method: text, options: {} };
  }
}

export function parseSpec(text) {
  const clean = text.trim();
  if (clean.startsWith('{')) return parseObject(clean);
  const colon = clean.indexOf(':');
  const method = (colon < 0 ? clean : clean.slice(0, colon)).trim();
  const options = {};
  if (colon >= 0) {
    for (const part of clean.slice(colon + 1).split(',')) {
      const equals = part.indexOf('=');
      if (!part.trim()) continue;
      const name = (equals < 0 ? part : part.slice(0, equals)).trim();
      options[name] = equals < 0 ? '' : part.slice(equals + 1).trim();
    }
  }
  return { method, options };
}

// '2K' -> 2048, '64' -> 64, '' or nonsense -> NaN
export function sizeOf(text) {
  const match = /^(-?\d+(?:\.\d+)?)([kKmM]?)$/.exec(String(text ?? '').trim());
  if (!match) return NaN;
  return Number(match[1]) * { '': 1, k: 1024, m: 1048576 }[match[2].toLowerCase()];
}

const listed = (names) => names.join(', ');

function problemOf(option, value) {
  if (value === '' || value === null || value === undefined) return option.required ? 'is needed' : null;
  if (option.type === 'integer' || option.type === 'number') {
    const number = option.type === 'integer' ? sizeOf(value) : Number(value);
    if (Number.isNaN(number)) return 'is a number';
    if (option.type === 'integer' && !Number.isInteger(number)) return 'is a whole number';
    if (number < (option.minimum ?? -Infinity)) return `is at least ${option.minimum}`;
    if (number > (option.maximum ?? Infinity)) return `is at most ${option.maximum}`;
  }
  if (option.type === 'boolean' && !['true', 'false'].includes(value)) return 'is true or false';
  if (option.type === 'choice') {
    const fits = option.choices.some((choice) => (choice.endsWith(':N')
      ? value.startsWith(choice.slice(0, -1)) && Number.isInteger(sizeOf(value.slice(choice.length - 1)))
      : choice === value));
    if (!fits) return `is one of ${listed(option.choices)}`;
  }
  return null;
}

// [] when the server would take it; else [{option, message}] (option null: the method itself).
export function problems(spec, methods) {
  const method = methods.find((known) => known.method === spec.method);
  if (!method) return [{ option: null, message: `no such method; there are ${listed(methods.map((m) => m.method))}` }];
  const out = [];
  for (const name of Object.keys(spec.options)) {
    if (!method.options.some((option) => option.name === name)) {
      out.push({ option: name, message: `${spec.method} has no option ${name}; it has ${listed(method.options.map((o) => o.name)) || 'none'}` });
    }
  }
  for (const option of method.options) {
    const message = problemOf(option, spec.options[option.name]);
    if (message) out.push({ option: option.name, message: `${option.name} ${message}` });
  }
  return out;
}
