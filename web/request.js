// Settings and messages -> the body of a chat completion; and which kept positions are worth asking for.
import { buildSpec, parseSpec, sizeOf } from './spec.js';

export function laneSpecs(lane, defaults) {
  return { kv: lane.kv ?? parseSpec(defaults.kv), think: lane.think ?? parseSpec(defaults.think) };
}

const spread = (total, wanted) => Array.from({ length: wanted }, (_, i) => Math.round((i * (total - 1)) / (wanted - 1)));

// Interval policies tell every layer, unless there are very many sets; policies that evict at each step tell four layers.
export function eventsWanted(choice, kv, props) {
  if (choice === 'none' || kv.method === 'full') return false;
  if (choice === 'all') return true;
  const { layers, kv_heads } = props.model;
  const method = props.kv.methods.find((known) => known.method === kv.method);
  const each_step = method && !method.options.some((option) => option.name === 'interval');
  const limit = each_step ? 4 : Math.max(8, Math.floor(96 / kv_heads));
  return layers <= limit ? true : spread(layers, Math.min(limit, each_step ? 4 : 8));
}

const numberOr = (text) => (text === '' || Number.isNaN(sizeOf(text)) ? undefined : sizeOf(text));

export function requestBody(settings, lane, messages, props, seed) {
  const { kv, think } = laneSpecs(settings.lanes[lane], props.defaults);
  const body = {
    model: props.model.id,
    messages: settings.system.trim() ? [{ role: 'system', content: settings.system.trim() }, ...messages] : messages,
    stream: true,
    stream_options: { include_usage: true },
    kv: buildSpec(kv),
    think: buildSpec(think),
    thinking_token_budget: numberOr(settings.budget),
    max_tokens: numberOr(settings.max_tokens),
    temperature: settings.temperature === '' ? undefined : Number(settings.temperature),
    top_p: settings.top_p === '' ? undefined : Number(settings.top_p),
    seed,
    chat_template_kwargs: settings.no_thinking ? { enable_thinking: false } : undefined,
    throughline: { progress: true, chunks: true, kv_events: eventsWanted(settings.events, kv, props) },
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && !Number.isNaN(value)));
}

// Specs that fit the model's context: what a first look wants to try.
export function presets(props) {
  const context = props.model.max_context || 4096;
  const near = (share) => 2 ** Math.max(4, Math.min(13, Math.round(Math.log2(context * share))));
  const rpc = (interval) => `rpc:interval=${interval},ratio=4,window=${Math.max(4, Math.min(32, interval / 4))}`;
  const chunk = near(1 / 8);
  const delethink = `delethink:chunk=${chunk},carry=${chunk / 2},max_chunks=16,head=${chunk / 8}`;
  const has = (list, name) => list.methods.some((known) => known.method === name);
  const all = [
    { name: 'Plain', hint: 'one context, everything cached', kv: 'full', think: 'longcot' },
    { name: 'RPC', hint: 'compress the thinking path to a quarter', kv: rpc(near(1 / 16)), think: 'longcot' },
    { name: 'Delethink', hint: 'think in chunks, carry a short tail', kv: 'full', think: delethink },
    { name: 'Both', hint: 'chunks, and each of them compressed', kv: rpc(near(1 / 32)), think: delethink },
  ];
  return all.map((preset) => ({ ...preset, kv: parseSpec(preset.kv), think: parseSpec(preset.think) }))
    .filter((preset) => has(props.kv, preset.kv.method) && has(props.think, preset.think.method));
}
