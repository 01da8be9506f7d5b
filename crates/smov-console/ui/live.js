// The Live view's moving parts: lamp boards, split and verdict, interventions, ticker, topology. Draws what changed, from the store, into nodes that stay.

import { CLUSTERS, LAMPS, SERVICES, TICKER_ROWS, clock, duration, excludedOf, lampColumns, lampOf, linkKind, percent, podTail, readiness } from './core.js';
import { either, find, glyph, h, icon, mark, number, picture, put, s, t, tone, translate } from './dom.js';

/** Below this many requests nothing is compared. */
const JUDGED_FROM = 20;
const ICONS = { user: 'users', movie: 'film', booking: 'ticket' };

/** One request in a sentence: for screen readers and titles. */
export function sentence(row) {
  const values = { time: clock(row.ts), method: row.m, path: row.path, cluster: row.cluster, pod: podTail(row.pod), status: row.status, flags: row.flags && row.flags !== '-' ? row.flags : '', ms: duration(row.ms) };
  return t(`row.${lampOf(row)}`, values);
}

// ---------------------------------------------------------------- a service's board

/** Lamps, split, ruler and verdict of one service. */
export class Board {
  #columns = []; #selected = null; #verdict = null;

  constructor(service, store, { openRequest, announce }) {
    Object.assign(this, { service, store, openRequest, announce });
    this.node = find('t-board').content.cloneNode(true).firstElementChild;
    this.node.dataset.service = service;
    this.parts = Object.fromEntries([...this.node.querySelectorAll('[data-part]')].map(part => [part.dataset.part, part]));
    this.title = this.node.querySelector('h2');
    this.title.id = `h-${service}`;
    mark(this.node, 'aria-labelledby', this.title.id);
    mark(this.node.querySelector('header use'), 'href', `#i-${ICONS[service]}`);
    this.node.querySelector('code').textContent = `${service}-service`;
    this.lamps = [1, 2].map(row => {
      const set = this.parts[`row${row}`];
      set.id = `l-${service}-${row}`;
      for (let i = 0; i < LAMPS; i += 1) set.append(h('span', { class: 'lamp' }, h('i')));
      return [...set.children];
    });
    const columns = this.parts.columns;
    columns.id = `cols-${service}`;
    for (let i = 0; i < LAMPS; i += 1) columns.append(h('span', { role: 'option', id: `col-${service}-${i}`, 'aria-selected': 'false', 'aria-posinset': i + 1, 'aria-setsize': LAMPS, data: { column: i } }));
    this.columnNodes = [...columns.children];
    columns.addEventListener('keydown', event => this.#key(event));
    columns.addEventListener('click', event => {
      const column = event.target.closest('[data-column]');
      if (column && this.#columns[column.dataset.column]?.row) this.openRequest(this.#columns[column.dataset.column].row);
    });
    columns.addEventListener('focus', () => this.#point());
    columns.addEventListener('blur', () => { this.#selected = null; this.#point(); });
  }

  draw() { this.words(); this.drawLamps(); this.drawConfigured(); this.drawStat(); this.drawHealth(true); }

  words() {
    const { parts, service, store } = this;
    translate(this.node);
    put(this.title, t(`svc.${service}`));
    put(parts.cloud1, store.clusters[0]?.cloud ?? '');
    put(parts.cloud2, store.clusters[1]?.cloud ?? '');
    mark(parts.columns, 'aria-label', t('lamps.board', { service: t(`svc.${service}`) }));
    this.#verdict = null;
  }

  drawLamps() {
    const { parts, service, store } = this;
    const rows = store.rows(service);
    this.#columns = lampColumns(rows, store.onlyMine ? 0 : store.services[service].stat.window_since ?? 0);
    const counts = [0, 0];
    let shown = 0;
    this.#columns.forEach((column, i) => {
      tone(this.lamps[0][i], column.ctx1);
      tone(this.lamps[1][i], column.ctx2);
      if (!column.row) return;
      shown += 1;
      if (column.row.cluster === 'ctx1') counts[0] += 1;
      else if (column.row.cluster === 'ctx2') counts[1] += 1;
    });
    [1, 2].forEach(row => {
      put(parts[`count${row}`], String(counts[row - 1]));
      mark(parts[`row${row}`], 'aria-label', t('lamps.row', { cluster: `ctx${row}`, n: counts[row - 1], size: shown }));
    });
    put(parts.hint, shown > 0 ? '' : t(store.onlyMine ? 'lamps.empty.mine' : 'lamps.empty'));
    if (this.#selected !== null) this.#point();
  }

  drawConfigured() {
    const { parts, service, store } = this;
    const { configured, copies_differ: differ, other_cluster: other } = store.services[service];
    const known = configured.state === 'ok';
    tone(parts.configured, known ? 'box' : 'box off');
    const [a, c, b] = parts.configured.querySelectorAll('.v > *');
    put(a, known ? String(configured.ctx1) : '–');
    put(c, known ? ':' : '');
    put(b, known ? String(configured.ctx2) : '');
    const why = parts.configured.querySelector('.why');
    let text = known ? '' : either(configured.text_ko, configured.text_en) ?? this.#reason(configured.code);
    if (known && differ) text = other && Number.isFinite(other.ctx1) ? t('split.copies', other) : t('split.copies.unknown');
    put(why, text);
    tone(why, known ? 'why warnc' : 'why');
    parts.configured.title = known && configured.rule ? `${t('split.rule', { rule: configured.rule, path: configured.path ?? '' })} @${configured.resource_version ?? '?'}` : '';
  }

  #reason(code) {
    const text = t(`cfg.${code}`);
    return text === `cfg.${code}` ? t('cfg.other', { code: code ?? '?' }) : text;
  }

  drawStat() {
    const { parts, store, service } = this;
    const stat = store.shownStat(service);
    const excluded = excludedOf(stat.excluded);
    const observed = percent(stat.ctx1, stat.n);
    put(parts.n, t('split.n', { n: stat.n }) + (excluded > 0 ? t('split.excluded', { n: excluded }) : ''));
    mark(parts.n, 'title', t('split.excluded.title', { canary: 0, unreached: 0, unknown: 0, settling: 0, ...stat.excluded, retried: stat.retried ?? 0 }));
    const [a, c, b] = parts.observed.querySelectorAll('.v > *');
    put(a, observed === null ? '–' : String(observed));
    put(c, observed === null ? '' : ':');
    put(b, observed === null ? '' : String(100 - observed));
    tone(parts.observed, observed === null ? 'box off' : 'box');
    this.#drawRuler(stat, observed);
    this.#drawVerdict(stat, observed);
  }

  #drawRuler(stat, observed) {
    const ruler = this.parts.ruler;
    const known = stat.p !== null && stat.p !== undefined;
    const band = known && stat.n >= JUDGED_FROM && Number.isFinite(stat.lo) && Number.isFinite(stat.hi);
    const p = known ? Math.round(stat.p * 100) : null;
    const lo = band ? percent(stat.lo, stat.n) : 0, hi = band ? percent(stat.hi, stat.n) : 0;
    tone(ruler, `ruler${known ? '' : ' none'}${band ? '' : ' noband'}${observed === null ? ' nomark' : ''}${lo > 45 ? ' left' : hi > 57 && band ? ' nocap' : ''}`);
    mark(ruler, 'aria-label', band ? t('ruler.label', { p, observed, lo, hi }) : t('ruler.label.none'));
    const style = (selector, name, value) => { const element = ruler.querySelector(selector); if (element.style[name] !== value) element.style[name] = value; };
    style('.x', 'width', `${known ? stat.p * 100 : 50}%`);
    style('.band', 'left', `${lo}%`);
    style('.band', 'width', `${hi - lo}%`);
    style('.mk', 'left', `${observed ?? 0}%`);
    const tight = band && hi - lo < 9;
    put(ruler.querySelector('.lo'), band ? (tight && lo < hi ? `${lo}–${hi}` : String(lo)) : '');
    put(ruler.querySelector('.hi'), band && !tight ? String(hi) : '');
    style('.lo', 'left', `${tight ? Math.min(94, Math.max(6, (lo + hi) / 2)) : Math.max(2, lo)}%`);
    style('.hi', 'left', `${Math.min(97, hi)}%`);
  }

  #drawVerdict(stat, observed) {
    const { parts, service, store } = this;
    const verdict = stat.verdict ?? 'idle';
    const box = parts.verdict;
    tone(box, `verdict${{ ok: '', watch: ' warn', bad: ' err', idle: ' idle', held: ' idle' }[verdict] ?? ' idle'}`);
    picture(box.querySelector('svg'), verdict === 'ok' ? 'check' : verdict === 'bad' ? 'x' : verdict === 'watch' ? 'warn' : 'clock');
    if (this.#verdict !== verdict) {
      const before = this.#verdict;
      this.#verdict = verdict;
      put(box.querySelector('b'), t(`verdict.${verdict}`));
      if (before !== null) this.announce(t('say.verdict', { service: t(`svc.${service}`), verdict: t(`verdict.${verdict}`) }));
    }
    put(box.querySelector('.numbers'), this.#numbers(stat, observed, verdict, store.onlyMine));
  }

  #numbers(stat, observed, verdict, mine) {
    const known = stat.p !== null && stat.p !== undefined;
    const range = known && stat.n > 0 && Number.isFinite(stat.lo) ? { n: stat.n, lo: percent(stat.lo, stat.n), hi: percent(stat.hi, stat.n), observed } : null;
    if (mine) return range ? t('verdict.mine', range) : t('verdict.mine.none', { n: stat.n });
    if (verdict === 'held' || !known) return t('verdict.held.n');
    if (verdict === 'idle' || !range) return t('verdict.idle.n', { n: stat.n });
    const text = stat.p === 0 || stat.p === 1 ? t('verdict.fixed', { n: stat.n, p: stat.p * 100 }) : t('verdict.numbers', range);
    // The figure rolls, the verdict does not: where the two seem to disagree, say on what the verdict stands.
    const beside = verdict === 'ok' && (stat.ctx1 < stat.lo || stat.ctx1 > stat.hi);
    return text + (beside ? t('verdict.block', { fill: stat.block?.fill ?? 0 }) : '') + (stat.retried > 0 ? t('verdict.retried') : '');
  }

  /** What troubles the service now: an intervention first, then missing pods; unknown is never green. */
  drawHealth(connected) {
    const { store, service } = this;
    const { interventions } = store.services[service];
    const values = intervention => ({ percent: intervention.percent ?? 100, cluster: intervention.cluster ?? '' });
    const first = interventions.find(item => item.kind !== 'outlier') ?? interventions[0];
    const views = ['ctx1', 'ctx2'].map(cluster => ({ cluster, ready: readiness(store.pods[cluster], `${service}-service`, connected) }));
    const down = views.find(view => view.ready && view.ready.wanted > 0 && view.ready.ready === 0);
    const sum = views.every(view => view.ready) ? views.reduce((all, view) => ({ ready: all.ready + view.ready.ready, wanted: all.wanted + view.ready.wanted }), { ready: 0, wanted: 0 }) : null;
    if (down) this.#chip('err', 'x', t('health.down', { cluster: down.cluster }));
    else if (first && first.kind !== 'outlier') this.#chip(first.kind === 'delay' || first.kind === 'mirror' ? 'warn' : 'err', INTERVENTION_ICONS[first.kind] ?? 'warn', t(`health.${first.kind}`, values(first)));
    else if (!sum) this.#chip('', 'clock', t('health.unknown'));
    else if (sum.ready < sum.wanted) this.#chip('warn', 'warn', t('health.partial', sum));
    else if (first) this.#chip('acc', 'eject', t('health.outlier'));
    else this.#chip('ok', 'check', t('health.ok'));
  }

  #chip(kind, name, text) {
    const chip = this.parts.health, key = `${kind}|${name}|${text}`;
    if (chip.dataset.shown === key) return;
    chip.dataset.shown = key;
    chip.className = `chip ${kind}`.trim();
    chip.replaceChildren(icon(name), h('span', null, text));
  }

