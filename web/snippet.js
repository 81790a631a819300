// The same request for a terminal or a script.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(origin, body, withKey) {
  return [
    `curl -N ${quoted(`${origin}/v1/chat/completions`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    ...(withKey ? ['  -H "Authorization: Bearer $THROUGHLINE_API_KEY" \\'] : []),
    `  -d ${quoted(JSON.stringify(body, null, 2))}`,
  ].join('\n');
}

// What the openai package has a parameter for; the rest goes into extra_body.
const KNOWN = new Set(['model', 'messages', 'max_tokens', 'temperature', 'top_p', 'seed', 'stream', 'stream_options', 'stop', 'n']);

export function pythonValue(value, indent = 4) {
  const pad = ' '.repeat(indent);
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  // JSON escapes are Python's, but for lone surrogates, which a text field cannot hold; DEL and above stay as they are.
  if (typeof value !== 'object') return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const parts = Array.isArray(value)
    ? value.map((item) => pythonValue(item, indent + 4))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${pythonValue(item, indent + 4)}`);
  const line = `${open}${parts.join(', ')}${close}`;
  if (line.length + indent <= 96 && !line.includes('\n')) return line;
  return `${open}\n${parts.map((part) => `${pad}    ${part},\n`).join('')}${pad}${close}`;
}

export function python(origin, body, withKey) {
  const known = Object.entries(body).filter(([name]) => KNOWN.has(name));
  const extra = Object.fromEntries(Object.entries(body).filter(([name]) => !KNOWN.has(name)));
  const lines = [
    ...(withKey ? ['import os', ''] : []),
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=${withKey ? 'os.environ["THROUGHLINE_API_KEY"]' : '"none"'})`,
    'stream = client.chat.completions.create(',
    ...known.map(([name, value]) => `    ${name}=${pythonValue(value)},`),
    ...(Object.keys(extra).length ? [`    extra_body=${pythonValue(extra)},`] : []),
    ')',
    'for chunk in stream:',
    '    if not chunk.choices:',
    '        continue',
    '    delta = chunk.choices[0].delta',
    '    print(getattr(delta, "reasoning_content", None) or delta.content or "", end="", flush=True)',
  ];
  return lines.join('\n');
}
