// The page's entry: one stream, one frame loop, the bars around the views, and the Live view. Heavier parts (lists, booking, other views) load when they are needed.

import { Lanes, SERVICES, SharedStream, Store, clock, duration, routingLine } from './core.js';
import { announce, call, explainOnClick, find, h, kept, mark, number, picture, put, root, speak, t, toast, tone } from './dom.js';
import { Board, Ticker, Topology, drawInterventions } from './live.js';

const LAMPS_MS = 100, TABLE_MS = 250, RATES_MS = 1000, FAST_PER_SECOND = 100, HIDDEN_LIMIT_MS = 5 * 60_000, LOST_AFTER_MS = 10_000;
const THEATRE_PATHS = { user: '/users/', movie: '/movies/', booking: '/bookings/' };

await speak(root.lang);

// ---------------------------------------------------------------- who this tab is

const client = (() => {
  const fresh = `t-${Math.random().toString(36).slice(2, 10)}`;
  try {
    const known = sessionStorage.getItem('smov.client');
    if (known) return known;
    sessionStorage.setItem('smov.client', fresh);
  } catch { /* a tab without storage gets a new name on reload */ }
  return fresh;
})();

const store = new Store(client);
const connection = { status: 'connecting', since: Date.now(), lastEvent: null, nextTry: 0 };
const connected = () => connection.status === 'live';

// ---------------------------------------------------------------- own requests

const lanes = new Lanes(3);

/** A request of this tab to the theatre, logged in the browser's console as the seed does. */
async function ask(service, path, { method = 'GET', body, headers = {}, canary = store.load.canary } = {}) {
  const answer = await fetch(path, {
    method, body: body === undefined ? undefined : JSON.stringify(body),
    headers: { Accept: 'application/json', 'x-smov-client': client, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...(canary ? { 'x-canary': 'true' } : {}), ...headers },
  });
  const cluster = answer.headers.get('x-service-cluster'), pod = answer.headers.get('x-pod-name');
  console.log(routingLine(answer.headers.get('x-service-name') ?? `${service}-service`, cluster ?? 'unknown', pod ?? 'unknown'));
  return answer;
}

let turn = 0;
function sendOwn(count) {
  for (let i = 0; i < count; i += 1) {
    const target = store.load.target === 'all' ? SERVICES[turn++ % SERVICES.length] : store.load.target;
    lanes.run(() => ask(target, THEATRE_PATHS[target]).then(answer => answer.arrayBuffer())).catch(error => toast(t('dock.failed', { reason: error.message }), true));
  }
}

async function sendBurst(count) {
  try {
    await call('/api/v1/load/burst', { count, target: store.load.target, canary: store.load.canary, client: `${client}.burst` });
    toast(t('dock.burst.sent', { n: count }));
  } catch (error) { toast(t('dock.failed', { reason: error.message }), true); }
}

async function setLoad(change) {
  const wanted = { running: store.load.running, rate: store.load.rate, target: store.load.target, canary: store.load.canary, ...change };
  try {
    const state = await call('/api/v1/load', wanted);
    apply('load', state ?? wanted);
  } catch (error) {
    toast(t('dock.failed', { reason: error.message }), true);
    drawDock();
  }
}

// ---------------------------------------------------------------- parts that load late

let theatre = null, operations = null;
const withTheatre = () => (theatre ??= import('./theatre.js').then(module => module.mount({ store, ask, openRequest })));
const withOperations = () => (operations ??= import('./operations.js').then(module => module.mount({ store, connected })));
/** One request in the inspector, at an address of its own. */
const openRequest = row => navigate(`/inspect?req=${encodeURIComponent(row.id)}`);

// ---------------------------------------------------------------- other views

let views = null, view = null, shown = 'live';
const pending = new Set();
const withViews = () => (views ??= import('./views.js').then(module => {
  view = module.start({ store, connected, client, ask, openRequest: id => view.navigate(`/inspect?req=${encodeURIComponent(id)}`) }, viewShown);
  return view;
}));
const navigate = url => withViews().then(way => way.navigate(url)).catch(error => toast(t('view.failed', { reason: error.message }), true));

function viewShown(name) {
  shown = name;
  dirty.add('all');
  schedule();
}

