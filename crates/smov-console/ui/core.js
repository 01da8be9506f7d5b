// Logic of the Live view without a DOM: statistics, rings, lamp columns, the store, the single stream, formats.
// Everything here runs under `node --test` as well as in the page.

export const SERVICES = ['user', 'movie', 'booking'];
export const CLUSTERS = ['ctx1', 'ctx2'];
/** Columns of a lamp board. */
export const LAMPS = 16;
/** Requests that the observed ratio looks at. */
export const WINDOW = 100;
/** Rows of the ticker. */
export const TICKER_ROWS = 8;
/** A picture of a cluster older than this is unknown, never green. */
export const STALE_MS = 10_000;
/** Entries of the timeline that are kept. */
export const MOMENTS = 1000;

// ---------------------------------------------------------------- statistics

/**
 * Exact central binomial interval: the counts [low, high] that `trials` draws with probability `p` stay in, except with chance `alpha`.
 * The normal approximation fails for 0/100 and 99/1, so the sum itself is taken.
 */
export function interval(trials, p, alpha = 0.05) {
  if (trials <= 0) return [0, 0];
  if (p <= 0) return [0, 0];
  if (p >= 1) return [trials, trials];
  const logP = Math.log(p), logQ = Math.log(1 - p);
  let cumulated = 0, logChoose = 0, low = 0, lowFound = false;
  for (let k = 0; k <= trials; k += 1) {
    if (k > 0) logChoose += Math.log((trials - k + 1) / k);
    cumulated += Math.exp(logChoose + k * logP + (trials - k) * logQ);
    if (!lowFound && cumulated > alpha / 2) { low = k; lowFound = true; }
    if (cumulated >= 1 - alpha / 2) return [low, k];
  }
  return [low, trials];
}

/** Whole percent of `part` in `whole`; null when there is nothing to divide. */
export const percent = (part, whole) => (whole > 0 ? Math.round((part / whole) * 100) : null);

/** Counts of rows as the server counts them: what reached no pod, a canary, or a pod that does not say where it lives stays outside N. */
export function ratio(rows) {
  const counts = { n: 0, ctx1: 0, ctx2: 0, excluded: { canary: 0, unreached: 0, unknown: 0, settling: 0 } };
  for (const row of rows) {
    if (row.cluster === null || row.cluster === undefined) counts.excluded.unreached += 1;
    else if (!CLUSTERS.includes(row.cluster)) counts.excluded.unknown += 1;
    else if (row.canary) counts.excluded.canary += 1;
    else { counts.n += 1; counts[row.cluster] += 1; }
  }
  return counts;
}

// ---------------------------------------------------------------- ring