  // Left and right move between requests; the one looked at keeps its request while new ones push it to the left.
  #key(event) {
    const filled = this.#columns.filter(column => column.row).length;
    if (event.key === 'Enter' || event.key === ' ') {
      const column = this.#columns[this.#index()];
      if (column?.row) this.openRequest(column.row);
      event.preventDefault();
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -LAMPS, End: LAMPS }[event.key];
    if (step === undefined || filled === 0) return;
    event.preventDefault();
    const next = Math.min(filled - 1, Math.max(0, this.#index() + step));
    this.#selected = this.#columns[next].row.id;
    this.#point();
  }

  #index() {
    const filled = this.#columns.filter(column => column.row).length;
    if (this.#selected === null) return Math.max(0, filled - 1);
    return Math.max(0, this.#columns.findIndex(column => column.row?.id === this.#selected));
  }

  #point() {
    const focused = document.activeElement === this.parts.columns;
    const index = this.#index();
    this.columnNodes.forEach((node, i) => mark(node, 'aria-selected', String(focused && i === index)));
    if (!focused) { this.parts.columns.removeAttribute('aria-activedescendant'); return; }
    const row = this.#columns[index]?.row;
    const label = row ? sentence(row) : t('lamps.hollow', { i: index + 1 });
    mark(this.columnNodes[index], 'aria-label', label);
    mark(this.columnNodes[index], 'title', label);
    mark(this.parts.columns, 'aria-activedescendant', this.columnNodes[index].id);
  }
}

// ---------------------------------------------------------------- interventions

const INTERVENTION_ICONS = { delay: 'clock', abort: 'x', mirror: 'mirror', block: 'stop', outlier: 'eject' };

function interventionText(service, item) {
  const key = `iv.${item.kind}`;
  const values = { service: t(`svc.${service}`), percent: item.percent ?? 100, seconds: (item.fixed_ms ?? 0) / 1000, status: item.status ?? '', cluster: item.cluster ?? '', kind: item.kind };
  const text = t(key, values);
  return text === key ? t('iv.other', values) : text;
}

/** Everything that bends the traffic now, with the way back. Outlier detection alone is part of the baseline and stays out. */
export function drawInterventions(store, reset) {
  const strip = find('interventions');
  const chips = [];
  for (const service of SERVICES) {
    const { interventions, copies_differ: differ, other_cluster: other, configured } = store.services[service];
    for (const item of interventions) if (item.kind !== 'outlier') chips.push({ kind: item.kind === 'delay' || item.kind === 'mirror' ? 'warn' : 'err', name: INTERVENTION_ICONS[item.kind] ?? 'warn', text: interventionText(service, item), title: item.path ?? '' });
    if (differ) {
      const pair = split => (split && Number.isFinite(split.ctx1) ? `${split.ctx1}:${split.ctx2}` : '?');
      chips.push({ kind: 'warn', name: 'warn', text: t('iv.copies.chip', { service: t(`svc.${service}`), here: pair(configured.state === 'ok' ? configured : null), there: pair(other) }), title: t('iv.copies') });
    }
  }
  const link = linkKind(store.link);
  if (link !== 'none' && link !== 'plain') chips.push({ kind: link === 'slow' ? 'warn' : 'err', name: link === 'slow' ? 'clock' : link === 'unknown' ? 'warn' : 'stop', text: t(`link.now.${link}`, { ms: store.link.latency_ms, jitter: store.link.jitter_ms }), title: t('link.title') });
  const key = JSON.stringify([chips, document.documentElement.lang]);
  if (strip.dataset.shown === key) return;
  strip.dataset.shown = key;
  strip.hidden = chips.length === 0;
  strip.replaceChildren(
    icon('warn', 'warnc'), h('b', null, t('iv.count', { n: chips.length })),
    ...chips.map(chip => h('span', { class: `chip ${chip.kind}`, title: chip.title }, icon(chip.name), h('span', null, chip.text))),
    h('button', { type: 'button', class: 'btn sm', on: { click: reset }, 'aria-label': t('reset') }, icon('reset'), h('span', null, t('reset'))),
  );
}

// ---------------------------------------------------------------- ticker

/** Eight rows that stay; only their texts change. */
export class Ticker {
  #rows = []; #shown = [];

