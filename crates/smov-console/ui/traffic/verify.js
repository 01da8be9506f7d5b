// After a change: the statements of the preview, checked on fresh requests. A verdict is given once, on the first hundred.

import { WINDOW } from '../core.js';
import { announce, call, h, icon, mark, put, t, toast } from '../dom.js';
import { SAMPLE, counted, judge } from './predict.js';

const SIGNS = { waiting: ['clock', 'muted'], ok: ['check', 'okc'], maybe: ['warn', 'warnc'], bad: ['x', 'errc'], told: ['eye', 'muted'] };
/** Requests that began this soon after a change may still have met the old rules. */
const SETTLE_US = 700_000;

export class Verify {
  constructor({ store, client }) {
    Object.assign(this, { store, client, run: null, skew: 0 });
    this.title = h('b');
    this.list = h('ul', { class: 'checks verdicts', role: 'status' });
    this.send = h('button', { type: 'button', class: 'btn sm', id: 'traffic-verify', on: { click: () => this.#burst() } }, icon('play'), h('span'));
    this.close = h('button', { type: 'button', class: 'btn sm ghost', on: { click: () => { this.run = null; this.draw(); } } });
    this.node = h('div', { class: 'verify', hidden: true }, this.title, this.list, h('div', { class: 'act' }, this.send, this.close));
  }

  /** The server's clock against this browser's, from a picture that the server made just now; what a browser's own clock is off by must not hide requests. */
  tell(asOf) { if (asOf) { const skew = Date.now() * 1000 - asOf; this.skew = Math.abs(skew) < 2_000_000 ? 0 : skew; } }
  #now() { return Date.now() * 1000 - this.skew; }

  /** A change has been applied. */
  start(service, statements) {
    if (statements.length === 0) return;
    this.run = { service, rows: new Map(), since: this.#now() + SETTLE_US, items: statements.map(statement => ({ statement, verdict: statement.kind === 'told' || statement.kind === 'canary' ? (statement.checked ? 'waiting' : 'told') : 'waiting', count: 0, n: 0, final: false })) };
    this.look();
  }

  /** Ten canary requests have been answered. */
  canary({ service, arrived, n }) {
    if (this.run?.service !== service) return;
    for (const item of this.run.items) if (item.statement.kind === 'canary') Object.assign(item, { verdict: arrived === n ? 'ok' : 'bad', count: arrived, n, final: true });
    this.draw();
  }

  #settled() {
    const views = Object.values(this.store.mesh?.istiod ?? {}).filter(Boolean);
    return views.every(view => (view.in_sync ?? 0) >= (view.proxies ?? 0));
  }

  /** Looks at the requests that have come since; waits while proxies are still being told. */
  look() {
    if (!this.run) { this.draw(); return; }
    const { run } = this;
    if (!run.settled) { if (this.#now() < run.since || !this.#settled()) { this.draw(); return; } run.settled = true; run.since = Math.max(run.since, this.#now()); }
    const now = this.#now(), slowest = Math.max(0, ...run.items.map(item => item.statement.data?.ms ?? 0)) * 1000;
    for (const row of this.store.rings[run.service].all.last(WINDOW)) if (row.ts >= run.since) run.rows.set(row.id, row);
    // The first hundred that began, each old enough to have been answered however slow it was: who answers early must not weigh more.
    const rows = [...run.rows.values()].filter(row => row.ts <= now - slowest - SETTLE_US).sort((a, b) => a.ts - b.ts).slice(0, SAMPLE);
    const known = row => row.flags !== null || now - row.ts > slowest + 3_000_000;
    for (const item of run.items) {
      if (item.final || !['share', 'delay', 'abort'].includes(item.statement.kind)) continue;
      // What the proxies add comes a moment after the row.
      const seen = item.statement.kind === 'share' ? rows : rows.filter(known);
      [item.count, item.n] = counted(item.statement, seen);
      const before = item.verdict;
      item.verdict = judge(item.statement.p, item.count, item.n);
      if (rows.length >= SAMPLE && seen.length >= rows.length) item.final = true;
      if (item.final && before !== item.verdict) announce(`${t(`traffic.say.${item.statement.id}`, item.statement.data)} ${t(`traffic.verdict.${item.verdict}`)}`);
    }
    this.draw();
  }

  async #burst() {
    try { await call('/api/v1/load/burst', { count: SAMPLE, target: this.run.service, canary: false, client: `${this.client}.verify` }); } catch (error) { toast(t('dock.failed', { reason: error.message }), true); }
  }

  draw() {
    const { run } = this;
    this.node.hidden = !run;
    if (!run) return;
    put(this.title, t('traffic.verify', { service: t(`svc.${run.service}`) }));
    put(this.send.lastElementChild, t('traffic.verify.send', { n: SAMPLE }));
    this.send.disabled = !run.settled;
    put(this.close, t('close'));
    while (this.list.children.length > run.items.length) this.list.lastChild.remove();
    run.items.forEach((item, i) => {
      let row = this.list.children[i];
      if (!row) { row = h('li', null, icon('clock'), h('span')); this.list.append(row); }
      const [picture, color] = SIGNS[item.verdict] ?? SIGNS.waiting, svg = row.firstChild;
      mark(svg, 'class', `i ${color}`);
      mark(svg.firstChild, 'href', `#i-${picture === 'eye' ? 'why' : picture}`);
      row.dataset.verdict = item.verdict;
      row.dataset.kind = item.statement.kind;
      row.dataset.final = String(item.final);
      const numbers = item.statement.kind === 'told' || (item.statement.kind === 'canary' && item.n === 0) ? '' : ` (${item.count}/${item.n})`;
      const state = item.statement.kind === 'told' || item.verdict === 'told' ? t('traffic.verdict.told') : item.verdict === 'waiting' && item.statement.kind === 'canary' ? t('traffic.verdict.canary') : item.verdict === 'waiting' && !run.settled ? t('traffic.verdict.settling') : t(`traffic.verdict.${item.verdict}`);
      put(row.lastChild, `${t(`traffic.say.${item.statement.id}`, item.statement.data)} — ${state}${numbers}`);
    });
  }
}
