// Starts the page: asks the server what it is, and joins the parts.
import { Api } from './api.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { Controls } from './controls.js';
import { Settings } from './settings.js';
import { laneSpecs, presets } from './request.js';
import { buildSpec } from './spec.js';
import { count, fill, h, icon, iconButton } from './dom.js';

const GAUGE_BUSY_MS = 1000;
const GAUGE_IDLE_MS = 8000;

const settings = new Settings();
const api = new Api();
api.key = settings.key;

const talk = document.getElementById('talk');
const panel = document.getElementById('panel');
const narrow = matchMedia('(max-width: 60rem)');
const status = document.getElementById('announce');
const announce = (text) => { status.textContent = text; };

const turns = h('div.turns');
const welcome = h('div.welcome');
const chat = new Chat(api, settings, turns, announce);
const controls = new Controls(settings, panel, () => showPanel(false));
const composer = new Composer(chat, settings, () => showPanel(true));
talk.append(welcome, turns, composer.element);

// --- the bar

const modelName = h('span.model-name');
const serverGauge = h('span.server-gauge', { hidden: true, title: 'Cache memory of the server in use' }, h('i.server-gauge-track', {}, h('i')), h('span'));
const themeNames = { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' };
const themeIcons = { auto: 'auto', light: 'sun', dark: 'moon' };
const themeButton = iconButton('auto', '', () => { window.throughlineTheme.next(); drawTheme(); });
const compareButton = h('button.bar-toggle', { type: 'button', title: 'The same prompt under two settings', onclick: () => {
  settings.change({ compare: !settings.values.compare });
  controls.draw();
} }, icon('split'), h('span', {}, 'Side by side'));
const panelButton = iconButton('sliders', 'Settings', () => showPanel(panel.hidden), { 'aria-controls': 'panel' });
document.getElementById('bar').append(
  h('a.brand', { href: '/', 'aria-label': 'Throughline' }, h('img', { src: '/static/icon.svg', alt: '', width: 24, height: 24 }), h('span', {}, 'Throughline')),
  modelName, h('span.spring'), serverGauge, compareButton, iconButton('plus', 'New conversation', () => { chat.clear(); composer.set(''); }), themeButton, panelButton);

function drawTheme() {
  const { choice } = window.throughlineTheme;
  fill(themeButton, icon(themeIcons[choice]));
  themeButton.setAttribute('aria-label', themeNames[choice]);
  themeButton.title = themeNames[choice];
}

// --- the settings panel: beside the talk where there is room, over it where not

function showPanel(open, remember = true) {
  panel.hidden = !open;
  panelButton.setAttribute('aria-expanded', String(open));
  document.body.classList.toggle('has-panel', open);
  talk.inert = open && narrow.matches;
  if (remember) {
    if (!narrow.matches) settings.change({ panel: open });
    (open ? panel.querySelector('button') : panelButton).focus();
  }
}
narrow.addEventListener('change', () => showPanel(!narrow.matches && settings.values.panel !== false, false));

// --- the welcome, while nothing was asked

let trouble = null; // why there are no props

function drawWelcome(error = trouble) {
  welcome.hidden = chat.turns.length > 0;
  if (welcome.hidden) return;
  const { props } = chat;
  if (!props) {
    fill(welcome, h('h1', {}, error ? 'Not connected' : 'Connecting'), error && h('p.notice.is-bad', {}, h('span', {}, error.message),
      h('button.quiet', { type: 'button', onclick: () => (error.kind === 'key' ? askKey() : connect()) }, icon(error.kind === 'key' ? 'sliders' : 'again'), error.kind === 'key' ? 'Enter it' : 'Try again')));
    return;
  }
  const { model } = props;
  const now = laneSpecs(settings.values.lanes[0], props.defaults);
  fill(welcome,
    h('h1', {}, 'Think as long as it takes.'),
    h('p.lead', {}, h('b', {}, model.id), ` has a context of ${count(model.max_context)} tokens. Compress its cache while it thinks, or let it think in chunks, and watch what it keeps.`),
    h('div.presets', {}, presets(props).map((preset) => h('button.preset', { type: 'button',
      'aria-pressed': String(buildSpec(preset.kv) === buildSpec(now.kv) && buildSpec(preset.think) === buildSpec(now.think)), onclick: () => {
        settings.setLane(0, { kv: preset.kv, think: preset.think });
        controls.draw();
        composer.text.focus();
      } }, h('b', {}, preset.name), h('small', {}, preset.hint)))),
    h('p.keys', {}, h('kbd', {}, 'Enter'), ' sends, ', h('kbd', {}, 'Shift Enter'), ' breaks the line, ', h('kbd', {}, 'Esc'), ' stops, ', h('kbd', {}, '/'), ' goes to the prompt'));
}

function askKey() {
  showPanel(true);
  controls.focusKey();
}

// --- server figures in the bar

let poll_timer = 0;

async function pollServer() {
  clearTimeout(poll_timer);
  if (chat.props && document.visibilityState === 'visible') {
    try {
      const { kv } = await api.requests();
      serverGauge.hidden = false;
      serverGauge.querySelector('i i').style.width = `${Math.min(100, 100 * kv.usage)}%`;
      serverGauge.lastChild.textContent = `KV ${(100 * kv.usage).toFixed(kv.usage < 0.1 ? 1 : 0)} %`;
    } catch {
      serverGauge.hidden = true;
    }
  }
  poll_timer = setTimeout(pollServer, chat.busy ? GAUGE_BUSY_MS : GAUGE_IDLE_MS);
}

async function connect() {
  trouble = null;
  drawWelcome();
  try {
    chat.props = await api.props();
    modelName.textContent = chat.props.model.id;
    document.title = `${chat.props.model.id} · Throughline`;
    drawWelcome();
  } catch (error) {
    trouble = error;
    drawWelcome();
  }
  controls.setProps(chat.props);
  composer.draw();
  pollServer();
  if (trouble?.kind === 'key') askKey();
}

settings.addEventListener('change', () => {
  compareButton.setAttribute('aria-pressed', String(settings.values.compare));
  document.body.classList.toggle('is-comparing', settings.values.compare);
  composer.draw();
  drawWelcome();
});
settings.addEventListener('key', () => {
  api.key = settings.key;
  if (!chat.props) connect();
});
chat.addEventListener('change', () => {
  composer.draw();
  drawWelcome();
  if (chat.busy) pollServer();
  document.body.classList.toggle('has-turns', chat.turns.length > 0);
});
chat.addEventListener('trouble', (event) => {
  announce(event.detail.message);
  if (event.detail.kind === 'key') askKey();
});
document.addEventListener('keydown', (event) => {
  const typing = event.target.matches?.('input, textarea, select');
  if (event.key === 'Escape') {
    if (chat.busy) chat.stop();
    else if (!panel.hidden && narrow.matches) showPanel(false);
  } else if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    composer.text.focus();
  }
});

drawTheme();
settings.dispatchEvent(new Event('change'));
showPanel(!narrow.matches && settings.values.panel !== false, false);
connect();
if (!narrow.matches) composer.text.focus();
