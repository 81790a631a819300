// Talking to the server this page came from. Every failure is an ApiError that says in plain words what happened.
import { SseParser } from './sse.js';

export class ApiError extends Error {
  // kind: network | key | busy | bad | server | broken
  constructor(kind, message, more = {}) {
    super(message);
    this.kind = kind;
    Object.assign(this, more); // param, retry_s, status
  }
}

export class Api {
  key = '';

  headers(more = {}) {
    return this.key ? { ...more, Authorization: `Bearer ${this.key}` } : more;
  }

  async #fetch(path, options = {}) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: this.headers(options.headers), cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError('network', 'The server does not answer. Is it still running?');
    }
    if (!response.ok) throw await failure(response);
    return response;
  }

  async props() {
    return (await this.#fetch('/props')).json();
  }

  async requests() {
    return (await this.#fetch('/requests')).json();
  }

  // Asks the server to end a request properly: its stream then closes with everything said so far.
  async cancel(id) {
    return this.#fetch(`/requests/${encodeURIComponent(id)}`, { method: 'DELETE' });
  }

  // Yields the parsed chunks of a streamed chat completion. Aborting `signal` closes the connection.
  async *chat(body, signal) {
    const response = await this.#fetch('/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
      signal,
    });
    const reader = response.body.getReader();
    const utf8 = new TextDecoder();
    const parser = new SseParser();
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (error.name === 'AbortError') throw error;
        throw new ApiError('broken', 'The connection broke in the middle of the answer. What had arrived is kept.');
      }
      if (piece.done) throw new ApiError('broken', 'The stream ended early. What had arrived is kept.');
      for (const data of parser.push(utf8.decode(piece.value, { stream: true }))) {
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError('server', chunk.error.message || 'The server reported an error.');
        yield chunk;
      }
    }
  }
}

async function failure(response) {
  let error = {};
  try {
    error = (await response.json()).error || {};
  } catch {
    // not JSON: the status has to say it
  }
  const { status } = response;
  const message = error.message || `${status} ${response.statusText}`;
  const more = { status, param: error.param || null };
  if (status === 401 || status === 403) return new ApiError('key', 'This server wants an API key. Enter it under Server in the settings.', more);
  if (status === 429 || (status === 503 && response.headers.has('Retry-After'))) {
    const retry_s = Number(response.headers.get('Retry-After')) || 5;
    return new ApiError('busy', `The server is busy: ${message}.`, { ...more, retry_s });
  }
  return new ApiError(status < 500 ? 'bad' : 'server', message, more);
}
