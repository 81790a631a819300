// Canvas helpers: sharp pixels on any screen, and the theme's colours as numbers.

export function fitCanvas(canvas, width, height) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  canvas.style.height = `${height}px`;
  const paint = canvas.getContext('2d');
  paint.setTransform(ratio, 0, 0, ratio, 0, 0);
  paint.clearRect(0, 0, width, height);
  return paint;
}

const NAMES = ['kept', 'released', 'gone', 'query', 'head', 'carried', 'ink', 'muted', 'line', 'surface', 'thread'];

// {kept: [r, g, b], ...} from the custom properties --kept etc., which are written as #rrggbb.
export function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => {
    const value = parseInt(style.getPropertyValue(`--${name}`).trim().slice(1), 16);
    return [name, [value >> 16, (value >> 8) & 255, value & 255]];
  }));
}

export const mix = (from, to, share) => `rgb(${from.map((a, i) => Math.round(a + (to[i] - a) * share)).join(' ')})`;

// Rows of shares (0 to 1, NaN: nothing) as an image that is drawn scaled, one cell a column and row.
export function heatmap(rows, width, from, to) {
  const image = new ImageData(width, rows.length);
  rows.forEach((row, y) => {
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      if (Number.isNaN(row[x])) continue;
      for (let i = 0; i < 3; i++) image.data[at + i] = from[i] + (to[i] - from[i]) * row[x];
      image.data[at + 3] = 255;
    }
  });
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = rows.length;
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}