  constructor(store, { openRequest }) {
    this.store = store;
    const body = find('rows');
    for (let i = 0; i < TICKER_ROWS; i += 1) {
      const cell = {
        time: h('td', { class: 'muted hide-s' }),
        button: h('button', { type: 'button', class: 'lnk mono', on: { click: () => { const row = this.#shown[i]; if (row && !row.gap) openRequest(row); } } }),
        mark: glyph(null), cluster: h('span'), pod: h('span', { class: 'pod' }),
        status: h('span'), flag: h('button', { type: 'button', class: 'flag', hidden: true }),
        bar: h('span', { class: 'lb-bar' }), ms: h('span'), extra: h('span', { class: 'chip acc mini', hidden: true }),
      };
      cell.statusCell = h('td', null, cell.status, cell.flag);
      const row = h('tr', { hidden: true }, cell.time, h('td', null, cell.button), h('td', null, cell.mark, cell.cluster, cell.pod, cell.extra), cell.statusCell, h('td', null, cell.bar, cell.ms));
      body.append(row);
      this.#rows.push({ row, cell });
    }
  }

  draw() {
    const rows = this.store.tickerRows();
    find('rows-empty').hidden = rows.length > 0;
    put(find('rows-empty'), t(this.store.onlyMine ? 'lamps.empty.mine' : 'lamps.empty'));
    this.#shown = rows;
    this.#rows.forEach(({ row, cell }, i) => {
      const data = rows[i];
      if (row.hidden !== !data) row.hidden = !data;
      if (!data) return;
      row.classList.toggle('gap', Boolean(data.gap));
      if (data.gap) { this.#gap(cell, data); return; }
      this.#fill(cell, data);
    });
  }

  #gap(cell, data) {
    put(cell.time, '');
    put(cell.button, t('ticker.gap', { n: number(data.gap) }));
    tone(cell.mark, '');
    for (const part of [cell.cluster, cell.pod, cell.status, cell.ms]) put(part, '');
    cell.flag.hidden = true;
    cell.extra.hidden = true;
    cell.bar.hidden = true;
  }

  #fill(cell, data) {
    const kind = lampOf(data);
    put(cell.time, clock(data.ts));
    put(cell.button, data.m && data.m !== 'GET' ? `${data.m} ${data.path}` : data.path);
    mark(cell.button, 'title', sentence(data));
    tone(cell.mark, kind === 'miss' ? 'gx' : data.cluster === 'ctx1' ? 'g1' : data.cluster === 'ctx2' ? 'g2' : 'g0');
    put(cell.cluster, kind === 'miss' ? t('ticker.missed') : kind === 'unknown' ? t('ticker.noname') : data.cluster);
    tone(cell.cluster, kind === 'miss' || kind === 'unknown' ? 'muted' : '');
    put(cell.pod, podTail(data.pod));
    put(cell.status, String(data.status));
    tone(cell.status, `st ${data.status >= 500 ? 'err' : data.status >= 400 ? 'warn' : 'ok'}`);
    const flag = data.flags && data.flags !== '-' ? data.flags : '';
    cell.flag.hidden = flag === '';
    put(cell.flag, flag);
    cell.flag.dataset.flag = flag;
    cell.extra.hidden = !data.canary;
    if (data.canary) put(cell.extra, t('ticker.canary'));
    cell.bar.hidden = false;
    tone(cell.bar, data.delay_ms > 0 ? 'lb-bar slow' : 'lb-bar');
    const width = `${Math.max(3, Math.min(40, Math.log10(Math.max(1, data.ms)) * 11)).toFixed(0)}px`;
    if (cell.bar.style.width !== width) cell.bar.style.width = width;
    put(cell.ms, duration(data.ms));
  }
}

// ---------------------------------------------------------------- topology

const DOTS = 48, STEPS = 32, HOP_MS = 420, DOT_EVERY_MS = 42, LONGEST_WAIT_MS = 3000;

/** Where things stand, for a wide and for a narrow page. */
const LAYOUTS = {
  wide: {
    box: [790, 262], browser: [6, 44, 78, 44], gateway: [116, 44, 116, 44],
    node: { width: 190, height: 32, ctx1: [322, [14, 50, 86]], ctx2: [322, [144, 180, 216]] },
    panel: { ctx1: [104, 6, 680, 118], ctx2: [104, 134, 680, 122] },
    store: { ctx1: [614, 46, 158, 44], ctx2: [614, 174, 158, 44], none: [628, 109, 150, 46] },
  },
  narrow: {
    box: [366, 342], browser: [8, 8, 90, 44], gateway: [132, 8, 112, 44],
    node: { width: 159, height: 38, ctx1: [12, [98, 146, 194]], ctx2: [195, [98, 146, 194]] },
    panel: { ctx1: [4, 86, 175, 172], ctx2: [187, 86, 175, 172] },
    store: { ctx1: [12, 288, 160, 44], ctx2: [195, 288, 160, 44], none: [98, 288, 170, 44] },
  },
};

/** Browser → gateway → services in both clusters → the store where it truly is. Dots are requests that happened, nothing else moves. */
export class Topology {
  #dots = []; #points = new Map(); #edges = new Map(); #nodes = new Map(); #built = ''; #lastDot = 0;

