// The trace of a request: spans as the proxies, apps and stores told them, as bars or as a table. Asked for beside the records, and kept while the rest is drawn again.

import { duration } from '../core.js';
import { call, glyph, h, icon, t } from '../dom.js';
import { rows, verdict } from './trace.js';

/** Spans come up with the proxies' reports, a moment after the answer. */
const AGAIN_MS = 700, TRIES = 4;
/** Traces of one request that are shown; a request whose headers an app drops has several. */
const MOST = 6;
const at = micros => (micros === 0 ? '0' : duration(micros / 1000));

export class TraceCard {
  #run = 0;

  /** `chosen` is told `1` for bars and `table`, for the address. */
  constructor(chosen) {
    Object.assign(this, { chosen, id: null, state: null, mode: 'bars', wanted: false });
    this.title = h('h2', { id: 'h-trace', tabindex: '-1' });
    this.body = h('div');
    this.total = h('span', { class: 'muted s' });
    this.modes = h('span', { class: 'seg', role: 'group' }, ...['bars', 'table'].map(mode => h('button', { type: 'button', data: { mode }, on: { click: () => this.#turn(mode) } })));
    this.node = h('section', { class: 'card trc', 'aria-labelledby': 'h-trace', hidden: true }, h('header', null, this.title, this.total, h('span', { class: 'r' }, this.modes)), this.body);
  }

  /** What the address says: `trace=1` or `trace=table`; null = nothing. */
  ask(value) {
    this.wanted = value !== null;
    if (value !== null) this.mode = value === 'table' ? 'table' : 'bars';
    if (this.state) this.words();
  }

  /** Looks for the traces of a request; `first` is the record of its first proxy, if there is one. */
  async show(id, first) {
    const run = ++this.#run;
    Object.assign(this, { id, state: { word: 'asking' } });
    this.words();
    for (let tries = 1; ; tries += 1) {
      const state = await this.#look(id, first).catch(error => ({ word: 'failed', reason: error.message }));
      if (run !== this.#run) return;
      // Half a trace is shown, and asked for again.
      const whole = state.word === 'traced' && state.traces.every(one => one.orphans === 0 && one.roots > 0);
      if (whole || state.word === 'failed' || tries === TRIES) { this.state = state; break; }
      if (state.word === 'traced') { this.state = state; this.words(); }
      await new Promise(done => setTimeout(done, AGAIN_MS));
      if (run !== this.#run) return;
    }
    this.words();
    if (this.wanted) { this.wanted = false; this.node.scrollIntoView({ block: 'start' }); this.title.focus({ preventScroll: true }); }
  }

  hide() {
    this.#run += 1;
    this.state = null;
    this.node.hidden = true;
  }

  async #look(id, first) {
    const list = await call(`/api/v1/traces?request=${encodeURIComponent(id)}&limit=${MOST}`);
    const word = verdict(list, first);
    const found = await Promise.all(list.traces.map(one => call(`/api/v1/traces/${one.trace_id}`)));
    const away = [...list.unasked, ...found.flatMap(one => one.unasked)];
    const unasked = away.filter((one, index) => away.findIndex(other => other.cluster === one.cluster) === index);
    return { word, unasked, traces: found.map((one, index) => ({ id: one.trace_id, requests: list.traces[index].request_ids.length, ...rows(one.spans) })) };
  }

  #turn(mode) {
    this.mode = mode;
    this.chosen(mode === 'table' ? 'table' : '1');
    this.words();
  }

  words() {
    const { state } = this;
    this.node.hidden = state === null;
    if (state === null) return;
    this.node.dataset.trace = state.word;
    this.title.textContent = t('inspect.tr');
    this.modes.hidden = state.word !== 'traced';
    this.modes.setAttribute('aria-label', t('inspect.tr.as'));
    for (const button of this.modes.children) {
      button.textContent = t(`inspect.tr.${button.dataset.mode}`);
      button.setAttribute('aria-pressed', String(button.dataset.mode === this.mode));
    }
    this.total.textContent = state.word === 'traced' ? t('inspect.tr.total', { n: state.traces.reduce((sum, one) => sum + one.rows.length, 0), time: duration(Math.max(...state.traces.map(one => one.total)) / 1000) }) : '';
    const away = (state.unasked ?? []).map(one => t('inspect.tr.away', { cluster: one.cluster, reason: one.reason }));
    if (state.word !== 'traced') {
      const said = h('p', null, h('b', null, t(`inspect.tr.${state.word}`, { reason: state.reason })));
      const why = state.word === 'unsampled' || state.word === 'unknown' ? [h('p', { class: 'muted s' }, t(`inspect.tr.${state.word}.why`))] : [];
      this.body.replaceChildren(h('div', { class: 'pad' }, said, ...why, ...away.map(text => h('p', { class: 's warnc' }, text))));
      return;
    }
    const several = state.traces.length > 1;
    const notes = [...(several ? [t('inspect.tr.several', { n: state.traces.length })] : []), ...away];
    this.body.replaceChildren(...state.traces.map(one => this.#trace(one, several)), ...(notes.length > 0 ? [h('ul', { class: 'notes pad' }, ...notes.map(text => h('li', null, text)))] : []));
  }

  #trace(one, several) {
    const notes = [one.orphans > 0 && t('inspect.tr.orphans', { n: one.orphans }), one.roots === 0 && t('inspect.tr.noroot'), one.requests > 1 && t('inspect.tr.requests', { n: one.requests })].filter(Boolean);
    return h('div', { class: 'wf', data: { id: one.id } }, h('p', { class: 's muted' }, several ? `${t('inspect.tr')} ` : null, h('code', null, one.id)), ...(this.mode === 'table' ? [table(one)] : bars(one)), notes.length > 0 ? h('ul', { class: 'notes' }, ...notes.map(text => h('li', null, text))) : null);
  }
}

/** Short, so that what a span is stays in sight on a narrow screen: the whole name is in the title and in the table. */
const nameOf = row => t('inspect.tr.name', { service: row.service.replace(/-service$/, '') || t('unknown'), role: t(`inspect.tr.role.${row.role}`) });
const statusText = row => (row.status === null ? '–' : row.status === 'error' ? t('inspect.tr.error') : row.status);

function bars({ rows: list, total }) {
  const axis = h('div', { class: 'wf-ax', 'aria-hidden': 'true' }, ...[0, 0.25, 0.5, 0.75, 1].map(part => { const mark = h('span', { class: part === 0 ? 'first' : part === 1 ? 'last' : '' }, at(total * part)); mark.style.left = `${part * 100}%`; return mark; }));
  const items = list.map(row => {
    const length = duration(row.duration / 1000);
    const fill = h('span', { class: `br tr ${row.cluster ?? ''} ${row.error ? 'bad' : ''}`.trim() }), label = h('span', { class: 'ms' }, row.error ? `${statusText(row)} · ${length}` : length);
    fill.style.left = `${row.left}%`;
    fill.style.width = `${row.width}%`;
    if (row.left + row.width < 72) label.style.left = `${row.left + row.width}%`; else if (row.left > 30) label.style.right = `${100 - row.left}%`; else { label.classList.add('over'); label.style.left = `${row.left}%`; }
    const item = h('li', { class: 'sp', data: { role: row.role, depth: String(row.depth), ...(row.orphan ? { orphan: '' } : {}) } },
      h('span', { class: 'nm', title: `${row.span.name} · ${row.span.pod ?? ''}` }, row.orphan ? icon('warn', 'warnc') : null, row.cluster ? glyph(row.cluster) : null, h('span', null, nameOf(row))), h('span', { class: 'tk', 'aria-hidden': 'true' }, fill, label),
      h('span', { class: 'sr' }, t(row.orphan ? 'inspect.tr.row.orphan' : 'inspect.tr.row', { level: row.depth + 1, cluster: row.cluster ?? t('unknown'), from: at(row.from), length, status: statusText(row) })));
    item.style.setProperty('--depth', String(Math.min(row.depth, 10)));
    return item;
  });
  return [axis, h('ol', null, ...items)];
}

function table({ rows: list }) {
  const line = row => {
    const cell = h('th', { scope: 'row', class: 'trc-n', title: row.span.pod ?? '' }, row.orphan ? icon('warn', 'warnc') : null, nameOf(row), row.orphan ? h('span', { class: 'sr' }, t('inspect.tr.orphan')) : null, h('code', null, row.span.name));
    cell.style.setProperty('--depth', String(Math.min(row.depth, 10)));
    return h('tr', null, cell, h('td', null, String(row.depth + 1)), h('td', null, row.cluster ? glyph(row.cluster) : null, row.cluster ?? '–'), h('td', null, t(`inspect.tr.kind.${row.span.kind}`)), h('td', null, at(row.from)), h('td', null, duration(row.duration / 1000)), h('td', { class: row.error ? 'errc' : '' }, statusText(row)));
  };
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('inspect.tr') }, h('table', { class: 'tries' }, h('thead', null, h('tr', null, ...['span', 'level', 'cluster', 'kind', 'from', 'length', 'status'].map(name => h('th', null, t(`inspect.tr.col.${name}`))))), h('tbody', null, ...list.map(line))));
}
