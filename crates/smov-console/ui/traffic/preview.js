// The right column: the change as the server sees it, findings, what one should then observe, apply and discard.

import { call, either, h, icon, mark, put, t, toast, tone } from '../dom.js';
import { diffView } from '../parts/diff.js';
import { segments } from './fields.js';

const WAIT_MS = 250;
const DONE = ['created', 'configured', 'unchanged', 'deleted'];

export class Preview {
  #timer = null; #turn = 0; #asked = ''; #view = 'diff';

  constructor(form, { onApplied, onConflict, statements }) {
    Object.assign(this, { form, onApplied, onConflict, statements, answer: null, error: null, busy: false, results: null });
    this.title = h('h2', { id: 'h-preview', tabindex: '-1' });
    this.count = h('span', { class: 'muted s' });
    this.views = segments([['diff', 'traffic.view.diff'], ['yaml', 'traffic.view.yaml']], 'traffic.view', view => { this.#view = view; this.draw(); });
    this.copy = h('button', { type: 'button', class: 'btn ic ghost', on: { click: () => this.#copy() } }, icon('copy'));
    this.aims = segments([['both', 'traffic.target.both'], ['ctx1', 'traffic.target.ctx1'], ['ctx2', 'traffic.target.ctx2']], 'traffic.target', target => form.aim(target));
    this.differs = h('p', { class: 's warnc' });
    this.bodies = h('div', { class: 'diffs' });
    this.notes = h('ul', { class: 'checks' });
    this.outlook = h('div', { class: 'obs' }, h('b'), h('ul'));
    this.applyButton = h('button', { type: 'button', class: 'btn pri', id: 'traffic-apply', on: { click: () => this.apply() } }, icon('check'), h('span'));
    this.discardButton = h('button', { type: 'button', class: 'btn', id: 'traffic-discard', on: { click: () => { form.discard(); this.results = null; this.draw(); this.title.focus(); } } });
    this.outcome = h('ul', { class: 'checks outcome-l', role: 'status' });
    this.node = h('section', { class: 'card sticky preview', 'aria-labelledby': 'h-preview' },
      h('header', null, this.title, this.count, h('span', { class: 'r' }, this.views.node, this.copy)),
      h('div', { class: 'aim' }, this.aims.node, this.differs), this.bodies, this.notes,
      h('div', { class: 'sc' }, this.outlook, h('div', { class: 'act' }, this.applyButton, this.discardButton), this.outcome));
  }

  /** Asks the server about the present draft, a moment after the last change. */
  ask() {
    const changes = this.form.problems().size > 0 ? [] : this.form.changes();
    const asked = JSON.stringify(changes);
    if (asked === this.#asked) return;
    this.#asked = asked;
    clearTimeout(this.#timer);
    this.answer = null;
    this.error = null;
    if (changes.length === 0) { this.#turn += 1; return; }
    this.#timer = setTimeout(() => this.#check(changes), WAIT_MS);
  }

  async #check(changes) {
    const turn = ++this.#turn;
    try {
      const answer = await call('/api/v1/resources/check', { changes: changes.map(({ keys, ref, ...change }) => change) });
      if (turn === this.#turn) this.answer = answer;
    } catch (error) { if (turn === this.#turn) this.error = error.message; }
    if (turn === this.#turn) this.draw();
  }
  /** The server is asked again although the draft is the same: the rules under it changed. */
  again() { this.#asked = ''; }

  async apply() {
    if (this.applyButton.disabled) return;
    const { form } = this, changes = form.changes(), statements = this.statements(), { service, draft: { edits: sent } } = form;
    this.busy = true;
    form.applying = true;
    this.results = null;
    this.draw();
    try {
      const answer = await call('/api/v1/resources/apply', { changes: changes.map(({ keys, ref, ...change }) => change) });
      await this.onApplied({ service, answer, changes, sent, statements, done: answer.results.filter(result => DONE.includes(result.outcome)) });
      this.results = answer.results;
      this.draw();
      const conflicts = answer.results.filter(result => result.outcome === 'conflict');
      if (conflicts.length > 0) this.onConflict(conflicts.map(result => ({ ...result, mine: this.#mine(result) })));
    } catch (error) { this.results = null; toast(t('traffic.apply.failed', { reason: error.message }), true); this.error = error.message; }
    form.applying = false;
    this.busy = false;
    this.draw();
  }
  #mine(result) { return this.lastAnswer?.results?.find(one => one.cluster === result.cluster && one.ref === result.ref)?.yaml ?? ''; }
  conflicts() { return (this.answer?.results ?? []).filter(result => result.outcome === 'conflict'); }

  async #copy() {
    const text = (this.answer?.commands ?? []).join('\n\n');
    try { await navigator.clipboard.writeText(text); toast(t('traffic.copied')); } catch { toast(t('traffic.copy.failed'), true); }
  }

  draw() {
    const { form } = this, problems = form.problems(), results = this.answer?.results ?? [];
    if (this.answer) this.lastAnswer = this.answer;
    put(this.title, t('traffic.preview'));
    this.views.draw(this.#view);
    this.aims.draw(form.draft.target);
    mark(this.copy, 'aria-label', t('traffic.copy'));
    mark(this.copy, 'title', t('traffic.copy'));
    this.copy.disabled = (this.answer?.commands ?? []).length === 0;
    const lines = results.flatMap(result => result.diff ?? []), plus = lines.filter(line => line.op === '+').length, minus = lines.filter(line => line.op === '-').length;
    put(this.count, results.length > 0 ? `+${plus} −${minus}` : '');
    const different = form.differences();
    this.differs.hidden = different.length === 0;
    put(this.differs, t('traffic.copies', { n: different.length }));
    this.#bodies(results);
    this.#notes(results, problems);
    this.#outlook();
    const changes = Object.keys(form.draft.edits).length;
    put(this.applyButton.lastElementChild, t(this.busy ? 'traffic.applying' : 'traffic.apply'));
    this.applyButton.disabled = this.busy || !this.answer || problems.size > 0 || !(this.answer.applicable || this.conflicts().length > 0);
    put(this.discardButton, t('traffic.discard'));
    this.discardButton.disabled = changes === 0 || this.busy;
    this.#outcome();
  }

  #bodies(results) {
    const groups = [];
    for (const result of results) {
      const text = this.#view === 'yaml' ? result.yaml : JSON.stringify((result.diff ?? []).map(({ op, text: line }) => [op, line]));
      const same = groups.find(group => group.text === text && group.results[0].ref === result.ref);
      if (same) same.results.push(result); else groups.push({ text, results: [result] });
    }
    const shown = JSON.stringify([document.documentElement.lang, this.#view, groups.map(group => [group.text, group.results.map(result => [result.cluster, result.outcome])]), this.form.changes().length, Object.keys(this.form.draft.edits).length, this.form.problems().size, this.error]);
    if (this.bodies.dataset.shown === shown) return;
    this.bodies.dataset.shown = shown;
    if (groups.length === 0) { this.bodies.replaceChildren(h('p', { class: 'empty' }, this.error ? t('traffic.check.failed', { reason: this.error }) : this.form.problems().size > 0 ? t('traffic.fixfirst') : Object.keys(this.form.draft.edits).length === 0 ? t('traffic.nochange') : t('traffic.checking'))); return; }
    this.bodies.replaceChildren(...groups.map(({ results: [first], results: all }) => {
      const clusters = all.map(result => result.cluster).join(' · '), name = t('traffic.diff.of', { clusters, ref: `${first.ref.split('/')[0]} / ${first.ref.split('/').at(-1)}` });
      const body = this.#view === 'yaml' ? h('pre', { class: 'yamlro', tabindex: '0', role: 'region', 'aria-label': name }, first.yaml ?? '') : diffView(first.diff ?? [], { label: name, words: { same: t('traffic.diff.same'), count: 'traffic.diff.count', gap: 'traffic.diff.gap' } });
      return h('div', { data: { clusters } }, h('p', { class: 'dname' }, ...all.map(result => h('i', { class: result.cluster === 'ctx1' ? 'g1' : 'g2', 'aria-hidden': 'true' })), h('b', null, clusters), h('code', null, first.ref.split('/')[0], ' / ', first.ref.split('/').at(-1))), body);
    }));
  }

  #notes(results, problems) {
    const list = [];
    for (const [key, problem] of problems) list.push(['x', 'errc', `${t(`traffic.field.${key.split('.')[0]}`)}: ${t(`traffic.bad.${problem}`)}`, key]);
    const seen = new Set();
    for (const result of results) {
      for (const finding of result.findings ?? []) {
        const text = either(finding.text_ko, finding.text_en), id = `${finding.code}${text}`;
        if (seen.has(id)) continue;
        seen.add(id);
        const where = finding.line ? `${t('traffic.line', { n: finding.line })} ` : '';
        list.push([finding.severity === 'error' ? 'x' : 'warn', finding.severity === 'error' ? 'errc' : finding.severity === 'warning' ? 'warnc' : 'muted', `${finding.code} ${where}${text}`]);
      }
      if (['invalid', 'unreachable', 'conflict'].includes(result.outcome)) list.push(['x', 'errc', `${result.cluster}: ${t(`traffic.outcome.${result.outcome}`)} ${either(result.message_ko, result.message_en) ?? ''}`.trim()]);
    }
    if (results.length > 0 && list.every(([, color]) => color !== 'errc')) list.unshift(['check', 'okc', t('traffic.valid')]);
    const news = this.form.overtaken();
    if (news.length > 0) list.unshift(['warn', 'warnc', t('traffic.overtaken', { names: news.join(', ') })]);
    const shown = JSON.stringify([list]);
    if (this.notes.dataset.shown === shown) return;
    this.notes.dataset.shown = shown;
    this.notes.replaceChildren(...list.map(([picture, color, text]) => h('li', null, icon(picture, color), h('span', null, text))), ...(news.length > 0 || results.some(result => result.outcome === 'conflict') ? [h('li', null, h('button', { type: 'button', class: 'btn sm', id: 'traffic-compare', on: { click: () => this.onConflict(this.conflicts().map(result => ({ ...result, mine: result.yaml }))) } }, t('traffic.compare')))] : []));
    this.notes.hidden = list.length === 0;
  }

  #outlook() {
    const list = this.statements();
    const aside = this.form.targets.length === 1 && this.form.targets[0] === 'ctx2' && Object.keys(this.form.draft.edits).length > 0;
    this.outlook.hidden = list.length === 0 && !aside;
    put(this.outlook.firstChild, t('traffic.outlook'));
    const texts = aside ? [t('traffic.say.aside')] : list.map(statement => t(`traffic.say.${statement.id}`, statement.data));
    const shown = JSON.stringify(texts), items = this.outlook.lastChild;
    if (items.dataset.shown === shown) return;
    items.dataset.shown = shown;
    items.replaceChildren(...texts.map(text => h('li', null, text)));
  }

  #outcome() {
    const shown = JSON.stringify([document.documentElement.lang, this.results]);
    if (this.outcome.dataset.shown === shown) return;
    this.outcome.dataset.shown = shown;
    this.outcome.hidden = !this.results;
    this.outcome.replaceChildren(...(this.results ?? []).map(result => { const good = DONE.includes(result.outcome); return h('li', { data: { outcome: result.outcome } }, icon(good ? 'check' : 'x', good ? 'okc' : 'errc'), h('span', null, h('b', null, `${result.cluster} `), `${result.ref.split('/').at(-1)}: ${t(`traffic.outcome.${result.outcome}`)} ${good ? '' : either(result.message_ko, result.message_en) ?? ''}`)); }));
    tone(this.outcome, 'checks outcome-l');
  }
}