document.addEventListener('click', event => {
  const link = event.target.closest('a[data-view]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(link.href);
});

// ---------------------------------------------------------------- views

const boards = Object.fromEntries(SERVICES.map(service => [service, new Board(service, store, { openRequest, announce })]));
find('boards').append(...SERVICES.map(service => boards[service].node));
const ticker = new Ticker(store, { openRequest });
const topology = new Topology(store);

/** Takes the newest change back, whoever made it. */
async function undo() {
  const button = find('undo');
  button.disabled = true;
  try {
    const { results = [] } = await call('/api/v1/undo', {});
    const failed = results.filter(item => !['configured', 'created', 'deleted', 'unchanged'].includes(item.outcome));
    if (failed.length > 0) toast(t('undo.partly', { names: failed.map(item => `${item.cluster}/${item.ref}`).join(', ') }), true);
    else toast(t('undo.done', { names: results.map(item => `${item.cluster}/${item.ref}`).join(', ') }));
  } catch (error) { toast(t('undo.failed', { reason: error.message }), true); } finally { button.disabled = false; }
}

async function reset() {
  try {
    const { changed } = await call('/api/v1/reset', {});
    toast(changed.length > 0 ? t('reset.done', { n: changed.length, names: changed.map(item => `${item.cluster}/${item.name}`).join(', ') }) : t('reset.nothing'));
  } catch (error) { toast(t('reset.failed', { reason: error.message }), true); }
}

// ---------------------------------------------------------------- one loop

const dirty = new Set(['all']);
const queue = [];
let frozen = false, waiting = 0, scheduled = false, lampsAt = 0, tableAt = 0, ratesAt = 0, ratesUntil = 0, eventsInSecond = 0;

function apply(type, data) {
  for (const topic of store.apply(type, data)) { dirty.add(topic); if (shown !== 'live') pending.add(topic); }
  if (type === 'req') {
    eventsInSecond += data.n ?? data.rows.length;
    if (frozen) waiting += data.n ?? data.rows.length;
    for (const row of data.rows) if (row.mine === `${client}.burst`) console.log(routingLine(`${row.svc}-service`, row.cluster ?? 'unknown', row.pod ?? 'unknown'));
  }
  schedule();
}

function received(type, data) {
  connection.lastEvent = Date.now();
  if (type === 'hello') greeted(data);
  queue.push([type, data]);
  if (document.hidden) for (const [kind, content] of queue.splice(0)) apply(kind, content);
  else schedule();
}

function schedule() {
  if (scheduled || document.hidden) return;
  scheduled = true;
  requestAnimationFrame(frame);
}

function frame(now) {
  scheduled = false;
  for (const [type, data] of queue.splice(0)) {
    apply(type, data);
    if (type === 'req' && !frozen && shown === 'live') for (const row of data.rows) topology.fly(row, now);
    if (type === 'req') ratesUntil = now + 12_000;
  }
  if (dirty.has('all')) { dirty.clear(); drawAll(); }
  if (now - lampsAt >= LAMPS_MS) { lampsAt = now; drawLamps(); tellView(); }
  if (now - tableAt >= TABLE_MS) { tableAt = now; drawTables(); }
  drawRest();
  if (now - ratesAt >= RATES_MS) { ratesAt = now; topology.drawRates(Date.now()); }
  if (!frozen) topology.step(now);
  if (topology.moving > 0 || pending.size > 0 || (shown === 'live' && (dirty.size > 0 || now < ratesUntil))) schedule();
}

const taken = topic => dirty.delete(topic);

function tellView() {
  if (shown === 'live' || pending.size === 0) return;
  const topics = new Set(pending);
  pending.clear();
  view.changed(topics);
}

function drawLamps() {
  if (frozen || shown !== 'live') return;
  for (const service of SERVICES) {
    if (taken(`lamps:${service}`)) boards[service].drawLamps();
    if (taken(`stat:${service}`)) boards[service].drawStat();
  }
}

function drawTables() {
  if (frozen) put(find('freeze').lastElementChild, t('freeze.waiting', { n: number(waiting) }));
  else if (taken('ticker')) ticker.draw();
  if (taken('totals')) drawTotals();
}

function drawRest() {
  for (const service of SERVICES) if (taken(`cfg:${service}`)) {
    boards[service].drawConfigured();
    boards[service].drawHealth(connected());
    drawInterventions(store, reset);
    topology.build(connected());
  }
  if (taken('load')) drawDock();
  if (taken('store')) topology.build(connected());
  if (taken('pods')) drawPods();
  if (taken('link')) { drawInterventions(store, reset); operations?.then(part => part.drawLink()); }
  if (taken('mesh')) { drawMesh(); drawConnection(); }
}

function drawAll() {
  for (const service of SERVICES) boards[service].draw();
  ticker.draw();
  drawTotals();
  drawDock();
  drawInterventions(store, reset);
  drawMesh();
  drawPods();
  drawHead();
  drawConnection();
  drawSteps();
}

function drawPods() {
  for (const service of SERVICES) boards[service].drawHealth(connected());
  topology.build(connected());
  operations?.then(part => part.draw());
}

function drawTotals() {
  const { sent, errors, p95_ms: p95 } = store.totals;
  put(find('kpi-sent'), number(sent ?? 0));
  find('kpi-errors').parentElement.classList.toggle('e', errors > 0);
  put(find('kpi-errors'), sent > 0 ? `${((errors / sent) * 100).toFixed(1)}%` : '–');
  put(find('kpi-p95'), duration(p95));
  drawSteps();
}

function drawMesh() {
  const chip = find('istiod'), views = store.mesh?.istiod;
  chip.hidden = !views;
  if (!views) return;
  const lost = Object.entries(views).find(([, view]) => view && view.connected === false);
  const known = Object.values(views).filter(Boolean);
  const proxies = known.reduce((sum, view) => sum + (view.proxies ?? 0), 0), inSync = known.reduce((sum, view) => sum + (view.in_sync ?? 0), 0);
  const text = lost ? t('istiod.partial', { cluster: lost[0] }) : inSync < proxies ? t('istiod.sync', { a: inSync, b: proxies }) : t('istiod.ok');
  tone(chip, `chip ${lost ? 'err' : inSync < proxies ? 'warn' : 'ok'}`);
  put(chip, text);
}

function drawHead() {
  const door = find('door');
  door.hidden = store.meta.door !== 'operator';
  put(door.lastElementChild, t('door.operator'));
  mark(door, 'title', t('door.operator.title'));
  put(find('version'), store.meta.version ? t('foot.version', { version: store.meta.version, istio: store.meta.istio ?? '?' }) + (store.meta.seed === null ? '' : ` · ${t('foot.seed', { seed: store.meta.seed })}`) : '');
  if (view) view.draw();
  else { put(find('title'), t('live.title')); put(find('subtitle'), t('live.sub')); document.title = `${t('live.title')} · smov`; }
  for (const button of document.querySelectorAll('[data-lang]')) mark(button, 'aria-pressed', String(button.dataset.lang === root.lang));
  mark(find('projector'), 'aria-pressed', String('projector' in root.dataset));
  mark(find('only-mine'), 'aria-pressed', String(store.onlyMine));
  mark(find('only-mine'), 'aria-label', t('mine.toggle'));
  mark(find('freeze'), 'aria-pressed', String(frozen));
  put(find('freeze').lastElementChild, frozen ? t('freeze.waiting', { n: number(waiting) }) : t('freeze'));
}

// ---------------------------------------------------------------- connection

function greeted(hello) {
  if ('langUnset' in root.dataset) {
    delete root.dataset.langUnset;
    if ((hello.lang_default === 'en' || hello.lang_default === 'ko') && hello.lang_default !== root.lang) changeLanguage(hello.lang_default, false);
  }
  if (hello.missed > 0) announce(t('say.lost', { n: hello.missed }));
}

function connectionChanged(status, delay) {
  const now = Date.now();
  if (status !== connection.status && status === 'live') { connection.lostAt = null; dirty.add('pods'); }
  if (status === 'reconnecting') { connection.lostAt ??= now; connection.nextTry = now + delay; }
  if (status !== connection.status) announce(t('say.conn', { status: t(`conn.${status}`) }));
  connection.status = status;
  drawConnection();
  dirty.add('pods');
  schedule();
}

function drawConnection() {
  const now = Date.now(), pill = find('conn'), banner = find('lost');
  const long = connection.status === 'reconnecting' && now - (connection.lostAt ?? now) > LOST_AFTER_MS;
  const gateway = store.mesh?.gateway;
  const gone = connection.status === 'live' && gateway && gateway.connected === false;
  const shown = gone ? 'gateway' : long ? 'lost' : connection.status;
  tone(pill, `chip ${shown === 'live' ? 'ok' : shown === 'paused' || shown === 'connecting' ? '' : shown === 'reconnecting' ? 'warn' : 'err'}`.trim());
  picture(pill.querySelector('svg'), shown === 'live' ? 'check' : shown === 'lost' || shown === 'gateway' ? 'x' : 'retry');
  put(pill.lastElementChild, t(`conn.${shown}`));
  const since = clock((gone ? gateway.since / 1000 : connection.lastEvent ?? now) * 1000);
  const lost = connection.status === 'reconnecting' && connection.lastEvent !== null;
  banner.hidden = !lost && !gone;
  root.toggleAttribute('data-lost', lost || Boolean(gone));
  if (gone) put(banner.lastElementChild, t('lost.gateway', { since }));
  else if (lost) {
    const seconds = Math.ceil((connection.nextTry - now) / 1000);
    put(banner.lastElementChild, seconds > 0 ? t('lost.banner', { seconds, since }) : t('lost.now', { since }));
  }
}

setInterval(() => {
  root.toggleAttribute('data-fast', eventsInSecond > FAST_PER_SECOND);
  eventsInSecond = 0;
  if (document.hidden) return;
  if (connection.status !== 'live') drawConnection();
  if (shown === 'live') operations?.then(part => part.tick()); else view.tick();
}, 1000);

// ---------------------------------------------------------------- dock

function drawDock() {
  const { running, rate, target, canary, error } = store.load;
  const play = find('play');
  mark(play, 'aria-pressed', String(running));
  mark(play, 'aria-label', t(running ? 'dock.pause' : 'dock.play'));
  picture(play.querySelector('svg'), running ? 'pause' : 'play');
  const slider = find('rate');
  if (!sliding) slider.value = String(rate);
  drawRate(Number(slider.value));
  for (const button of document.querySelectorAll('[data-target]')) mark(button, 'aria-pressed', String(button.dataset.target === target));
  find('canary').checked = canary;
  const trouble = error ?? store.load.stopped;
  if (trouble && trouble !== lastTrouble) toast(error ? t('dock.failed', { reason: loadReason(error) }) : loadReason(trouble), Boolean(error));
  lastTrouble = trouble;
}

function drawRate(rate) {
  put(find('rate-value'), String(rate));
  mark(find('rate'), 'aria-valuetext', t('dock.rate.text', { n: rate }));
}

function loadReason(code) { const text = t(`load.${code}`); return text === `load.${code}` ? store.load.error_text ?? code : text; }

let sliding = null, lastTrouble = null;
find('play').addEventListener('click', () => { setLoad({ running: !store.load.running }); stepDone('play'); });
find('rate').addEventListener('input', event => {
  drawRate(Number(event.target.value));
  clearTimeout(sliding);
  sliding = setTimeout(() => { sliding = null; setLoad({ rate: Number(event.target.value) }); }, 150);
});
for (const button of document.querySelectorAll('[data-target]')) button.addEventListener('click', () => setLoad({ target: button.dataset.target }));
for (const button of document.querySelectorAll('[data-burst]')) button.addEventListener('click', () => { const count = Number(button.dataset.burst); if (count >= 100) sendBurst(count); else sendOwn(count); });
find('canary').addEventListener('change', event => setLoad({ canary: event.target.checked }));
find('reset').addEventListener('click', reset);

// ---------------------------------------------------------------- first visit

const steps = new Set();
function stepDone(step) { steps.add(step); drawSteps(); }
function drawSteps() {
  const panel = find('steps');
  panel.hidden = 'stepsDone' in root.dataset;
  if (panel.hidden) return;
  if (store.load.running) steps.add('play');
  if (SERVICES.some(service => store.rows(service).length > 0)) steps.add('lamp');
  if (SERVICES.some(service => store.services[service].stat.n >= 20)) steps.add('compare');
  for (const item of panel.querySelectorAll('[data-step]')) item.classList.toggle('done', steps.has(item.dataset.step));
}
find('steps-done').addEventListener('click', () => { kept.set('steps', 'done'); root.dataset.stepsDone = ''; drawSteps(); });

// ---------------------------------------------------------------- top bar

async function changeLanguage(lang, keep = true) {
  await speak(lang);
  if (keep) kept.set('lang', lang);
  dirty.add('all');
  schedule();
  theatre?.then(part => part.words());
  operations?.then(part => part.words());
  view?.words();
}

function toggleTheme() {
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  kept.set('theme', root.dataset.theme);
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', event => { if (!kept.get('theme')) root.dataset.theme = event.matches ? 'dark' : 'light'; });

function toggleProjector() {
  const on = !('projector' in root.dataset);
  if (on) root.dataset.projector = ''; else delete root.dataset.projector;
  kept.set('projector', on ? '1' : '0');
  foldLists();
  drawHead();
  topology.build(connected());
}

function toggleMine() {
  store.onlyMine = !store.onlyMine;
  root.toggleAttribute('data-mine', store.onlyMine);
  announce(t(store.onlyMine ? 'mine.on' : 'mine.off'));
  dirty.add('all');
  schedule();
}

function toggleFreeze() {
  frozen = !frozen;
  waiting = 0;
  if (!frozen) dirty.add('all');
  drawHead();
  schedule();
}

for (const button of document.querySelectorAll('[data-lang]')) button.addEventListener('click', () => changeLanguage(button.dataset.lang));
find('theme').addEventListener('click', toggleTheme);
find('projector').addEventListener('click', toggleProjector);
find('only-mine').addEventListener('click', toggleMine);
find('freeze').addEventListener('click', toggleFreeze);
find('undo').addEventListener('click', undo);
explainOnClick();

// ---------------------------------------------------------------- keyboard

const SHORTCUTS = {
  1: () => (shown === 'live' ? (scrollTo({ top: 0 }), find('main').focus()) : navigate('/')), 2: () => navigate('/inspect'), 3: () => navigate('/charts'), 4: () => navigate('/traffic'), 6: () => navigate('/config'), 8: () => navigate('/deployments'), s: () => find('play').click(), f: toggleFreeze, m: toggleMine, p: toggleProjector, t: toggleTheme,
  l: () => changeLanguage(root.lang === 'ko' ? 'en' : 'ko'), b: () => navigate('/').then(() => { location.hash = '#booking'; }), u: () => find('undo').click(), '?': openKeys,
};
function openKeys() {
  const dialog = find('keys');
  dialog.querySelector('dl').replaceChildren(...Object.keys(SHORTCUTS).flatMap(key => [h('dt', null, h('kbd', null, key)), h('dd', null, t(key === '?' ? 'keys.help' : `keys.${key}`))]));
  find('keys-on').checked = kept.get('keys') !== 'off';
  dialog.showModal();
}
find('keys-open').addEventListener('click', openKeys);
find('keys-on').addEventListener('change', event => kept.set('keys', event.target.checked ? 'on' : 'off'));
document.addEventListener('keydown', event => {
  if (event.metaKey || event.ctrlKey || event.altKey || kept.get('keys') === 'off') return;
  if (event.target.closest('input,textarea,select,dialog')) return;
  const shortcut = SHORTCUTS[event.key];
  if (shortcut) { event.preventDefault(); shortcut(); }
});

// ---------------------------------------------------------------- sight

function foldLists() {
  const open = innerWidth > 820 && !('projector' in root.dataset);
  for (const details of document.querySelectorAll('.list')) details.open = open;
}
foldLists();
for (const service of SERVICES) {
  const { 'list-title': title, add } = boards[service].parts;
  title.dataset.t = `list.${service}`;
  put(title, t(`list.${service}`));
  put(add.lastElementChild, t(service === 'booking' ? 'booking.open' : 'add'));
  add.lastElementChild.dataset.t = service === 'booking' ? 'booking.open' : 'add';
  add.addEventListener('click', () => withTheatre().then(part => part.add(service)));
}
const sight = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    sight.unobserve(entry.target);
    if (entry.target.id === 'deploy') withOperations().then(part => part.draw());
    else withTheatre().then(part => part.show(entry.target.id === 'book' ? 'seats' : entry.target.closest('[data-service]').dataset.service));
  }
}, { rootMargin: '0px 0px -64px 0px' });
for (const service of SERVICES) sight.observe(boards[service].parts['list-body']);
sight.observe(find('book'));
sight.observe(find('deploy'));

