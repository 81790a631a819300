// One answer as it grows: apply() takes the stream's chunks in order. Plain data, no drawing.
import { thinned } from './memory.js';

const MAX_SAMPLES = 512; // points of the cache curve
const MAX_EVENTS = 768;  // kept maps; beyond it every second is dropped
const RATE_WINDOW_MS = 2500;

export function newAnswer(request, now) {
  return {
    request,
    id: null,
    state: 'waiting', // waiting | thinking | answering | done | failed
    segments: [],     // {thinking, text, from, to}: what tokens [from, to) said
    chunks: [],       // {at, prompt, query, head, carried}
    events: [],       // {chunk, at, context, kept, evicted, perHead, sets}
    samples: [],      // {token, cached}
    tokens: 0,
    told: 0,          // tokens whose text has come
    anchor: { segment: 0, token: 0 }, // up to here segments and tokens are known to agree
    reasoning: 0,
    cached: 0,
    peak: 0,
    compressions: 0,
    recent: [],       // [ms, tokens] of the last moments, for the rate
    begun: now,
    first: null,      // ms of the first token
    answered: null,   // ms of the first token of the answer
    ended: null,
    finish: null,
    final: null,
    usage: null,
    error: null,
  };
}

export const textOf = (answer, thinking) => answer.segments.filter((s) => s.thinking === thinking).map((s) => s.text).join('');

// What tokens [from, to) said, as far as the stream's pieces tell.
export function saidBetween(answer, from, to) {
  return answer.segments.filter((s) => s.to > from && s.from < to).map((s) => s.text).join('');
}

// Tokens per second: over the last moments while it runs, of the whole decoding once it ended.
export function rate(answer, now) {
  const decode_s = answer.final?.timing?.decode_s;
  if (decode_s > 0) return answer.tokens / decode_s;
  const end = answer.ended ?? now;
  if (answer.ended !== null) return answer.first === null ? 0 : (1000 * answer.tokens) / Math.max(1, end - answer.first);
  const oldest = answer.recent.find(([at]) => now - at <= RATE_WINDOW_MS);
  if (!oldest || now - oldest[0] < 200) return 0;
  return (1000 * (answer.tokens - oldest[1])) / (now - oldest[0]);
}

export function apply(answer, chunk, now) {
  answer.id ??= chunk.id;
  if (chunk.usage) answer.usage = chunk.usage;
  const choice = chunk.choices?.[0];
  const ours = chunk.throughline;
  if (ours?.progress) progress(answer, ours.progress, now);
  if (choice) said(answer, choice.delta ?? {}, Boolean(ours?.progress), now);
  for (const event of ours?.events ?? []) happened(answer, event);
  if (choice?.finish_reason) {
    answer.finish = choice.finish_reason;
    answer.final = ours ?? {};
    finished(answer, now);
  }
}

export function fail(answer, error, now) {
  answer.error = error;
  answer.state = 'failed';
  answer.ended = now;
}

function progress(answer, told, now) {
  answer.first ??= now;
  answer.tokens = told.tokens;
  answer.reasoning = told.reasoning_tokens;
  if (!told.context_tokens) return; // between two contexts
  answer.cached = told.kv_tokens;
  answer.peak = Math.max(answer.peak, told.kv_tokens);
  if (!answer.chunks.length) {
    const prompt = Math.max(0, told.context_tokens - told.tokens + 1); // the newest token is not fed yet
    answer.chunks.push({ at: 0, prompt, query: prompt, head: 0, carried: 0 });
  }
  answer.samples.push({ token: told.tokens, cached: told.kv_tokens });
  if (answer.samples.length > MAX_SAMPLES) answer.samples = thinned(answer.samples);
  answer.recent.push([now, told.tokens]);
  while (answer.recent.length > 2 && now - answer.recent[1][0] > RATE_WINDOW_MS) answer.recent.shift();
}

function said(answer, delta, counted, now) {
  const thought = delta.reasoning_content ?? delta.reasoning ?? '';
  const text = delta.content ?? '';
  if (!thought && !text) return;
  answer.first ??= now;
  if (!counted) answer.tokens += 1; // no progress was asked for: at least one
  if (thought) answer.state = 'thinking';
  if (text) {
    answer.state = 'answering';
    answer.answered ??= now;
  }
  const from = answer.told;
  answer.told = Math.max(answer.tokens, from + 1);
  for (const [piece, thinking] of [[thought, true], [text, false]]) {
    if (piece) answer.segments.push({ thinking, text: piece, from, to: answer.told });
  }
}

