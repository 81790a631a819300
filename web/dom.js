// Building elements without markup strings: text is always text.

const SVG = 'http://www.w3.org/2000/svg';

// h('button.quiet', {onclick, 'aria-label': '…'}, child, 'text', null, [more])
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes('-') && name !== 'list') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Line icons on a 20 x 20 grid.
const PATHS = {
  send: 'M10 16V4M5 9l5-5 5 5',
  stop: 'M6 6h8v8H6z',
  sliders: 'M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4',
  split: 'M3 4h14v12H3zM10 4v12',
  plus: 'M10 4v12M4 10h12',
  sun: 'M10 6.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1',
  moon: 'M16 11.8A6.5 6.5 0 118.2 4a5.2 5.2 0 007.8 7.8z',
  auto: 'M10 3a7 7 0 100 14 7 7 0 000-14M10 3v14M10 6l4.5-1M10 10h7M10 14l4.5 1',
  close: 'M5 5l10 10M15 5L5 15',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  again: 'M15.5 8A6 6 0 104.6 12.7M16 4v4h-4',
  chevron: 'M7 5l5 5-5 5',
  check: 'M4 10.5l4 4 8-9',
};

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

export function iconButton(name, label, onclick, more = {}) {
  return h('button.icon-button', { type: 'button', 'aria-label': label, title: label, onclick, ...more }, icon(name));
}

// A spec such as rpc:interval=64,ratio=4, which may break after its commas.
export function specTag(text, title = null) {
  return h('span.spec', { title }, text.split(',').map((part, i) => (i ? [',', h('wbr'), part] : part)));
}

// Replaces an element's children, and only then: focus and scrolling elsewhere stay.
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// 1234567 -> "1,234,567"; thin, in the reader's own grouping.
const grouped = new Intl.NumberFormat();
export const count = (n) => grouped.format(Math.round(n));

export function seconds(s) {
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}