/** The last `capacity` values, oldest first. */
export class Ring {
  #values = [];
  #start = 0;
  constructor(capacity) { this.capacity = capacity; }
  get size() { return this.#values.length; }
  push(value) {
    if (this.#values.length < this.capacity) this.#values.push(value);
    else { this.#values[this.#start] = value; this.#start = (this.#start + 1) % this.capacity; }
  }
  clear() { this.#values = []; this.#start = 0; }
  at(index) { return this.#values[(this.#start + index) % this.#values.length]; }
  last(count) {
    const size = this.size, from = Math.max(0, size - count), out = [];
    for (let i = from; i < size; i += 1) out.push(this.at(i));
    return out;
  }
}

// ---------------------------------------------------------------- lamps

/**
 * What one request lights: `on` in the row of the cluster that answered, `err` there for that pod's 5xx,
 * `miss` across both rows where no pod answered, `unknown` where a pod answered without saying where it lives.
 */
export function lampOf(row) {
  if (row.cluster === null || row.cluster === undefined) return 'miss';
  if (!CLUSTERS.includes(row.cluster)) return 'unknown';
  return row.status >= 500 ? 'err' : 'on';
}

/**
 * Class names of the 2 × 16 lamps, oldest column left. Columns that no request has reached yet are hollow, at the right.
 * `since` is when the present configuration began to count: older columns are dimmed, a divider stands before the first new one.
 */
export function lampColumns(rows, since = 0) {
  const columns = [];
  const shown = rows.slice(-LAMPS);
  for (let i = 0; i < LAMPS; i += 1) {
    const row = shown[i];
    if (!row) { columns.push({ ctx1: 'lamp', ctx2: 'lamp', kind: 'off', row: null }); continue; }
    const kind = lampOf(row);
    const old = since > 0 && row.ts < since;
    const first = !old && i > 0 && since > 0 && shown[i - 1].ts < since;
    const common = (old ? ' old' : '') + (first ? ' cut' : '');
    const mark = (row.delay_ms > 0 ? ' slow' : '') + (row.canary ? ' canary' : '');
    const of = cluster => {
      if (kind === 'miss') return `lamp err miss${common}`;
      if (kind === 'unknown') return `lamp unk${common}`;
      return row.cluster === cluster ? `lamp ${kind}${mark}${common}` : `lamp${common}`;
    };
    columns.push({ ctx1: of('ctx1'), ctx2: of('ctx2'), kind, row });
  }
  return columns;
}

// ---------------------------------------------------------------- rate over ten seconds

/** Events per second over the last `seconds`, per key, or over the time since the first event when that is shorter. Rows that were sampled weigh more than one. */
export class RateWindow {
  #buckets = new Map(); #first = null;
  constructor(seconds = 10) { this.seconds = seconds; }
  add(key, weight, nowMs) {
    const second = Math.floor(nowMs / 1000);
    this.#first ??= nowMs;
    let bucket = this.#buckets.get(second);
    if (!bucket) {
      bucket = new Map();
      this.#buckets.set(second, bucket);
      for (const old of this.#buckets.keys()) if (old <= second - this.seconds - 1) this.#buckets.delete(old);
    }
    bucket.set(key, (bucket.get(key) ?? 0) + weight);
  }
  rates(nowMs) {
    const second = Math.floor(nowMs / 1000), sums = new Map();
    for (const [at, bucket] of this.#buckets) {
      if (at <= second - this.seconds || at > second) continue;
      for (const [key, weight] of bucket) sums.set(key, (sums.get(key) ?? 0) + weight);
    }
    const span = Math.min(this.seconds, Math.max(1, (nowMs - (this.#first ?? nowMs)) / 1000));
    for (const [key, sum] of sums) sums.set(key, sum / span);
    return sums;
  }
}

// ---------------------------------------------------------------- the store

const emptyStat = () => ({ n: 0, ctx1: 0, ctx2: 0, excluded: {}, retried: 0, window_since: 0, p: null, lo: null, hi: null, verdict: 'idle', block: null, p95_ms: null, errors: 0, total: 0 });
const unknownConfigured = () => ({ state: 'unknown', code: 'NotYetRead' });

/**
 * All that the page knows, folded from the server's events. `apply` says which topics changed, so that a view draws only those:
 * `all`, `lamps:S`, `stat:S`, `cfg:S`, `ticker`, `totals`, `load`, `pods`, `mesh`, `store`, `link`, `rules`.
 */
export class Store {
  constructor(client) {
    this.client = client;
    this.onlyMine = false;
    this.epoch = null;
    this.seq = 0;
    this.meta = { door: null, version: null, istio: null, lang_default: null, seed: null };
    this.store = { kind: 'unknown', cluster: null, pod: null, ready: null };
    this.link = null;
    this.rules = null;
    this.clusters = [{ id: 'ctx1', cloud: 'NaverCloud' }, { id: 'ctx2', cloud: 'NHN Cloud' }];
    this.services = Object.fromEntries(SERVICES.map(id => [id, { host: `${id}-service`, configured: unknownConfigured(), copies_differ: false, other_cluster: null, canary: [], interventions: [], stat: emptyStat() }]));
    this.load = { running: false, rate: 12, target: 'all', canary: false, sent: 0, in_flight: 0, error: null };
    this.pods = { ctx1: null, ctx2: null };
    this.mesh = null;
    this.totals = { sent: 0, errors: 0, p95_ms: null };
    this.rings = Object.fromEntries(SERVICES.map(id => [id, { all: new Ring(WINDOW), mine: new Ring(WINDOW) }]));
    this.ticker = { all: new Ring(TICKER_ROWS), mine: new Ring(TICKER_ROWS) };
    this.rates = new RateWindow(10);
    this.missed = 0;
    /** What happened, by id: entries of the last hour that this page was told; the list before them is asked for by who shows it. */
    this.timeline = new Map();
  }

  isMine(row) { return typeof row.mine === 'string' && (row.mine === this.client || row.mine.startsWith(`${this.client}.`)); }
  rows(service) { return this.rings[service][this.onlyMine ? 'mine' : 'all'].last(WINDOW); }
  tickerRows() { return this.ticker[this.onlyMine ? 'mine' : 'all'].last(TICKER_ROWS).reverse(); }

  /** The row with this id, where the page still has it. */
  find(id) {
    for (const service of SERVICES) {
      const ring = this.rings[service].all;
      for (let i = ring.size - 1; i >= 0; i -= 1) if (ring.at(i).id === id) return ring.at(i);
    }
    return null;
  }

  /** What the ratio box and the ruler of a service show: the server's window, or the own requests when the filter is on. */
  shownStat(service) {
    const stat = this.services[service].stat;
    if (!this.onlyMine) return stat;
    const counts = ratio(this.rings[service].mine.last(WINDOW).filter(row => row.ts >= (stat.window_since ?? 0)));
    const [lo, hi] = stat.p === null ? [null, null] : interval(counts.n, stat.p);
    return { ...stat, ...counts, lo, hi };
  }

  apply(type, data, nowMs = Date.now()) {
    switch (type) {
      case 'hello': return this.#hello(data);
      case 'req': return this.#rows(data, nowMs);
      case 'why': return this.#why(data);
      case 'stat': {
        const topics = new Set();
        for (const service of SERVICES) if (data[service]) { this.services[service].stat = data[service]; topics.add(`stat:${service}`).add(`lamps:${service}`); }
        if (data.totals) { this.totals = data.totals; topics.add('totals'); }
        return topics;
      }
      case 'cfg': {
        const service = this.services[data.service];
        if (!service) return new Set();
        this.services[data.service] = { ...service, ...data.value, stat: data.value.stat ?? service.stat };
        return new Set([`cfg:${data.service}`, `stat:${data.service}`]);
      }
      case 'pods': {
        for (const cluster of CLUSTERS) if (data[cluster]) this.pods[cluster] = data[cluster];
        return new Set(['pods']);
      }
      case 'mesh': this.mesh = data; return new Set(['mesh']);
      case 'load': this.load = { ...this.load, ...data }; return new Set(['load']);
      case 'store': this.store = data; return new Set(['store']);
      case 'link': this.link = data; return new Set(['link']);
      case 'rules': this.rules = data; return new Set(['rules']);
      case 'timeline': return this.#moments(data.items ?? []);
      default: return new Set();
    }
  }

  #hello(data) {
    const resumed = this.epoch !== null;
    if (resumed && this.epoch !== data.epoch) this.timeline.clear();
    this.missed = resumed ? data.missed ?? 0 : 0;
    this.epoch = data.epoch;
    this.seq = data.seq ?? 0;
    for (const key of Object.keys(this.meta)) this.meta[key] = data[key] ?? null;
    if (data.store) this.store = data.store;
    if (data.clusters) this.clusters = data.clusters;
    if (data.load) this.load = { ...this.load, ...data.load };
    for (const cluster of CLUSTERS) this.pods[cluster] = data.pods?.[cluster] ?? null;
    this.mesh = data.mesh ?? null;
    this.link = data.link ?? null;
    if (data.totals) this.totals = data.totals;
    for (const service of SERVICES) {
      const given = data.services?.[service];
      if (given) this.services[service] = { ...this.services[service], ...given, stat: given.stat ?? emptyStat() };
      this.rings[service].all.clear();
      this.rings[service].mine.clear();
    }
    this.ticker.all.clear();
    this.ticker.mine.clear();
    const recent = data.recent ?? [];
    const gapAt = this.missed > 0 && recent.length > 0 ? Math.max(0, recent.length - 4) : -1;
    recent.forEach((row, index) => {
      if (index === gapAt) this.#gap();
      this.#push(row);
    });
    if (this.missed > 0 && recent.length === 0) this.#gap();
    return new Set(['all']);
  }

  #moments(items) {
    for (const item of items) this.timeline.set(item.id, item);
    if (this.timeline.size > MOMENTS) {
      const oldest = [...this.timeline.values()].sort((a, b) => a.at - b.at).slice(0, this.timeline.size - MOMENTS);
      for (const item of oldest) this.timeline.delete(item.id);
    }
    return new Set(['timeline']);
  }

  #gap() { for (const ring of Object.values(this.ticker)) ring.push({ gap: this.missed, id: `gap-${this.seq}` }); }

  #push(row) {
    const rings = this.rings[row.svc];
    if (!rings) return false;
    rings.all.push(row);
    this.ticker.all.push(row);
    if (this.isMine(row)) { rings.mine.push(row); this.ticker.mine.push(row); }
    return true;
  }

  #rows(data, nowMs) {
    const topics = new Set();
    const rows = data.rows ?? [];
    const weight = rows.length > 0 ? Math.max(1, (data.n ?? rows.length) / rows.length) : 0;
    for (const row of rows) {
      if (!this.#push(row)) continue;
      topics.add(`lamps:${row.svc}`);
      this.rates.add(`${row.svc}:${row.cluster ?? 'none'}`, weight, nowMs);
      if (this.onlyMine) topics.add(`stat:${row.svc}`);
    }
    if (topics.size > 0) topics.add('ticker');
    return topics;
  }

  #why(data) {
    const topics = new Set();
    for (const why of data.rows ?? []) {
      const row = this.find(why.id);
      if (!row) continue;
      Object.assign(row, why);
      topics.add(`lamps:${row.svc}`).add('ticker');
    }
    return topics;
  }
}

/** `epoch:sequence` in parts; null for anything else. */
export function parseEventId(id) {
  const cut = String(id ?? '').lastIndexOf(':');
  if (cut <= 0) return null;
  const seq = Number(id.slice(cut + 1));
  return Number.isSafeInteger(seq) ? { epoch: id.slice(0, cut), seq } : null;
}

/**
 * Events in their order, each once: a tab that joins late has a state with a sequence number and drops what that state already holds.
 */
export class Sequencer {
  constructor() { this.epoch = null; this.seq = -1; }
  reset(epoch, seq) { this.epoch = epoch; this.seq = seq; }
  accepts(id) {
    const parsed = parseEventId(id);
    if (!parsed) return true;
    if (parsed.epoch !== this.epoch) return true;
    if (parsed.seq <= this.seq) return false;
    this.seq = parsed.seq;
    return true;
  }
}

// ---------------------------------------------------------------- one stream per browser

export const STREAM_EVENTS = ['hello', 'req', 'why', 'stat', 'cfg', 'pods', 'mesh', 'load', 'store', 'link', 'rules', 'timeline', 'bye'];

/**
 * One event stream for all tabs of a browser. The tab that leads holds it and passes each event on over a BroadcastChannel; another tab that hears of a
 * leader asks `state` once and listens. A visible tab takes the lead from a hidden one. Web Locks choose the leader; without them (plain http to another host) a lease in storage does.
 * `env` carries the browser's parts, so that a test can give its own: { EventSource, BroadcastChannel, locks, storage, fetch, setTimeout, clearTimeout, now, visible }.
 */
export class SharedStream {
  #source = null; #channel = null; #leader = false; #release = null; #retry = null; #lease = null; #pending = null; #closed = false; #waiting = false; #joined = false;
  constructor(env, { url, stateUrl, onEvent, onStatus }) {
    Object.assign(this, { env, url, stateUrl, onEvent, onStatus });
    this.lastId = null;
    this.sequencer = new Sequencer();
    this.id = `${env.now()}-${env.random()}`;
  }

  start() {
    if (this.env.BroadcastChannel) {
      this.#channel = new this.env.BroadcastChannel('smov-events');
      this.#channel.onmessage = message => this.#heard(message.data);
    }
    this.#campaign();
    this.#channel?.postMessage({ kind: 'who' });
  }

  /** Called when this tab becomes visible: takes the stream from a hidden tab, opens it again after a pause. */
  wake() {
    if (this.#leader) { if (!this.#source && !this.#retry) this.#open(); }
    else { this.#channel?.postMessage({ kind: 'yield' }); this.#campaign(); }
  }

  /** After a long time out of sight: give the stream back. */
  sleep() { if (this.#leader) { this.#stopSource(); this.onStatus('paused', 0); } }

  close() {
    this.#closed = true;
    this.#stopSource();
    this.#release?.();
    if (this.#lease) this.env.clearTimeout(this.#lease);
    this.#channel?.close();
  }

  get leading() { return this.#leader; }

  #campaign() {
    if (this.#leader || this.#closed) return;
    const { locks } = this.env;
    if (!this.#channel) this.#lead();
    else if (locks) {
      if (this.#waiting) return;
      this.#waiting = true;
      locks.request('smov-events', () => new Promise(release => {
        this.#waiting = false;
        if (this.#closed) { release(); return; }
        this.#release = release;
        this.#lead();
      }));
    } else this.#rent();
  }

  #rent() {
    const now = this.env.now();
    let holder = null;
    try { holder = JSON.parse(this.env.storage.getItem('smov.lease')); } catch { holder = null; }
    if (!holder || holder.until < now || holder.id === this.id) {
      try { this.env.storage.setItem('smov.lease', JSON.stringify({ id: this.id, until: now + 4000 })); } catch { /* without storage every tab has its own stream */ }
      if (!this.#leader) this.#lead();
    } else if (this.#leader) this.#resign();
    this.#lease = this.env.setTimeout(() => this.#rent(), 1200);
  }

  #lead() { this.#leader = true; this.#joined = true; this.#open(); }

  #resign() {
    this.#leader = false;
    this.#stopSource();
    this.#release?.();
    this.#release = null;
  }

  #open() {
    if (this.#source || this.#closed) return;
    const last = this.lastId ? `?last=${encodeURIComponent(this.lastId)}` : '';
    const source = new this.env.EventSource(this.url + last);
    this.#source = source;
    source.onopen = () => this.#status('live', 0);
    source.onerror = () => {
      if (source !== this.#source) return;
      if (source.readyState === 2) this.#again(2000);
      else this.#status('reconnecting', 2000);
    };
    for (const type of STREAM_EVENTS) source.addEventListener(type, event => this.#received(type, event));
  }

  #received(type, event) {
    if (event.lastEventId) this.lastId = event.lastEventId;
    let data;
    try { data = JSON.parse(event.data); } catch { return; }
    if (type === 'bye') { this.#channel?.postMessage({ kind: 'event', type, data, id: this.lastId }); this.#again(400 + this.env.random() * 600); return; }
    if (type === 'hello') this.sequencer.reset(data.epoch, data.seq ?? 0);
    this.#channel?.postMessage({ kind: 'event', type, data, id: this.lastId });
    this.onEvent(type, data);
  }

  #again(delay) {
    this.#stopSource();
    this.#status('reconnecting', delay);
    this.#retry = this.env.setTimeout(() => { this.#retry = null; this.#open(); }, delay);
  }

  #stopSource() {
    if (this.#retry) { this.env.clearTimeout(this.#retry); this.#retry = null; }
    this.#source?.close();
    this.#source = null;
  }

  #status(status, delay) {
    this.onStatus(status, delay);
    this.#channel?.postMessage({ kind: 'status', status, delay });
  }

  /** A tab that does not lead: the present state once, then what the leader passes on. */
  async #join() {
    this.#joined = true;
    this.#pending = [];
    try {
      const answer = await this.env.fetch(this.stateUrl);
      if (!answer.ok) throw new Error(String(answer.status));
      const state = await answer.json();
      const waiting = this.#pending;
      this.#pending = null;
      this.sequencer.reset(state.epoch, state.seq ?? 0);
      this.lastId = `${state.epoch}:${state.seq ?? 0}`;
      this.onEvent('hello', { ...state, missed: 0 });
      this.onStatus('live', 0);
      for (const message of waiting) this.#heard(message);
    } catch {
      this.#pending = null;
      if (this.#leader || this.#closed) return;
      this.onStatus('reconnecting', 2000);
      this.env.setTimeout(() => { if (!this.#leader) this.#join(); }, 2000);
    }
  }

  #heard(message) {
    if (message.kind === 'yield') { if (this.#leader && !this.env.visible()) { this.#resign(); this.#campaignLater(); } return; }
    if (message.kind === 'who') { if (this.#leader) this.#channel.postMessage({ kind: 'here' }); return; }
    if (this.#leader) return;
    if (!this.#joined) this.#join();
    if (message.kind === 'here') return;
    if (message.kind === 'status') { this.onStatus(message.status, message.delay); return; }
    if (this.#pending) { this.#pending.push(message); return; }
    if (message.type === 'bye') return;
    if (message.type === 'hello') this.sequencer.reset(message.data.epoch, message.data.seq ?? 0);
    else if (!this.sequencer.accepts(message.id)) return;
    if (message.id) this.lastId = message.id;
    this.onEvent(message.type, message.data);
  }

  #campaignLater() { this.env.setTimeout(() => this.#campaign(), 500); }
}

// ---------------------------------------------------------------- own requests

/** Runs tasks with at most `limit` of them under way. */
export class Lanes {
  #queue = []; #busy = 0;
  constructor(limit) { this.limit = limit; }
  get busy() { return this.#busy; }
  run(task) {
    return new Promise((resolve, reject) => { this.#queue.push({ task, resolve, reject }); this.#next(); });
  }
  #next() {
    while (this.#busy < this.limit && this.#queue.length > 0) {
      const { task, resolve, reject } = this.#queue.shift();
      this.#busy += 1;
      Promise.resolve().then(task).then(resolve, reject).finally(() => { this.#busy -= 1; this.#next(); });
    }
  }
}

/** The seed's line for the browser's console. */
export const routingLine = (service, cluster, pod) => `실제 라우팅 결과 - 서비스: ${service}, 클러스터: ${cluster}, 파드: ${pod}`;

// ---------------------------------------------------------------- text

/** `t(key, values)` over a dictionary; `{name}` is filled in. A missing key shows itself, so that nobody overlooks it. */
export function translator(dictionary) {
  return (key, values) => {
    const text = dictionary[key] ?? key;
    return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole)) : text;
  };
}

/** `19 ms`, `3.03 s`; a dash for what nobody measured. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)}s` : `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)}ms`;
}

/** The part of a pod's name that tells it from its siblings. */
export const podTail = pod => (pod ? pod.slice(pod.lastIndexOf('-') + 1) : '');

/** `10:44:57` of microseconds, in the reader's zone. */
export function clock(micros) {
  const date = new Date(micros / 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(part => String(part).padStart(2, '0')).join(':');
}

/** Age in the largest whole unit: `42s`, `5m`, `3h`, `2d`. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

// ---------------------------------------------------------------- clusters

/** The view of a cluster that may be shown: `ok` only while it is fresh and the page is connected. */
export const podsKnown = (view, connected) => Boolean(view && view.state === 'ok' && connected);

/** Ready and wanted pods of an app in a cluster; null where that is not known. */
export function readiness(view, app, connected) {
  if (!podsKnown(view, connected)) return null;
  const found = view.deployments.filter(deployment => deployment.app === app || deployment.name === app || deployment.name.startsWith(`${app}-ctx`));
  if (found.length === 0) return null;
  return found.reduce((sum, deployment) => ({ ready: sum.ready + deployment.ready, wanted: sum.wanted + deployment.wanted }), { ready: 0, wanted: 0 });
}

/** Light of a deployment: never `ok` for what is unknown or incomplete. */
export function deploymentLight(deployment, known) {
  if (!known) return 'unknown';
  if (deployment.wanted === 0) return 'idle';
  if (deployment.ready >= deployment.wanted) return 'ok';
  return deployment.ready === 0 ? 'err' : 'warn';
}

/** Requests outside N, for whatever reason. */
export const excludedOf = excluded => Object.values(excluded ?? {}).reduce((sum, count) => sum + count, 0);

/** What the link between the clusters is to a reader: `none` (there is no such link), `plain`, `slow`, `stalled`, `cut`, `unknown`. */
export function linkKind(link) {
  if (!link) return 'none';
  if (link.state !== 'up') return link.state;
  return link.latency_ms > 0 || link.jitter_ms > 0 ? 'slow' : 'plain';
}
