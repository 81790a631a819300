// Server-sent events, as far as chat streams use them: text in pieces of any size -> the data of whole events.
// Comments (keep-alive lines) and other fields are skipped; CR LF, LF and CR end a line.

export class SseParser {
  #rest = '';
  #data = [];

  // Returns the data strings that this piece completed.
  push(text) {
    const out = [];
    let buffer = this.#rest + text;
    // A CR at the very end may be half of a CR LF: it waits for the next piece.
    const held = buffer.endsWith('\r') ? '\r' : '';
    if (held) buffer = buffer.slice(0, -1);
    const lines = buffer.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length) out.push(this.#data.join('\n'));
        this.#data = [];
      } else if (line.startsWith('data:')) {
        this.#data.push(line.slice(line[5] === ' ' ? 6 : 5));
      }
    }
    return out;
  }
}