  constructor(store) {
    this.store = store;
    this.host = find('topo');
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.moving = 0;
  }

  /** Builds the picture anew when the page's width, the language or the store's place changed. */
  build(connected) {
    const { store: place, services, clusters } = this.store;
    const wide = innerWidth > 820;
    const key = JSON.stringify([wide, document.documentElement.lang, place, clusters, SERVICES.map(id => services[id].interventions), connected, SERVICES.map(id => CLUSTERS.map(cluster => this.#ready(id, cluster, connected)))]);
    if (this.#built === key) return;
    this.#built = key;
    const layout = wide ? LAYOUTS.wide : LAYOUTS.narrow;
    this.#edges.clear();
    this.#nodes.clear();
    const [width, height] = layout.box;
    const under = s('g'), over = s('g');
    this.dotLayer = s('g', { id: 'dots', class: 'dots' });
    this.#panels(under, layout, wide);
    this.#calls(under, layout, wide);
    this.#store(over, under, layout, wide);
    this.#box(over, layout.browser, { title: t('topo.browser'), sub: t('topo.trainee') });
    this.#nodes.set('gateway', this.#box(over, layout.gateway, { title: t('topo.gateway'), sub: t('topo.noedge') }).sub);
    for (const [index, service] of SERVICES.entries()) for (const cluster of CLUSTERS) {
      const [x, ys] = layout.node[cluster];
      const ready = this.#ready(service, cluster, connected);
      const badges = services[service].interventions.filter(item => !item.cluster || item.cluster === cluster);
      const box = this.#box(over, [x, ys[index], layout.node.width, layout.node.height], { title: t(`svc.${service}`), cluster, badges, rate: true, down: ready === 0 });
      this.#nodes.set(`${service}:${cluster}`, box.rate);
    }
    this.host.replaceChildren(s('svg', { class: 't', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': t('topo.label') }, under, this.dotLayer, over));
    this.#prepareDots();
    this.drawRates(Date.now());
  }

  #ready(service, cluster, connected) { return readiness(this.store.pods[cluster], `${service}-service`, connected)?.ready ?? null; }

  #panels(under, layout, wide) {
    for (const cluster of CLUSTERS) {
      const [x, y, w, hgt] = layout.panel[cluster];
      const noStore = wide && !CLUSTERS.includes(this.store.store.cluster);
      const width = noStore ? 500 : w;
      under.append(s('rect', { x, y, width, height: hgt, rx: 12, class: `panel ${cluster}` }));
      const cloud = this.store.clusters.find(item => item.id === cluster)?.cloud ?? '';
      under.append(wide
        ? s('text', { x: noStore ? x + 12 : x + w - 12, y: y + (noStore && cluster === 'ctx2' ? hgt - 8 : 19), 'text-anchor': noStore ? 'start' : 'end', class: `cloud ${cluster}` }, `${cloud} · ${cluster}`)
        : s('text', { x: x + 10, y: y + hgt - 8, class: `cloud ${cluster}` }, `${cloud} · ${cluster}`));
    }
  }

  #edge(group, id, path, kind) {
    const edge = s('path', { d: path, class: `edge ${kind}`, fill: 'none' });
    group.append(edge);
    this.#edges.set(id, edge);
  }

  #calls(under, layout, wide) {
    const [bx, by, bw, bh] = layout.browser, [gx, gy, gw, gh] = layout.gateway;
    this.#edge(under, 'in', `M${bx + bw} ${by + bh / 2}H${gx}`, 'in');
    const { width, height } = layout.node;
    for (const [index, service] of SERVICES.entries()) for (const cluster of CLUSTERS) {
      const [x, ys] = layout.node[cluster], y = ys[index] + height / 2;
      let path;
      if (!wide) {
        const trunk = cluster === 'ctx1' ? 180 : 186, end = cluster === 'ctx1' ? x + width : x;
        path = `M${gx + gw / 2} ${gy + gh}C${gx + gw / 2} 72 ${trunk} 70 ${trunk} 88V${y - 10}Q${trunk} ${y} ${end} ${y}`;
      } else if (cluster === 'ctx1') path = curve(gx + gw, gy + gh / 2, x, y);
      else path = `M${gx + gw / 2} ${gy + gh}V136C${gx + gw / 2} ${y} ${gx + gw / 2 + 50} ${y} ${x} ${y}`;
      this.#edge(under, `${service}:${cluster}`, path, cluster);
    }
    // Calls between services (a booking asks for its user and movie) come from the proxies' counters and are drawn apart, where there is room.
    if (!wide) return;
    for (const from of CLUSTERS) for (const callee of ['user', 'movie']) for (const to of CLUSTERS) {
      const [x1, ys1] = layout.node[from], [x2, ys2] = layout.node[to];
      const y1 = ys1[2] + height / 2, y2 = ys2[SERVICES.indexOf(callee)] + height / 2;
      const right = from === to ? 46 : 72;
      this.#edge(under, `ew:${from}:${callee}:${to}`, `M${x1 + width} ${y1}C${x1 + width + right} ${y1} ${x2 + width + right} ${y2} ${x2 + width} ${y2}`, 'ew');
    }
  }

  #store(over, under, layout, wide) {
    const place = this.store.store;
    const home = CLUSTERS.includes(place.cluster) ? place.cluster : null;
    const box = layout.store[home ?? 'none'];
    const redis = place.kind === 'redis';
    const title = redis ? 'redis' : place.kind === 'sqlite' ? t('topo.store.sqlite') : t('topo.store.unknown');
    let sub = redis ? (place.ready === false ? t('topo.store.down') : t('topo.store.redis', { pod: podTail(place.pod) || '?' })) : place.kind === 'sqlite' ? t('topo.store.sqlite.sub') : t('topo.store.unknown.sub');
    if (place.kind === 'sqlite' && place.ready === false) sub = t('topo.store.down');
    const { width, height } = layout.node;
    const [sx, sy, sw, sh] = box;
    for (const [index, service] of SERVICES.entries()) for (const cluster of CLUSTERS) {
      const [x, ys] = layout.node[cluster];
      if (wide) this.#edge(under, `${service}:${cluster}:store`, curve(x + width, ys[index] + height / 2, sx, sy + sh / 2), `store ${cluster}`);
      else if (index === 2) this.#edge(under, `${service}:${cluster}:store`, `M${x + width / 2} ${ys[2] + height}C${x + width / 2} 276 ${sx + sw / 2} 264 ${sx + sw / 2} ${sy}`, `store ${cluster}`);
    }
    if (redis && home && wide) {
      const other = home === 'ctx2' ? 'ctx1' : 'ctx2';
      this.#box(over, layout.store[other], { title: 'redis', sub: t('topo.store.ghost'), ghost: true });
    }
    this.#box(over, box, { title, sub, cluster: home, ghost: place.kind === 'unknown', down: place.ready === false, outside: !home });
    if (!home && wide) over.append(s('text', { x: sx + sw / 2, y: sy + sh + 16, 'text-anchor': 'middle', class: 'sub' }, t('topo.nocloud')));
  }

  #box(group, [x, y, width, height], { title, sub, cluster, ghost, down, badges = [], rate }) {
    const indent = cluster ? 24 : 10, middle = y + height / 2;
    const node = s('g', { class: `node${ghost ? ' ghost' : ''}${down ? ' down' : ''}` }, s('rect', { x, y, width, height, rx: 8 }));
    if (cluster === 'ctx1') node.append(s('circle', { cx: x + 13, cy: middle, r: 4.5, class: 'c1' }));
    if (cluster === 'ctx2') node.append(s('rect', { x: x + 8.5, y: middle - 4.5, width: 9, height: 9, rx: 1.6, class: 'c2' }));
    node.append(s('text', { x: x + indent, y: sub ? middle - 3 : middle + 4.5, class: 'name' }, title));
    const made = {};
    if (sub) { made.sub = s('text', { x: x + indent, y: middle + 12, class: 'sub' }, sub); node.append(made.sub); }
    badges.slice(0, 2).forEach((badge, i) => node.append(s('svg', { x: x + width - 22 - i * 19, y: middle - 8, width: 16, height: 16, viewBox: '0 0 24 24', class: `badge ${badge.kind === 'delay' || badge.kind === 'mirror' || badge.kind === 'outlier' ? 'warnc' : 'errc'}` }, s('use', { href: `#i-${INTERVENTION_ICONS[badge.kind] ?? 'warn'}` }))));
    if (rate) { made.rate = s('text', { x: x + width - (badges.length > 0 ? Math.min(2, badges.length) * 19 + 10 : 10), y: middle + 4.5, 'text-anchor': 'end', class: 'rate' }, ''); node.append(made.rate); }
    group.append(node);
    return made;
  }

  #prepareDots() {
    this.#dots = Array.from({ length: DOTS }, () => {
      const node = s('g', null, s('circle', { r: 4.6 }), s('rect', { x: -4.2, y: -4.2, width: 8.4, height: 8.4, rx: 1.5 }), s('path', { d: 'M-4 -4L4 4M4 -4L-4 4' }));
      node.style.display = 'none';
      this.dotLayer.append(node);
      return { node, free: true };
    });
    this.moving = 0;
    this.#points.clear();
    for (const [id, edge] of this.#edges) {
      if (id.includes('store') || id.startsWith('ew')) continue;
      const length = edge.getTotalLength();
      this.#points.set(id, Array.from({ length: STEPS + 1 }, (_, i) => { const point = edge.getPointAtLength((length * i) / STEPS); return [point.x, point.y]; }));
    }
  }

