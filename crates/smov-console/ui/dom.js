// The page's tools for the DOM: elements from data (never from markup text), words in two languages, help, toasts, remembered choices.

import { translator } from './core.js';

const SVG = 'http://www.w3.org/2000/svg';
export const root = document.documentElement;
export const find = id => document.getElementById(id);

// ---------------------------------------------------------------- elements

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 't') { element.dataset.t = value; element.textContent = t(value); }
    else if (name === 'ta') { element.dataset.ta = value; element.setAttribute('aria-label', t(value)); }
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element; strings among the children become text. `t` and `ta` bind its text and its label to a key of the dictionary. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);
/** An icon of the sprite. */
export const icon = (name, tone = '') => s('svg', { class: `i ${tone}`.trim(), 'aria-hidden': 'true', focusable: 'false' }, s('use', { href: `#i-${name}` }));
/** The mark of a cluster: circle for ctx1, square for ctx2. */
export const glyph = cluster => h('i', { class: cluster === 'ctx1' ? 'g1' : cluster === 'ctx2' ? 'g2' : 'g0', 'aria-hidden': 'true' });
/** A `?` that explains `key`. */
export const help = key => labelHelp(h('button', { type: 'button', class: 'q', data: { help: key } }));

/** Sets text only when it differs, so that nothing is laid out (or read aloud) twice. */
export function put(element, text) { if (element.firstChild?.data !== text || element.childNodes.length !== 1) element.textContent = text; }
/** Sets the class only when it differs. */
export function tone(element, name) { if (element.className !== name) element.className = name; }
/** Sets an attribute only when it differs. */
export function mark(element, name, value) { if (element.getAttribute(name) !== value) element.setAttribute(name, value); }
/** Points an icon at another picture of the sprite. */
export function picture(svg, name) { mark(svg.querySelector('use'), 'href', `#i-${name}`); }

// ---------------------------------------------------------------- words

/** Views whose words are loaded as well. */
const PARTS = new Set();
export let t = translator({});
export const language = () => root.lang;
/** `1,284` in the reader's way. */
export const number = value => new Intl.NumberFormat(root.lang).format(value);
/** The Korean or the English one of two texts that the data brings along. */
export const either = (korean, english) => (root.lang === 'en' ? english ?? korean : korean ?? english);

/** Loads a dictionary and puts its words everywhere. */
export async function speak(lang) {
  const names = [`${lang}.js`, ...[...PARTS].map(part => `${part}.${lang}.js`)];
  const words = await Promise.all(names.map(async name => (await import(`./i18n/${name}`)).default));
  root.lang = lang;
  t = translator(Object.assign({}, ...words));
  translate(document);
}

/** Adds the words of a view to the dictionary, in this language and in each that comes. */
export async function speakAlso(part) {
  PARTS.add(part);
  await speak(root.lang);
}

/** Fills every bound text and label below `node`. */
export function translate(node) {
  for (const element of node.querySelectorAll('[data-t]')) put(element, t(element.dataset.t));
  for (const element of node.querySelectorAll('[data-ta]')) mark(element, 'aria-label', t(element.dataset.ta));
  for (const element of node.querySelectorAll('[data-tp]')) mark(element, 'placeholder', t(element.dataset.tp));
  for (const element of node.querySelectorAll('[data-help]')) labelHelp(element);
}

function labelHelp(button) {
  mark(button, 'aria-label', t('help.open', { name: t(`help.${button.dataset.help}.name`) }));
  return button;
}

// ---------------------------------------------------------------- remembered choices

export const kept = {
  get(key) { try { return localStorage.getItem(`smov.${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`smov.${key}`, value); } catch { /* a browser that keeps nothing still shows everything */ } },
};

// ---------------------------------------------------------------- help, toast, announcements

const PATHS = { user: '/users/', movie: '/movies/', booking: '/bookings/' };

/** The glossary, asked for by the first `?` and not before; after a failure the next `?` asks again. */
let glossary = null;
function terms() {
  glossary ??= call('/api/v1/glossary').then(answer => new Map(answer.terms.map(term => [term.key, term])), error => { glossary = null; throw error; });
  return glossary;
}

/** One popover explains lamps, numbers and flags: a sentence and the line for a terminal. */
export function explainOnClick() {
  const panel = find('help'), sentence = panel.querySelector('p'), line = panel.querySelector('pre');
  let asked = 0;
  document.addEventListener('click', async event => {
    const button = event.target.closest('[data-help],[data-flag]');
    if (!button) return;
    const mine = ++asked, service = button.closest('[data-service]')?.dataset.service ?? 'user', { flag, help: key } = button.dataset;
    const values = { host: `${service}-service`, path: PATHS[service], origin: location.origin };
    const say = (text, command) => {
      sentence.textContent = text;
      line.textContent = command;
      line.hidden = command === '';
      const at = button.getBoundingClientRect(), box = panel.getBoundingClientRect(), below = at.bottom + 6;
      panel.style.left = `${Math.min(Math.max(8, at.left - 16), innerWidth - box.width - 8)}px`;
      panel.style.top = `${below + box.height > innerHeight - 8 ? Math.max(8, at.top - box.height - 6) : below}px`;
    };
    panel.showPopover();
    // What a flag means is known without the glossary.
    say(flag ? flagSentence(flag) : t('help.loading'), '');
    try {
      const term = (await terms()).get(flag ? `flag.${flag.split(',')[0]}` : key);
      if (mine !== asked || !panel.matches(':popover-open')) return;
      const command = (term?.command ?? '').replace(/\{(host|path|origin)\}/g, (_, name) => values[name]);
      say(flag ? flagSentence(flag) : term ? either(term.text_ko, term.text_en) : t('help.unknown', { key }), command);
    } catch (error) { if (mine === asked && !flag) say(t('help.unavailable', { reason: error.message }), ''); }
  });
}

/** `UH` in words; several flags one after the other. */
export function flagSentence(flags) {
  if (flags === '-') return t('flag.-');
  return flags.split(',').map(flag => {
    const text = t(`flag.${flag}`);
    return `${flag}: ${text === `flag.${flag}` ? t('flag.other') : text}`;
  }).join(' ');
}

let toastTimer = null;
/** One message at a time, gone after six seconds. */
export function toast(text, bad = false) {
  const box = find('toast');
  box.className = bad ? 'err' : '';
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 6000);
}

let saidAt = 0, sayTimer = null;
/** Tells screen readers, at most once in five seconds; the newest message wins. */
export function announce(text) {
  clearTimeout(sayTimer);
  const wait = Math.max(0, saidAt + 5000 - performance.now());
  sayTimer = setTimeout(() => { saidAt = performance.now(); put(find('say'), text); }, wait);
}

// ---------------------------------------------------------------- requests

/** Sends JSON to the console's API and returns the answer; throws an `Error` whose message is the server's reason. */
export async function call(path, body) {
  const answer = await fetch(path, body === undefined ? undefined : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const text = await answer.text();
  let json = null;
  try { json = JSON.parse(text); } catch { json = null; }
  if (!answer.ok) throw Object.assign(new Error(reasonOf(json, answer.status)), { problem: json });
  return json;
}

/** The reason in a problem+json answer, in the reader's language where the server has both. */
export function reasonOf(json, status) {
  if (!json) return `HTTP ${status}`;
  const fields = (json.errors ?? []).map(error => either(error.detail_ko, error.detail)).filter(Boolean);
  if (fields.length > 0) return fields.join(' ');
  return either(json.text_ko ?? json.detail_ko, json.text_en ?? json.detail) ?? json.detail ?? json.title ?? `HTTP ${status}`;
}
