// Tests of the page's pure parts, run inside the browser by test_page.py: window.results is a list of {name, error}.
import { SseParser } from '/static/sse.js';
import { buildSpec, parseSpec, problems, sizeOf } from '/static/spec.js';
import { columns, panels, placeOf, shares, thinned, tokenShares } from '/static/memory.js';
import { apply, newAnswer, rate, saidBetween, textOf } from '/static/answer.js';
import { runs } from '/static/passage.js';
import { markdown } from '/static/markdown.js';
import { curl, python } from '/static/snippet.js';
import { eventsWanted, presets, requestBody } from '/static/request.js';

const results = [];
function same(got, wanted, what = '') {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what} got ${a}, wanted ${b}`);
}
async function test(name, body) {
  try {
    await body();
    results.push({ name, error: null });
  } catch (error) {
    results.push({ name, error: error.stack ?? String(error) });
  }
}
// A small deterministic generator for the property tests.
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

await test('SSE: any cutting of the bytes gives the same events', () => {
  const text = ': ping\n\ndata: {"a":1}\r\n\r\ndata: two\ndata: lines\n\n\n\nevent: x\ndata:tight\n\n: bye\r\rdata: [DONE]\r\r';
  const wanted = ['{"a":1}', 'two\nlines', 'tight', '[DONE]'];
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed);
    const parser = new SseParser();
    const got = [];
    for (let at = 0; at < text.length;) {
      const to = Math.min(text.length, at + 1 + next(9));
      got.push(...parser.push(text.slice(at, to)));
      at = to;
    }
    got.push(...parser.push('\n')); // the last CR may have been half of a CR LF
    same(got, wanted, `seed ${seed}`);
  }
});

await test('specs: text and object are inverse', () => {
  for (const text of ['full', 'rpc:interval=64,ratio=4', 'rpc:protect=first:8,budget=2K', 'force:min_thinking=5,text=Wait']) {
    same(buildSpec(parseSpec(text)), text);
  }
  const comma = { method: 'force', options: { text: 'Wait, no', max_forces: '2' } };
  same(parseSpec(buildSpec(comma)), comma);
  same(parseSpec('{"method":'), { method: '{"method":', options: {} });
  same(parseSpec('  rpc : interval = 64 ,, ratio=4'), { method: 'rpc', options: { interval: '64', ratio: '4' } });
  same(buildSpec({ method: 'rpc', options: { interval: '', ratio: undefined, window: '0' } }), 'rpc:window=0');
});

await test('specs: sizes', () => {
  same([sizeOf('64'), sizeOf('2K'), sizeOf('1.5k'), sizeOf('1M')], [64, 2048, 1536, 1048576]);
  for (const bad of ['', 'x', '2 K', '1e3', '0x10', null, undefined]) if (!Number.isNaN(sizeOf(bad))) throw new Error(`${bad}`);
});

const METHODS = [{ method: 'full', options: [] }, { method: 'rpc', options: [
  { name: 'interval', type: 'integer', minimum: 1, maximum: 1e12, choices: [] },
  { name: 'budget', type: 'integer', required: true, minimum: 1, choices: [] },
  { name: 'lambda', type: 'number', minimum: 0, maximum: 1, choices: [] },
  { name: 'shared', type: 'boolean', choices: [] },
  { name: 'protect', type: 'choice', choices: ['prompt', 'first:N', 'none'] }] }];

await test('specs: what the server would refuse is told before', () => {
  const told = (text) => problems(parseSpec(text), METHODS).map((problem) => problem.option);
  same(told('full'), []);
  same(told('rpc:budget=2K,protect=first:8,lambda=0.5,shared=true'), []);
  same(told('rpc'), ['budget']);
  same(told('rpc:budget=0'), ['budget']);
  same(told('rpc:budget=1.3'), ['budget']);
  same(told('rpc:budget=9,lambda=2'), ['lambda']);
  same(told('rpc:budget=9,protect=first:x'), ['protect']);
  same(told('rpc:budget=9,shared=yes'), ['shared']);
  same(told('rpc:budget=9,intervall=3'), ['intervall']);
  same(told('nonsense'), [null]);
});

const event = (context, sets) => ({ chunk: 0, at: 0, context, sets });

await test('shares: counted by hand, and later positions are cached', () => {
  const e = event(6, [{ layer: 0, head: null, ranges: [[0, 2], [5, 6]] }, { layer: 1, head: null, ranges: [[0, 1], [3, 6]] }]);
  same([...shares(e, 8)], [1, 0.5, 0, 0.5, 0.5, 1, 1, 1]);
  same([...shares(e, 8, 1)], [1, 0, 0, 1, 1, 1, 1, 1]);
  same([...shares(null, 3)], [1, 1, 1]);
});

await test('shares: against a plain loop', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = random(seed);
    const context = 1 + next(40);
    const length = context + next(10);
    const sets = Array.from({ length: 1 + next(5) }, (_, layer) => {
      const ranges = [];
      for (let at = next(4); at < context;) {
        const to = Math.min(context, at + 1 + next(6));
        ranges.push([at, to]);
        at = to + 1 + next(5);
      }
      return { layer, head: null, ranges };
    });
    const plain = Array.from({ length }, (_, p) => (p >= context ? 1
      : Math.fround(sets.filter((set) => set.ranges.some(([from, to]) => p >= from && p < to)).length / sets.length)));
    same([...shares(event(context, sets), length)], plain, `seed ${seed}`);
  }
});

const chunked = () => ({ tokens: 10, segments: [], events: [], chunks: [
  { at: 0, prompt: 4, query: 4, head: 0, carried: 0 }, { at: 6, prompt: 4 + 2 + 3, query: 4, head: 2, carried: 3 }] });

await test('places: query, head, tail and own tokens of a later chunk', () => {
  const answer = chunked();
  const at = (position) => { const { part, token } = placeOf(answer, 1, position); return [part, token]; };
  same([0, 3, 4, 5, 6, 8, 9, 12].map(at), [['query', null], ['query', null], ['head', 0], ['head', 1], ['carried', 3], ['carried', 5], ['own', 6], ['own', 9]]);
});

await test('tokens: what no chunk carries is gone', () => {
  same([...tokenShares(chunked())], [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]);
});

await test('layout: panels fill the width in proportion', () => {
  const places = panels([10, 30, 60], 208, 4);
  same(places.map((place) => Math.round(place.width)), [20, 60, 120]);
  same(Math.round(places[2].x + places[2].width), 208);
});

await test('layout: columns average or repeat', () => {
  same([...columns([0, 1, 1, 1], 2)], [0.5, 1]);
  same([...columns([0, 1], 4)], [0, 0, 1, 1]);
  same(thinned([0, 1, 2, 3, 4]), [0, 2, 4]);
  same(thinned([0, 1, 2, 3]), [1, 3]);
});

// A stream as the contract has it, of a Delethink trace of one-letter tokens.
function streamed(pieces = 1) {
  const answer = newAnswer({}, 0);
  const send = (extra, now) => apply(answer, { id: 'x', choices: [{ index: 0, delta: {}, finish_reason: null }], ...extra }, now);
  const text = 'abcdefghij';
  const boundary = (chunk, at, prompt, head, carried) => send({ throughline: { index: 0, events: [{ type: 'chunk', chunk, at_token: at, prompt_tokens: prompt,
    query_tokens: 4, head_tokens: head, carried_tokens: carried, head_text: '', carried_text: '' }] } }, at);
  // As the server does it: progress may be ahead of the text, and is 0 between two contexts.
  send({ throughline: { index: 0, progress: { state: 'thinking', chunk: 0, tokens: 1, reasoning_tokens: 1, kv_tokens: 4, context_tokens: 4 } } }, 1);
  boundary(0, 0, 4, 0, 0);
  for (let at = 0; at < 10; at += pieces) {
    if (at === 6) {
      send({ throughline: { index: 0, progress: { state: 'thinking', chunk: 1, tokens: 6, reasoning_tokens: 6, kv_tokens: 0, context_tokens: 0 } } }, 600);
      boundary(1, 6, 9, 2, 3);
    }
    const to = at < 6 ? Math.min(6, at + pieces) : Math.min(10, at + pieces);
    send({ choices: [{ index: 0, delta: { reasoning_content: text.slice(at, to), reasoning: text.slice(at, to) } }],
      throughline: { index: 0, progress: { state: 'thinking', chunk: at < 6 ? 0 : 1, tokens: to, reasoning_tokens: to, kv_tokens: 4 + to, context_tokens: 4 + to } } }, 100 * to);
    if (to === 6) at = 6 - pieces;
  }
  return answer;
}

await test('answer: text, tokens and chunks come together', () => {
  const answer = streamed();
  same(textOf(answer, true), 'abcdefghij');
  same([answer.tokens, answer.reasoning, answer.chunks.length], [10, 10, 2]);
  same(saidBetween(answer, 3, 6), 'def');
  same(Math.round(rate(answer, 1000)), 9); // from the first progress, of one token, on
});

await test('answer: the end fills in the figures', () => {
  const answer = streamed();
  apply(answer, { id: 'x', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], throughline: { finish_detail: 'eos',
    tokens: { generated: 11, reasoning: 10 }, kv: { peak_tokens: 14, final_tokens: 12, compressions: 3 }, timing: { decode_s: 2 } } }, 2000);
  same([answer.state, answer.tokens, answer.peak, answer.cached, answer.compressions], ['done', 11, 14, 12, 3]);
  same(rate(answer, 9e9), 5.5);
});

await test('answer: memory stays bounded under an event a token', () => {
  const answer = newAnswer({}, 0);
  for (let n = 1; n <= 5000; n++) {
    apply(answer, { id: 'x', choices: [{ index: 0, delta: { content: 'a' } }], throughline: { index: 0,
      progress: { chunk: 0, tokens: n, reasoning_tokens: 0, kv_tokens: 9, context_tokens: 4 + n },
      events: [{ type: 'kv', chunk: 0, decoded: n, at_token: n, context_tokens: 4 + n, kept_tokens: 8, evicted_tokens: 1, per_head: false, kept: [] }] } }, n);
  }
  if (answer.events.length > 800 || answer.samples.length > 1100) throw new Error(`${answer.events.length} ${answer.samples.length}`);
  same(answer.events.at(-1).at, 5000);
  same(answer.compressions, 5000);
});

await test('passage: head and tail are marked to the token', () => {
  const marked = runs(streamed(), true, false).map(({ chunk, marked: mark, text }) => [chunk, mark, text]);
  same(marked, [[0, 'head', 'ab'], [0, '', 'c'], [0, 'carried', 'def'], [1, '', 'ghij']]);
});

await test('passage: pieces of several tokens are cut at the marks', () => {
  const text = (answer) => runs(answer, true, false).map(({ chunk, marked, text: t }) => [chunk, marked, t]);
  for (const pieces of [2, 3, 6]) same(text(streamed(pieces)), text(streamed(1)), `pieces of ${pieces}`);
});

await test('passage: text of a new chunk gets a section of its own, however it arrives', async () => {
  const { Passage } = await import('/static/passage.js');
  const whole = streamed();
  const passage = new Passage(true);
  const growing = { ...whole, segments: [], chunks: whole.chunks.slice(0, 1) };
  for (const segment of whole.segments) {
    if (segment.from === 6) growing.chunks = whole.chunks;
    growing.tokens = segment.from; // the boundary is drawn before the first text after it
    passage.update(growing, false);
    growing.tokens = segment.to;
    growing.segments = [...growing.segments, segment];
    passage.update(growing, false);
  }
  same([...passage.element.querySelectorAll('.passage-text')].map((p) => p.textContent), ['abcdef', 'ghij']);
});

// As a slow reader gets it: larger pieces, and counts that are ahead of the text beside them.
await test('answer: coarse pieces are put right at exact places', () => {
  const answer = newAnswer({}, 0);
  const send = (text, tokens, ...events) => apply(answer, { id: 'x', choices: [{ index: 0, delta: text ? { reasoning_content: text } : {}, finish_reason: null }],
    throughline: { index: 0, progress: { chunk: 0, tokens, reasoning_tokens: tokens, kv_tokens: 9, context_tokens: 9 }, events } }, tokens);
  const boundary = (chunk, at_token, head_tokens, carried_tokens, carried_text) => ({ type: 'chunk', chunk, at_token, prompt_tokens: 4 + head_tokens + carried_tokens,
    query_tokens: 4, head_tokens, carried_tokens, head_text: '', carried_text });
  const kv = (chunk, at_token) => ({ type: 'kv', chunk, decoded: 1, at_token, context_tokens: 9, kept_tokens: 8, evicted_tokens: 1, per_head: false, kept: [] });
  send('', 3, boundary(0, 0, 0, 0, ''));
  send('ab', 8);
  send('cd', 12);
  send('', 12, kv(0, 4));
  send('efgh', 12);
  send('', 12, boundary(1, 8, 2, 3, 'fgh'));
  send('ij', 14);
  send('klm', 16);
  send('', 16, boundary(2, 13, 2, 5, 'ijklm'));
  same(answer.segments.map(({ from, to, text }) => [from, to, text]).slice(0, 4), [[0, 2, 'ab'], [2, 4, 'cd'], [4, 5, 'e'], [5, 8, 'fgh']]);
  same(runs(answer, true, false).map(({ chunk, marked, text }) => [chunk, marked, text]), [[0, 'head', 'ab'], [0, '', 'cde'], [0, 'carried', 'fgh'], [1, 'carried', 'ijklm']]);
});

await test('answer: what follows the head, and a short last piece of the tail, stay on their side', () => {
  const answer = newAnswer({}, 0);
  const send = (text, tokens, ...events) => apply(answer, { id: 'x', choices: [{ index: 0, delta: text ? { content: text } : {}, finish_reason: null }],
    throughline: { index: 0, progress: { chunk: 0, tokens, reasoning_tokens: 0, kv_tokens: 9, context_tokens: 9 }, events } }, tokens);
  send('abcd', 2);
  send('e', 3);
  send('fghijklmnopqrstuvwx', 11);
  send('y', 12);
  send('', 12, { type: 'chunk', chunk: 1, at_token: 12, prompt_tokens: 16, query_tokens: 4, head_tokens: 4, carried_tokens: 7,
    head_text: 'abcd', carried_text: 'fghijklmnopqrstuvwxy' });
  same(runs(answer, false, false).map(({ marked, text }) => [marked, text]), [['head', 'abcd'], ['', 'e'], ['carried', 'fghijklmnopqrstuvwxy']]);
});

await test('answer: a tail that reaches back over a chunk is cut where its text begins', () => {
  const answer = newAnswer({}, 0);
  const send = (text, tokens, ...events) => apply(answer, { id: 'x', choices: [{ index: 0, delta: text ? { content: text } : {}, finish_reason: null }],
    throughline: { index: 0, progress: { chunk: 0, tokens, reasoning_tokens: 0, kv_tokens: 9, context_tokens: 9 }, events } }, tokens);
  const boundary = (chunk, at_token, carried_tokens, carried_text) => ({ type: 'chunk', chunk, at_token, prompt_tokens: 4, query_tokens: 4, head_tokens: 0, carried_tokens, carried_text });
  send('', 0, boundary(0, 0, 0, ''));
  send('one two three', 5);
  send('', 5, { ...boundary(1, 5, 1, ' three'), head_tokens: 1, head_text: 'on' });
  send(' four', 6);
  send('', 6, boundary(2, 6, 3, ' two three four'));
  same(runs(answer, false, false).map(({ chunk, marked, text }) => [chunk, marked, text]), [[0, 'head', 'on'], [0, '', 'e'], [0, 'carried', ' two three'], [1, 'carried', ' four']]);
});

await test('passage: fading knows what left the cache', () => {
  same(runs(streamed(), true, true).map(({ level, text }) => [level, text]), [[4, 'ab'], [0, 'c'], [4, 'def'], [4, 'ghij']]);
});

const rendered = (text) => {
  const box = document.createElement('div');
  box.append(...markdown(text));
  return box;
};

await test('markdown: the usual forms', () => {
  const box = rendered('# Title\n\nA **bold** and *soft* `x*y*z` line.\n\n- one\n- two\n  - inner\n\n3. three\n4. four\n\n> said\n\n---\n\n```py\n1 < 2\n```\nend');
  same([...box.children].map((child) => child.tagName), ['H3', 'P', 'UL', 'OL', 'BLOCKQUOTE', 'HR', 'PRE', 'P']);
  same(box.querySelector('p').textContent, 'A bold and soft x*y*z line.');
  same(box.querySelector('li ul li').textContent, 'inner');
  same([box.querySelector('ol').start, box.querySelector('pre').textContent], [3, '1 < 2']);
});

await test('markdown: no input makes anything but text', () => {
  const allowed = new Set(['P', 'H3', 'H4', 'H5', 'H6', 'UL', 'OL', 'LI', 'BLOCKQUOTE', 'HR', 'PRE', 'CODE', 'STRONG', 'EM']);
  const bits = ['<img src=x onerror=alert(1)>', '<script>', '</script>', '[a](javascript:b)', '![](x)', '**', '*', '`', '```\n', '> ', '- ', '1. ', '\n', '\n\n', ' ', 'a', '# ', '&lt;', '\u0000', '---\n'];
  for (let seed = 1; seed <= 400; seed++) {
    const next = random(seed);
    const text = Array.from({ length: 30 }, () => bits[next(bits.length)]).join('');
    for (const element of rendered(text).querySelectorAll('*')) {
      if (!allowed.has(element.tagName)) throw new Error(`${element.tagName} from ${JSON.stringify(text)}`);
      for (const { name } of element.attributes) if (!['tabindex', 'data-language', 'start'].includes(name)) throw new Error(name);
    }
  }
});

await test('markdown: hostile input is quick', () => {
  const began = performance.now();
  for (const text of ['>'.repeat(20000), '*a '.repeat(20000), '`'.repeat(20000), '**a '.repeat(10000), '- '.repeat(10000), `${' '.repeat(500)}- a\n`.repeat(200),
    '[('.repeat(20000), '`a``b'.repeat(4000)]) rendered(text);
  const took = performance.now() - began;
  if (took > 4000) throw new Error(`${took} ms`);
});