// ---------------------------------------------------------------- start

const stream = new SharedStream({
  EventSource, BroadcastChannel: globalThis.BroadcastChannel, locks: navigator.locks, storage: localStorageOrNothing(), fetch: (...request) => fetch(...request),
  setTimeout: (...timer) => setTimeout(...timer), clearTimeout: timer => clearTimeout(timer), now: () => Date.now(), random: () => Math.random(), visible: () => !document.hidden,
}, { url: '/api/v1/events', stateUrl: '/api/v1/state', onEvent: received, onStatus: connectionChanged });

function localStorageOrNothing() { try { return localStorage; } catch { return { getItem: () => null, setItem: () => {} }; } }

let sleepTimer = null;
document.addEventListener('visibilitychange', () => {
  clearTimeout(sleepTimer);
  if (document.hidden) { sleepTimer = setTimeout(() => stream.sleep(), HIDDEN_LIMIT_MS); return; }
  stream.wake();
  dirty.add('all');
  schedule();
});
addEventListener('pagehide', () => stream.close());
addEventListener('pageshow', event => { if (event.persisted) location.reload(); });
addEventListener('resize', () => { if (shown === 'live') topology.build(connected()); });

drawAll();
stream.start();
if (location.pathname !== '/') await withViews().then(way => way.show());
root.dataset.ready = '';
