// Metrics: rate, errors and duration of each service, per cluster, as nine charts and as a table. Figures are those of the gateway's sidecar.

import { SERVICES, clock, duration } from '../core.js';
import { call, glyph, h, icon, mark, number, put, root, t } from '../dom.js';
import { MEASURES, axes, drawn, latest, marks, runs } from '../metrics/series.js';

const WINDOWS = [5, 15, 60];
const HEIGHT = 136, LEFT = 36, RIGHT = 10, TOP = 8, BOTTOM = 18;
const color = name => getComputedStyle(root).getPropertyValue(name).trim();
const value = (measure, amount) => (amount === null ? t('none') : measure === 'latency' ? duration(amount) : measure === 'errors' ? `${amount.toFixed(1)}%` : amount.toFixed(amount < 10 ? 1 : 0));
const time = ms => clock(ms * 1000);

export function mount(page) {
  const view = new Metrics(page);
  return { node: view.node, title: 'metrics.title', subtitle: 'metrics.sub', show: query => view.show(query), changed: topics => view.changed(topics), words: () => view.words(), tick: () => view.tick() };
}

class Metrics {
  #asked = 0; #theme = '';

  constructor(page) {
    this.page = page;
    Object.assign(this, { series: null, events: [], problem: null, minutes: 15, split: true, only: '' });
    this.minutesBox = h('select', { class: 'in', on: { change: event => { this.minutes = Number(event.target.value); this.#remember(); this.read(); } } });
    this.splitBox = h('select', { class: 'in', on: { change: event => { this.split = event.target.value === 'split'; this.#remember(); this.draw(); } } });
    this.serviceBox = h('select', { class: 'in', on: { change: event => { this.only = event.target.value; this.#remember(); this.draw(); } } });
    this.status = h('p', { class: 'notice', role: 'status', hidden: true });
    this.charts = h('div', { class: 'charts' });
    this.figures = h('section', { class: 'card figures', 'aria-labelledby': 'h-figures' });
    this.legend = h('div', { class: 'r' });
    this.node = h('div', { class: 'metrics' },
      h('div', { class: 'bar' }, h('label', { class: 'field' }, h('span', { t: 'metrics.service' }), this.serviceBox), h('label', { class: 'field' }, h('span', { t: 'metrics.clusters' }), this.splitBox), h('label', { class: 'field' }, h('span', { t: 'metrics.window' }), this.minutesBox), this.legend),
      this.status, this.charts, this.figures);
    new ResizeObserver(() => this.draw()).observe(this.charts);
    this.words();
  }

  #remember() { this.page.replaceQuery({ svc: this.only, minutes: this.minutes === 15 ? '' : this.minutes, clusters: this.split ? '' : 'together' }); }

  show(query) {
    const minutes = Number(query.get('minutes'));
    this.minutes = WINDOWS.includes(minutes) ? minutes : 15;
    this.split = query.get('clusters') !== 'together';
    this.only = SERVICES.includes(query.get('svc')) ? query.get('svc') : '';
    this.words();
    this.read();
  }

  words() {
    const option = (chosen, own, text) => h('option', { value: own, selected: chosen }, text);
    this.minutesBox.replaceChildren(...WINDOWS.map(n => option(n === this.minutes, n, t('metrics.minutes', { n }))));
    this.splitBox.replaceChildren(option(this.split, 'split', t('metrics.split')), option(!this.split, 'together', t('metrics.whole')));
    this.serviceBox.replaceChildren(option(this.only === '', '', t('metrics.all')), ...SERVICES.map(service => option(this.only === service, service, t(`svc.${service}`))));
    this.legend.replaceChildren(h('span', null, h('i', { class: 'g3' }), 'ctx1'), h('span', null, h('i', { class: 'g4' }), 'ctx2'), h('span', null, icon('deploy'), t('metrics.marks')));
    this.draw();
  }

  changed(topics) { if (topics.has('timeline')) this.read(); }

  /** A step is complete every five seconds; the server has it shortly after. */
  tick() {
    if (root.dataset.theme !== this.#theme) this.draw();
    if (Date.now() - this.#asked >= 5000) this.read();
  }

  async read() {
    this.#asked = Date.now();
    const minutes = this.minutes;
    try {
      const series = await this.#get(`/api/v1/series?minutes=${minutes}`);
      if (minutes !== this.minutes) return;
      Object.assign(this, { series, problem: null });
      // Without a timeline the charts stand without marks.
      this.events = await this.#get(`/api/v1/timeline?since=${series.from * 1000}`).then(answer => answer.events ?? answer.timeline ?? [], () => []);
    } catch (error) { this.problem = error.message; }
    this.draw();
  }

  #get(path) { return call(path); }

  draw() {
    this.#theme = root.dataset.theme;
    const { series } = this;
    const empty = series && series.lines.length === 0;
    this.status.hidden = !this.problem && series && !empty;
    put(this.status, this.problem ? t('metrics.failed', { reason: this.problem }) : t('metrics.collecting'));
    mark(this.status, 'class', this.problem ? 'notice lost' : 'notice');
    if (!series) return;
    const services = this.only ? [this.only] : SERVICES;
    const wanted = services.flatMap(service => MEASURES.map(measure => `${service}:${measure}`));
    const known = new Map([...this.charts.children].map(node => [node.dataset.chart, node]));
    if ([...known.keys()].join() !== wanted.join()) this.charts.replaceChildren(...wanted.map(name => known.get(name) ?? this.#chart(name)));
    const top = axes(series, this.split);
    for (const node of this.charts.children) this.#paint(node, top);
    this.#table();
  }

  #chart(name) {
    const [service, measure] = name.split(':');
    const canvas = h('canvas', { tabindex: '0', role: 'img' }), read = h('p', { class: 'read' });
    const node = h('section', { class: 'card chart', data: { chart: name } }, h('h3', null, h('span', { class: 'name' }), h('small', null), h('span', { class: 'now' })), canvas, read);
    const point = at => { node.cursor = at; this.#paint(node, axes(this.series, this.split)); };
    const steps = () => drawn(this.series, service, measure, this.split)[0]?.points.length ?? 0;
    canvas.addEventListener('pointermove', event => { const box = canvas.getBoundingClientRect(); point(Math.round(Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT))) * (steps() - 1))); });
    canvas.addEventListener('pointerleave', () => point(null));
    canvas.addEventListener('blur', () => point(null));
    canvas.addEventListener('keydown', event => {
      const last = steps() - 1, at = node.cursor ?? last + 1;
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
      if (next !== undefined) { event.preventDefault(); point(Math.min(last, Math.max(0, next))); }
      if (event.key === 'Enter' && node.cursor !== null) this.#open(service, node);
    });
    canvas.addEventListener('click', () => { if (node.cursor !== null && node.cursor !== undefined) this.#open(service, node); });
    node.cursor = null;
    return node;
  }

  /** The requests of the moment that the cursor stands on. */
  #open(service, node) {
    const [line] = drawn(this.series, service, node.dataset.chart.split(':')[1], this.split);
    const step = line?.points[node.cursor]?.[2];
    if (!step) return;
    const at = index => this.series.from + index * this.series.step_ms;
    this.page.navigate(`/inspect?svc=${service}&from=${at(step.from)}&to=${at(step.to)}`);
  }

  #paint(node, top) {
    const [service, measure] = node.dataset.chart.split(':'), { series } = this;
    const lines = drawn(series, service, measure, this.split), newest = latest(lines);
    put(node.querySelector('.name'), `${t(`svc.${service}`)} · ${t(`metrics.${measure}`)}`);
    put(node.querySelector('small'), measure === 'latency' ? (this.split ? 'p95' : 'p50 · p95 · p99') : t(`metrics.${measure}.unit`));
    node.querySelector('.now').replaceChildren(...newest.map(line => h('span', null, line.cluster ? glyph(line.cluster) : measure === 'latency' ? line.name : null, ' ', value(measure, line.value))));
    const canvas = node.querySelector('canvas');
    const said = newest.length === 0 ? t('metrics.chart.none') : newest.map(line => t('metrics.chart.value', { name: line.cluster ?? line.name, value: value(measure, line.value) })).join(', ');
    mark(canvas, 'aria-label', t('metrics.chart', { service: t(`svc.${service}`), measure: t(`metrics.${measure}`), n: this.minutes, latest: said }));
    const width = canvas.clientWidth || 320, ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== HEIGHT * ratio) Object.assign(canvas, { width: Math.round(width * ratio), height: HEIGHT * ratio });
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    const x = at => LEFT + at * (width - LEFT - RIGHT), y = amount => HEIGHT - BOTTOM - (amount / top[measure]) * (HEIGHT - TOP - BOTTOM);
    this.#grid(pen, measure, top[measure], x, y, width);
    for (const [at, event] of marks(series, this.events)) this.#mark(pen, x(at), event);
    lines.forEach((line, i) => this.#line(pen, line, i, x, y));
    this.#cursor(pen, node, lines, measure, x, y);
  }

  #grid(pen, measure, top, x, y, width) {
    pen.font = `11px ${color('--font') || 'sans-serif'}`;
    pen.fillStyle = color('--ink-3');
    pen.strokeStyle = color('--line');
    pen.lineWidth = 1;
    for (const part of [0, 0.5, 1]) {
      const height = Math.round(y(top * part)) + 0.5;
      pen.beginPath(); pen.moveTo(LEFT, height); pen.lineTo(width - RIGHT, height); pen.stroke();
      pen.textAlign = 'right';
      pen.textBaseline = 'middle';
      pen.fillText(measure === 'latency' ? duration(top * part) : number(top * part), LEFT - 4, height);
    }
    pen.textBaseline = 'alphabetic';
    const end = this.series.from + this.series.steps * this.series.step_ms;
    pen.textAlign = 'left'; pen.fillText(time(this.series.from), LEFT, HEIGHT - 4);
    pen.textAlign = 'right'; pen.fillText(time(end), width - RIGHT, HEIGHT - 4);
  }

  #mark(pen, at, event) {
    pen.strokeStyle = color(event.kind === 'fault' || event.kind === 'ejection' || event.kind === 'kill' ? '--warn-fill' : '--accent');
    pen.setLineDash([2, 3]);
    pen.beginPath(); pen.moveTo(Math.round(at) + 0.5, TOP); pen.lineTo(Math.round(at) + 0.5, HEIGHT - BOTTOM); pen.stroke();
    pen.setLineDash([]);
  }

  #line(pen, line, i, x, y) {
    pen.strokeStyle = pen.fillStyle = line.cluster ? color(line.cluster === 'ctx1' ? '--ctx1-fill' : '--ctx2-fill') : [color('--ink-3'), color('--accent'), color('--err-fill')][line.name === 'p50' ? 0 : line.name === 'p99' ? 2 : 1];
    pen.lineWidth = 2;
    pen.setLineDash(line.cluster && line.cluster !== 'ctx1' ? [5, 3] : []);
    let end = null;
    for (const run of runs(line.points)) {
      pen.beginPath();
      run.forEach(([at, amount], place) => { if (place === 0) pen.moveTo(x(at), y(amount)); else pen.lineTo(x(at), y(amount)); });
      if (run.length === 1) pen.arc(x(run[0][0]), y(run[0][1]), 1, 0, 7);
      pen.stroke();
      end = run.at(-1);
    }
    pen.setLineDash([]);
    if (!end) return;
    pen.beginPath();
    if (line.cluster && line.cluster !== 'ctx1') pen.rect(x(end[0]) - 3.5, y(end[1]) - 3.5, 7, 7); else pen.arc(x(end[0]), y(end[1]), 4, 0, 7);
    pen.fill();
  }

  #cursor(pen, node, lines, measure, x, y) {
    const read = node.querySelector('.read'), step = lines[0]?.points[node.cursor];
    if (node.cursor === null || !step) { put(read, ''); return; }
    pen.strokeStyle = color('--ink');
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(x(step[0]), TOP); pen.lineTo(x(step[0]), y(0)); pen.stroke();
    const at = index => time(this.series.from + index * this.series.step_ms);
    const values = lines.map(line => `${line.cluster ?? line.name} ${value(measure, line.points[node.cursor]?.[1] ?? null)}`).join(' · ');
    put(read, t('metrics.read', { from: at(step[2].from), to: at(step[2].to), values }));
  }

  #table() {
    const { series } = this, heads = ['service', 'cluster', 'requests', 'rps', 'errors'], seconds = series.known_s;
    const rows = series.table.filter(row => !this.only || row.service === this.only).map(row => h('tr', null,
      h('td', null, t(`svc.${row.service}`)), h('td', null, row.cluster ? glyph(row.cluster) : icon('x', 'errc'), ' ', row.cluster ?? t('metrics.unreached')), h('td', null, number(row.requests)), h('td', null, seconds > 0 ? (row.requests / seconds).toFixed(1) : t('none')),
      h('td', { class: row.errors > 0 ? 'errc' : '' }, row.requests > 0 ? `${((row.errors / row.requests) * 100).toFixed(1)}%` : t('none')), ...['p50', 'p95', 'p99'].map(name => h('td', null, duration(row[name]))), h('td', null, number(row.retries)), h('td', null, number(row.ejections)),
      h('td', null, Object.entries(row.flags).map(([flag, count]) => `${flag} ${number(count)}`).join(' · ') || t('none'))));
    this.figures.replaceChildren(h('h2', { id: 'h-figures' }, t('metrics.table', { n: this.minutes })),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-labelledby': 'h-figures' }, h('table', { class: 'tick' }, h('thead', null, h('tr', null, ...heads.map(head => h('th', null, t(`metrics.table.${head}`))), ...['p50', 'p95', 'p99'].map(name => h('th', null, name)), ...['retries', 'ejections', 'flags'].map(head => h('th', null, t(`metrics.table.${head}`))))), h('tbody', null, ...rows))),
      h('p', { class: 'note' }, t('metrics.source')));
  }
}