const PROPS = await (await fetch('/props')).json();
const SETTINGS = { lanes: [{ kv: null, think: null }, { kv: parseSpec('rpc:interval=16'), think: null }], budget: '', max_tokens: '', temperature: '', top_p: '', system: '', no_thinking: false, events: 'auto' };

await test('request: only what was chosen is sent', () => {
  const body = requestBody(SETTINGS, 0, [{ role: 'user', content: 'hi' }], PROPS, undefined);
  same(Object.keys(body), ['model', 'messages', 'stream', 'stream_options', 'kv', 'think', 'throughline']);
  same([body.kv, body.think, body.throughline.kv_events], ['full', 'longcot', false]);
  const full = requestBody({ ...SETTINGS, budget: '2K', temperature: '0', seed: '7', system: ' be brief ', no_thinking: true }, 1, [], PROPS, 7);
  same([full.kv, full.thinking_token_budget, full.temperature, full.seed, full.messages[0].content, full.chat_template_kwargs],
    ['rpc:interval=16', 2048, 0, 7, 'be brief', { enable_thinking: false }]);
});

await test('request: policies that evict at each step tell few layers', () => {
  const deep = { ...PROPS, model: { ...PROPS.model, layers: 64, kv_heads: 8 } };
  same(eventsWanted('auto', parseSpec('recency:budget=9'), deep), [0, 21, 42, 63]);
  same(eventsWanted('auto', parseSpec('rpc'), deep).length, 8);
  same(eventsWanted('auto', parseSpec('rpc'), PROPS), true);
  same([eventsWanted('none', parseSpec('rpc'), PROPS), eventsWanted('all', parseSpec('tova:budget=9'), deep)], [false, true]);
});

await test('presets: the server would take each of them, whatever the context', () => {
  for (const max_context of [128, 512, 4096, 262144]) {
    for (const preset of presets({ ...PROPS, model: { ...PROPS.model, max_context } })) {
      same(problems(preset.kv, PROPS.kv.methods), []);
      same(problems(preset.think, PROPS.think.methods), []);
      const { chunk, carry, head } = preset.think.options;
      if (preset.think.method === 'delethink' && !(Number(head) <= Number(carry) && Number(carry) < Number(chunk))) throw new Error(buildSpec(preset.think));
    }
  }
});

window.snippets = [{ messages: [{ role: 'user', content: "it's \"quoted\" $HOME `x` \\ \n\u00e9\u2028 end" }], stream: true, kv: 'full', throughline: { progress: true, kv_events: [0, 1] }, seed: null }]
  .flatMap((body) => [false, true].map((key) => ({ body, curl: curl('http://h:1', body, key), python: python('http://h:1', body, key) })));
window.results = results;
