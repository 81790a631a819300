// What is in the cache, worked out from a stream's events. Pure arithmetic, no drawing.
//
// An answer has chunks [{at, prompt, query, head, carried}] (tokens; `at` is the trace token it opens after) and events
// [{chunk, at, context, sets: [{layer, head, ranges: [[from, to), ...]}]}]: after an event, of the positions below
// `context` those in `ranges` are cached; later positions are cached until the next event of the chunk.

// Tokens that chunk n has generated so far.
export function ownTokens(answer, n) {
  const end = n + 1 < answer.chunks.length ? answer.chunks[n + 1].at : answer.tokens;
  return Math.max(0, end - answer.chunks[n].at);
}

export const contextLength = (answer, n) => answer.chunks[n].prompt + ownTokens(answer, n);

export const chunkEvents = (answer, n) => answer.events.filter((event) => event.chunk === n);

export function matchingSets(event, layer = null, head = null) {
  return event.sets.filter((set) => (layer === null || set.layer === layer) && (head === null || set.head === null || set.head === head));
}

// For each of `length` positions, the share of the (layer, head) sets that still hold it after `event` (null: all do).
export function shares(event, length, layer = null, head = null) {
  const out = new Float32Array(length);
  const sets = event ? matchingSets(event, layer, head) : [];
  if (!sets.length) return out.fill(1);
  const steps = new Float32Array(length + 1);
  for (const set of sets) {
    for (const [from, to] of set.ranges) {
      steps[Math.min(from, length)] += 1;
      steps[Math.min(to, length)] -= 1;
    }
  }
  let holders = 0;
  for (let i = 0; i < length; i++) {
    holders += steps[i];
    out[i] = i >= event.context ? 1 : holders / sets.length;
  }
  return out;
}

// What stands at a position of chunk n: {part: query|head|carried|own, token: index in the trace, or null}.
export function placeOf(answer, n, position) {
  const { at, prompt, query, head, carried } = answer.chunks[n];
  if (position >= prompt) return { part: 'own', token: at + position - prompt };
  if (position >= prompt - carried) return { part: 'carried', token: at - (prompt - position) };
  if (position >= query && position < query + head) return { part: 'head', token: position - query };
  return { part: 'query', token: null };
}

// For each token of the trace, the share of sets that hold it now: as the last chunk's own, or carried into it.
export function tokenShares(answer) {
  const out = new Float32Array(answer.tokens);
  const last = answer.chunks.length - 1;
  if (last < 0) return out;
  const length = contextLength(answer, last);
  const now = shares(chunkEvents(answer, last).at(-1) ?? null, length);
  for (let position = 0; position < length; position++) {
    const { token } = placeOf(answer, last, position);
    if (token !== null && token >= 0 && token < out.length) out[token] = Math.max(out[token], now[position]);
  }
  return out;
}

// Chunks side by side in `width` pixels, each as wide as its context is long: [{x, width}].
export function panels(lengths, width, gap = 4) {
  const total = lengths.reduce((sum, length) => sum + length, 0) || 1;
  const room = Math.max(1, width - gap * (lengths.length - 1));
  let x = 0;
  return lengths.map((length) => {
    const panel = { x, width: (room * length) / total };
    x += panel.width + gap;
    return panel;
  });
}

// Averages `values` into `columns` pixel columns (nearest value where there are more columns than values).
export function columns(values, number) {
  const out = new Float32Array(number);
  for (let c = 0; c < number; c++) {
    const from = Math.floor((c * values.length) / number);
    const to = Math.max(from + 1, Math.floor(((c + 1) * values.length) / number));
    let sum = 0;
    for (let i = from; i < to && i < values.length; i++) sum += values[i];
    out[c] = sum / Math.max(1, Math.min(to, values.length) - from);
  }
  return out;
}

// Every second of a list, the newest always among them: bounded memory for long traces.
export const thinned = (list) => list.filter((_, i) => (list.length - 1 - i) % 2 === 0);