  /** Lets a dot run for a request that happened; at most one every 42 ms, and none for those who asked for stillness. */
  fly(row, now) {
    if (this.still.matches || now - this.#lastDot < DOT_EVERY_MS) return;
    const dot = this.#dots.find(candidate => candidate.free);
    if (!dot) return;
    this.#lastDot = now;
    const kind = lampOf(row);
    const reached = kind === 'on' || kind === 'err';
    Object.assign(dot, { free: false, row, started: now, waited: 0, hops: reached ? ['in', `${row.svc}:${row.cluster}`] : ['in'] });
    mark(dot.node, 'class', reached ? (kind === 'err' ? `dot ${row.cluster} err` : `dot ${row.cluster}`) : 'dot miss');
    dot.node.style.display = '';
    this.moving += 1;
  }

  /** Moves what flies. A delayed request waits at the gateway's proxy, which is where the delay is. */
  step(now) {
    for (const dot of this.#dots) {
      if (dot.free) continue;
      if (this.still.matches) { this.#land(dot); continue; }
      let at = (now - dot.started) / HOP_MS;
      const wait = Math.min(LONGEST_WAIT_MS, dot.row.delay_ms ?? 0) / HOP_MS;
      if (at > 1 && wait > 0 && dot.hops.length > 1) at = at < 1 + wait ? 0.999 : at - wait;
      const hop = Math.floor(at);
      if (hop >= dot.hops.length) {
        if (dot.hops.length === 1 && at < 1.9) continue;
        this.#land(dot);
        continue;
      }
      const points = this.#points.get(dot.hops[hop]);
      if (!points) { this.#land(dot); continue; }
      const along = (at - hop) * STEPS, i = Math.floor(along), [x1, y1] = points[i], [x2, y2] = points[Math.min(STEPS, i + 1)];
      const part = along - i;
      dot.node.setAttribute('transform', `translate(${(x1 + (x2 - x1) * part).toFixed(1)} ${(y1 + (y2 - y1) * part).toFixed(1)})`);
    }
  }

  #land(dot) { dot.free = true; dot.node.style.display = 'none'; this.moving -= 1; }

  /** Numbers and widths of the last ten seconds. */
  drawRates(nowMs) {
    const rates = this.store.rates.rates(nowMs);
    let total = 0;
    const sentences = [];
    for (const service of SERVICES) {
      const pair = CLUSTERS.map(cluster => rates.get(`${service}:${cluster}`) ?? 0);
      CLUSTERS.forEach((cluster, i) => {
        const label = this.#nodes.get(`${service}:${cluster}`);
        if (label) put(label, pair[i] > 0 ? t('topo.rps', { n: pair[i].toFixed(1) }) : t('topo.noedge'));
        this.#width(`${service}:${cluster}`, pair[i]);
      });
      total += pair[0] + pair[1] + (rates.get(`${service}:none`) ?? 0) + (rates.get(`${service}:unknown`) ?? 0);
      sentences.push(t('topo.text', { service: t(`svc.${service}`), a: pair[0].toFixed(1), b: pair[1].toFixed(1) }));
    }
    const gateway = this.#nodes.get('gateway');
    if (gateway) put(gateway, t('topo.rps', { n: total.toFixed(1) }));
    this.#width('in', total);
    this.#meshWidths();
    const place = this.store.store;
    put(find('topo-text'), `${sentences.join(' ')} ${t('topo.text.store', { where: place.cluster ?? (place.kind === 'sqlite' ? t('topo.nocloud') : t('unknown')) })}`);
  }

  #meshWidths() {
    const edges = this.store.mesh?.edges ?? [];
    const sum = test => edges.filter(test).reduce((all, edge) => all + (edge.rps ?? 0), 0);
    for (const cluster of CLUSTERS) {
      for (const service of SERVICES) this.#width(`${service}:${cluster}:store`, sum(edge => edge.source_cluster === cluster && edge.source.startsWith(service) && edge.service.startsWith('redis')));
      for (const callee of ['user', 'movie']) for (const to of CLUSTERS) {
        this.#width(`ew:${cluster}:${callee}:${to}`, sum(edge => edge.source_cluster === cluster && edge.source.startsWith('booking') && edge.service === `${callee}-service` && edge.cluster === to));
      }
    }
  }

  #width(id, rps) {
    const edge = this.#edges.get(id);
    if (!edge) return;
    mark(edge, 'stroke-width', (1.2 + Math.min(4, Math.sqrt(rps) * 0.9)).toFixed(1));
    edge.classList.toggle('quiet', !(rps > 0));
  }
}

function curve(x1, y1, x2, y2) {
  const bend = Math.max(24, Math.abs(x2 - x1) * 0.45);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
