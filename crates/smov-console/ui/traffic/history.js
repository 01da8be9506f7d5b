// What was changed, newest first, each with a way back in one click.

import { clock } from '../core.js';
import { call, either, h, icon, put, t, toast } from '../dom.js';

const SHOWN = 8;

export class History {
  #turn = 0;

  constructor(form, { onRolledBack, onReset }) {
    Object.assign(this, { form, onRolledBack, changes: null, error: null, busy: false });
    this.title = h('h2', { id: 'h-history' });
    this.reset = h('button', { type: 'button', class: 'btn sm', id: 'traffic-reset', on: { click: onReset } }, icon('reset'), h('span'));
    this.list = h('ol', { class: 'hist' });
    this.empty = h('p', { class: 'empty' });
    this.node = h('section', { class: 'card history', 'aria-labelledby': 'h-history' }, h('header', null, this.title, h('span', { class: 'r' }, this.reset)), this.list, this.empty);
  }

  /** Reads the changes of this service's rules. */
  async read() {
    const turn = ++this.#turn, refs = [...new Set(this.form.livePictures().flatMap(picture => Object.values(picture.live).filter(Boolean).map(item => `${item.kind}/${item.namespace}/${item.name}`)))];
    try {
      const answers = await Promise.all(refs.map(ref => call(`/api/v1/history?ref=${encodeURIComponent(ref)}&limit=50`)));
      if (turn !== this.#turn) return;
      const all = new Map(answers.flatMap(answer => answer.changes ?? []).map(change => [change.id, change]));
      this.changes = [...all.values()].sort((a, b) => b.at - a.at).slice(0, SHOWN);
      this.error = null;
    } catch (error) { if (turn === this.#turn) this.error = error.message; }
    this.draw();
  }

  async #back(change, force = false) {
    if (this.busy) return;
    this.busy = true;
    this.draw();
    try {
      const answer = await call(`/api/v1/history/${encodeURIComponent(change.id)}/rollback`, force ? { force: true } : {});
      const bad = (answer.results ?? []).filter(result => !['created', 'configured', 'unchanged', 'deleted'].includes(result.outcome));
      if (bad.length === 0) toast(t('traffic.rolledback'));
      else if (!force && bad.every(result => result.outcome === 'conflict')) change.stuck = true;
      else toast(t('traffic.rollback.failed', { reason: bad.map(result => `${result.cluster} ${either(result.message_ko, result.message_en) ?? t(`traffic.outcome.${result.outcome}`)}`).join(', ') }), true);
    } catch (error) { toast(t('traffic.rollback.failed', { reason: error.message }), true); }
    this.busy = false;
    await this.onRolledBack();
    this.draw();
  }

  draw() {
    put(this.title, t('traffic.history'));
    put(this.reset.lastElementChild, t('reset'));
    const list = this.changes ?? [];
    this.empty.hidden = list.length > 0;
    put(this.empty, this.error ? t('traffic.history.failed', { reason: this.error }) : this.changes === null ? t('loading') : t('traffic.history.empty'));
    const shown = JSON.stringify([document.documentElement.lang, list, this.busy]);
    if (this.list.dataset.shown === shown) return;
    this.list.dataset.shown = shown;
    const focused = document.activeElement?.dataset?.change;
    this.list.replaceChildren(...list.map(change => {
      const what = [...new Set((change.items ?? []).map(item => `${item.cluster} ${item.ref.split('/').at(-1)}: ${either(item.summary_ko, item.summary_en) ?? ''}`))];
      const who = [t(`traffic.origin.${String(change.origin ?? 'unknown').split(':')[0]}`), change.by, change.note].filter(Boolean).join(' · ');
      const back = h('button', { type: 'button', class: 'btn sm', data: { change: change.id }, 'aria-label': t('traffic.rollback.of', { time: clock(change.at) }), on: { click: () => this.#back(change) } }, icon('undo'), t('traffic.rollback'));
      back.disabled = this.busy;
      return h('li', null, h('div', { class: 'm' }, h('b', null, clock(change.at)), h('span', { class: 'muted s' }, who), ...what.map(text => h('span', { class: 's wt1' }, text)), change.stuck ? h('span', { class: 's warnc' }, t('traffic.rollback.stuck')) : null),
        change.undone ? h('span', { class: 'chip' }, t('traffic.undone')) : change.stuck ? h('button', { type: 'button', class: 'btn sm', on: { click: () => this.#back(change, true) } }, t('traffic.rollback.force')) : back);
    }));
    if (focused) this.list.querySelector(`[data-change="${CSS.escape(focused)}"]`)?.focus();
  }
}
