// The way between the views. Live is part of the page; every other view is a module of its own with its style and its words, loaded on the first visit.

import { find, h, mark, put, root, speakAlso, t, toast } from './dom.js';

/** Views by their path; the same paths are served by the console. `/metrics` is Prometheus' own. */
export const PATHS = { '/': 'live', '/inspect': 'inspect', '/charts': 'metrics', '/traffic': 'traffic', '/config': 'config', '/deployments': 'deployments' };
/** The view that an address names. */
export const viewOf = url => PATHS[new URL(url, location.href).pathname] ?? 'live';

const LIVE = { title: 'live.title', subtitle: 'live.sub' };
const loaded = new Map();
let page = null, shown = 'live', current = LIVE, visit = 0;

/** Connects the browser's history; called once. `parts` is what views are given, `onShown` hears which view is on the screen. */
export function start(parts, onShown) {
  page = { ...parts, navigate, replaceQuery };
  addEventListener('popstate', () => show(onShown));
  page.onShown = onShown;
  return { navigate, show: () => show(onShown), changed, tick: () => current.tick?.(), words, draw };
}

function navigate(url) {
  const target = new URL(url, location.href);
  if (target.href !== location.href) history.pushState(null, '', target);
  return show(page.onShown);
}

/** Puts state that someone may want to share into the address. */
function replaceQuery(values) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) if (value === null || value === undefined || value === '') url.searchParams.delete(name); else url.searchParams.set(name, value);
  if (url.href !== location.href) history.replaceState(null, '', url);
}

async function load(name) {
  const style = new Promise((done, failed) => {
    const link = h('link', { rel: 'stylesheet', href: `/ui/views/${name}.css` });
    link.addEventListener('load', done);
    link.addEventListener('error', () => failed(new Error(`/ui/views/${name}.css`)));
    document.head.append(link);
  });
  const [module] = await Promise.all([import(`./views/${name}.js`), speakAlso(name), style]);
  return module.mount(page);
}

async function show(onShown) {
  const name = viewOf(location.href), mine = ++visit;
  const host = find('view');
  try {
    if (name !== 'live' && !loaded.has(name)) { host.setAttribute('aria-busy', 'true'); loaded.set(name, await load(name)); }
  } catch (error) {
    toast(t('view.failed', { reason: error.message }), true);
    return;
  } finally { host.removeAttribute('aria-busy'); }
  // Another view was asked for while this one loaded.
  if (mine !== visit) return;
  const view = name === 'live' ? LIVE : loaded.get(name), moved = name !== shown;
  if (moved) current.hide?.();
  shown = name;
  current = view;
  root.dataset.view = name;
  find('live').hidden = name !== 'live';
  host.hidden = name === 'live';
  if (name !== 'live' && host.firstChild !== view.node) host.replaceChildren(view.node);
  draw();
  if (moved) { scrollTo({ top: 0 }); find('main').focus({ preventScroll: true }); }
  onShown(name);
  view.show?.(new URL(location.href).searchParams);
}

/** Title, address bar's title and the navigation's mark. */
function draw() {
  put(find('title'), t(current.title));
  put(find('subtitle'), current.subtitle ? t(current.subtitle) : '');
  document.title = `${t(current.title)} · smov`;
  find('nav-live').hidden = shown !== 'live';
  for (const link of document.querySelectorAll('a[data-view]')) if (link.dataset.view === shown) mark(link, 'aria-current', 'page'); else link.removeAttribute('aria-current');
}

function changed(topics) { if (topics.size > 0) current.changed?.(topics); }

/** The language is another one: all views that were loaded say it. */
function words() { draw(); for (const view of loaded.values()) view.words?.(); }
