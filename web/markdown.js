// A small, safe part of Markdown as DOM nodes: paragraphs, headings, lists, quotes, code, emphasis, rules. Everything the
// model wrote becomes text nodes; there are no links, images or HTML, so nothing it writes can load or run anything.
import { h } from './dom.js';

const INLINE = /(`+)([\s\S]+?)\1(?!`)|\*\*([^\s*](?:[\s\S]*?[^\s*])?)\*\*|(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])/g;

function inline(text) {
  const out = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) out.push(text.slice(at, match.index));
    if (match[2] !== undefined) out.push(h('code', {}, match[2]));
    else if (match[3] !== undefined) out.push(h('strong', {}, inline(match[3])));
    else out.push(h('em', {}, inline(match[4])));
    at = match.index + match[0].length;
  }
  out.push(text.slice(at));
  return out;
}

const FENCE = /^\s*(```+|~~~+)\s*([\w+#.-]*)\s*$/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;

// Returns nodes for the whole text; a fence that is still open (the stream goes on) is code to its end.
export function markdown(text, depth = 0) {
  const lines = text.split('\n');
  const out = [];
  let i = 0;
  const paragraph = [];
  const flush = () => {
    if (paragraph.length) out.push(h('p', {}, inline(paragraph.join('\n'))));
    paragraph.length = 0;
  };
  while (i < lines.length) {
    const line = lines[i];
    const fence = FENCE.exec(line);
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (fence) {
      flush();
      const body = [];
      for (i += 1; i < lines.length && !lines[i].trim().startsWith(fence[1]); i++) body.push(lines[i]);
      out.push(h('pre', { tabIndex: 0, 'data-language': fence[2] || null }, h('code', {}, body.join('\n'))));
    } else if (heading) {
      flush();
      out.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      flush();
      out.push(h('hr'));
    } else if (ITEM.test(line) && (!paragraph.length || /^\s*([-*+]|1[.)])\s/.test(line))) {
      flush();
      i = list(lines, i, out) - 1;
    } else if (depth < 8 && /^\s*>\s?/.test(line)) {
      flush();
      const body = [];
      for (; i < lines.length && /^\s*>\s?/.test(lines[i]); i++) body.push(lines[i].replace(/^\s*>\s?/, ''));
      out.push(h('blockquote', {}, markdown(body.join('\n'), depth + 1)));
      i -= 1;
    } else if (line.trim() === '') {
      flush();
    } else {
      paragraph.push(line);
    }
    i += 1;
  }
  flush();
  return out;
}

// One list from line i on; indented items become a list inside the item. Returns the line after it.
function list(lines, i, out) {
  const [, margin, number] = ITEM.exec(lines[i]);
  const element = h(number ? 'ol' : 'ul', number && number !== '1' ? { start: Number(number) } : {});
  out.push(element);
  while (i < lines.length) {
    const item = ITEM.exec(lines[i]);
    if (item && item[1].length > margin.length && element.lastChild) {
      const inner = [];
      i = list(lines, i, inner);
      element.lastChild.append(...inner);
    } else if (item && item[1].length === margin.length && Boolean(item[2]) === Boolean(number)) {
      element.append(h('li', {}, inline(item[3])));
      i += 1;
    } else if (!item && lines[i].trim() && /^\s+/.test(lines[i]) && element.lastChild) {
      element.lastChild.append(' ', ...inline(lines[i].trim()));
      i += 1;
    } else {
      break;
    }
  }
  return i;
}