// Text may come later than the counts beside it, and in pieces of several tokens (a slow reader gets larger ones); an
// event's place is exact. So what came since the last exact place is spread over its tokens anew, by its letters.
function settle(answer, token) {
  const { segments, anchor } = answer;
  if (segments.length > anchor.segment && segments.at(-1).to > token) spread(segments.slice(anchor.segment), anchor.token, token);
  answer.anchor = { segment: segments.length, token };
  answer.told = token;
}

function spread(segments, from, to) {
  const total = segments.reduce((sum, segment) => sum + segment.text.length, 0);
  let letters = 0;
  let at = from;
  for (const segment of segments) {
    letters += segment.text.length;
    segment.from = at; // before `to` also where little text is left: what is said by then belongs to it
    segment.to = at = letters < total ? Math.min(from + Math.round(((to - from) * letters) / total), Math.max(from, to - 1)) : to;
  }
}

// What was said ends with `text`, which begins at `token`: cuts the segments just there.
function cutTail(answer, text, token) {
  const { segments, anchor } = answer;
  let rest = text.length;
  let i = segments.length;
  while (rest > 0) {
    if (--i < 0) return;
    const part = segments[i].text;
    if (!part.endsWith(text.slice(Math.max(0, rest - part.length), rest))) return; // special tokens have no text here
    rest -= part.length;
  }
  if (!segments[i] || (rest === 0 && segments[i].from === token)) return;
  if (rest < 0) {
    split(segments, i, -rest, token);
    i += 1;
  }
  const end = segments.at(-1).to;
  if (i > anchor.segment) spread(segments.slice(anchor.segment, i), anchor.token, token);
  spread(segments.slice(i), token, end);
}

// What was said begins with `text`, which ends at `token`.
function cutHead(answer, text, token) {
  const { segments } = answer;
  let rest = text;
  for (let i = 0; i < segments.length; i++) {
    const part = segments[i].text;
    if (!part.startsWith(rest.slice(0, part.length)) || (part.length === rest.length && segments[i].to === token)) return;
    if (part.length >= rest.length) {
      if (part.length > rest.length) split(segments, i, rest.length, token);
      spread(segments.slice(0, i + 1), 0, token);
      for (const later of segments.slice(i + 1)) {
        later.from = Math.max(later.from, token);
        later.to = Math.max(later.to, later.from);
      }
      return;
    }
    rest = rest.slice(part.length);
  }
}

function split(segments, i, letters, token) {
  const { text, ...whole } = segments[i];
  segments.splice(i, 1, { ...whole, text: text.slice(0, letters), to: token },
    { ...whole, text: text.slice(letters), from: token, to: Math.max(token, whole.to) });
}

function happened(answer, event) {
  settle(answer, event.at_token);
  if (event.type === 'chunk') {
    if (event.carried_text) cutTail(answer, event.carried_text, event.at_token - event.carried_tokens);
    if (event.chunk === 1 && event.head_text) cutHead(answer, event.head_text, event.head_tokens);
    answer.anchor.segment = answer.segments.length;
    answer.chunks[event.chunk] = {
      at: event.at_token, prompt: event.prompt_tokens, query: event.query_tokens ?? event.prompt_tokens,
      head: event.head_tokens, carried: event.carried_tokens, carriedText: event.carried_text ?? '',
    };
    answer.cached = event.prompt_tokens;
  } else if (event.type === 'kv') {
    answer.compressions += 1;
    answer.cached = event.kept_tokens;
    answer.samples.push({ token: event.at_token, cached: event.kept_tokens });
    answer.events.push({
      chunk: event.chunk, at: event.at_token, context: event.context_tokens, kept: event.kept_tokens,
      evicted: event.evicted_tokens, perHead: event.per_head, sets: event.kept ?? [],
    });
    if (answer.events.length > MAX_EVENTS) answer.events = thinnedByChunk(answer.events);
  }
}

// Thinned within each chunk, so that every chunk's last state stays.
function thinnedByChunk(events) {
  const chunks = new Set(events.map((event) => event.chunk));
  return [...chunks].flatMap((n) => thinned(events.filter((event) => event.chunk === n)));
}

function finished(answer, now) {
  const { tokens, kv } = answer.final;
  if (tokens) {
    answer.tokens = Math.max(answer.tokens, tokens.generated ?? 0);
    answer.reasoning = tokens.reasoning ?? answer.reasoning;
  }
  if (kv) {
    answer.peak = kv.peak_tokens ?? answer.peak;
    answer.compressions = kv.compressions ?? answer.compressions;
    answer.cached = kv.final_tokens ?? answer.cached;
  }
  answer.state = 'done';
  answer.ended = now;
}
