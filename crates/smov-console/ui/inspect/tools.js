// What one can do with a request: throw its dice again, and ask what would be if something were different. The second sends nothing.

import { announce, call, either, glyph, h, icon, put, t } from '../dom.js';
import { tally } from './again.js';
import { computedMark } from './detail.js';
import { compare, parseHeaders } from './whatif.js';

const COUNT = 100, EVERY_MS = 400, PATIENCE_MS = 40_000;
const pause = ms => new Promise(done => setTimeout(done, ms));

/** Draw again: a card that keeps its guess and its result until another request is chosen. */
export class Again {
  #run = 0;
  constructor(page, open) {
    Object.assign(this, { page, open, id: null, chances: null, sent: null });
    this.guess = h('input', { class: 'in', type: 'number', min: '0', max: String(COUNT), id: 'again-guess', inputmode: 'numeric' });
    this.button = h('button', { type: 'button', class: 'btn pri', on: { click: () => this.#send() } });
    this.result = h('div', { class: 'again-r', role: 'status' });
    this.text = h('p', { class: 's muted' });
    this.label = h('label', { for: 'again-guess', class: 's' });
    this.node = h('section', { class: 'card tool', 'aria-labelledby': 'h-again' }, h('header', null, h('h2', { id: 'h-again', t: 'inspect.again' })), h('div', { class: 'pad' }, this.text, h('div', { class: 'row' }, this.label, this.guess, this.button), this.result));
  }

  /** The request whose dice are thrown; `chances` are the odds of the configuration of now. */
  show(found, chances) {
    if (this.id !== found.id) { this.#run += 1; this.sent = null; this.guess.value = ''; this.result.replaceChildren(); }
    Object.assign(this, { id: found.id, chances, method: found.observed?.m ?? found.method });
    this.words();
  }

  words() {
    const other = this.method !== undefined && this.method !== null && this.method !== 'GET';
    put(this.text, other ? t('inspect.again.onlyget', { method: this.method }) : t('inspect.again.text', { n: COUNT }));
    put(this.label, t('inspect.again.guess'));
    put(this.button, t('inspect.again.send', { n: COUNT }));
    this.button.disabled = other || this.id === null;
    if (this.sent) this.#draw();
  }

  async #send() {
    const run = ++this.#run, { id } = this, client = `${this.page.client}.again${run}`;
    this.button.disabled = true;
    this.result.replaceChildren(h('p', { class: 's' }, t('inspect.again.sending')));
    try {
      const { ids } = await call(`/api/v1/requests/${encodeURIComponent(id)}/again`, { count: COUNT, client });
      const end = performance.now() + PATIENCE_MS;
      this.sent = { ids, rows: [], over: false };
      while (run === this.#run) {
        await pause(EVERY_MS);
        const { requests } = await call(`/api/v1/requests?client=${encodeURIComponent(client)}&limit=${COUNT}`);
        if (run !== this.#run) return;
        const done = requests.length >= ids.length || performance.now() > end;
        this.sent = { ids, rows: requests, over: done };
        this.#draw();
        if (done) { announce(this.result.textContent); break; }
      }
    } catch (error) { if (run === this.#run) this.result.replaceChildren(h('p', { class: 's errc' }, t('inspect.again.failed', { reason: error.message }))); }
    if (run === this.#run) this.button.disabled = false;
  }

  #draw() {
    const { ids, rows, over } = this.sent, sum = tally(ids, rows, this.chances), guess = this.guess.value === '' ? null : Number(this.guess.value);
    const line = one => {
      const mark = one.inside === null ? null : one.inside ? h('span', { class: 'chip ok' }, icon('check'), t('inspect.again.inside')) : h('span', { class: 'chip warn' }, icon('warn'), t('inspect.again.outside'));
      const expected = one.p === null ? t('inspect.again.noodds') : t('inspect.again.expected', { percent: Number((one.p * 100).toFixed(1)), low: one.range[0], high: one.range[1] });
      return h('tr', { data: { place: one.place } }, h('th', { scope: 'row' }, one.place === 'none' ? icon('x', 'errc') : glyph(one.place), one.place === 'none' ? t('inspect.notreached') : one.place), h('td', { class: 'qty' }, String(one.count)), h('td', null, expected), h('td', null, mark));
    };
    const shown = sum.lines.filter(one => one.place !== 'none' || one.count > 0 || one.p > 0);
    const ctx2 = sum.lines.find(one => one.place === 'ctx2');
    this.result.replaceChildren(
      h('p', { class: 's' }, over && sum.missing > 0 ? t('inspect.again.missing', { n: sum.done, missing: sum.missing }) : t('inspect.again.done', { n: sum.done, total: ids.length })),
      h('table', { class: 'tries' }, h('thead', { class: 'sr' }, h('tr', null, ...['place', 'count', 'odds', 'verdict'].map(name => h('th', null, t(`inspect.again.${name}`))))), h('tbody', null, ...shown.map(line))),
      ...(guess === null || !over ? [] : [h('p', { class: 's' }, t('inspect.again.guessed', { guess, real: ctx2.count, off: Math.abs(guess - ctx2.count) }))]),
      h('p', { class: 's muted' }, t('inspect.again.chance'), computedMark()),
      h('details', null, h('summary', null, t('inspect.again.ids')), h('ul', { class: 'ids' }, ...sum.rows.map(row => h('li', null, h('a', { href: `/inspect?req=${encodeURIComponent(row.id)}`, on: { click: event => { event.preventDefault(); this.open(row.id); } } }, row.cluster ? glyph(row.cluster) : icon('x', 'errc'), h('code', null, row.id.slice(0, 8))))))));
  }
}

/** What if: method, path and headers, or the YAML of the rule; the decision is worked out and compared. */
export class WhatIf {
  #run = 0;
  constructor() {
    Object.assign(this, { base: null, rule: null, id: null });
    const field = (key, input) => h('label', { class: 'field' }, h('span', { t: key }), input);
    this.method = h('input', { class: 'in', id: 'whatif-method', maxlength: '12', autocomplete: 'off', spellcheck: 'false' });
    this.path = h('input', { class: 'in', id: 'whatif-path', autocomplete: 'off', spellcheck: 'false' });
    this.headers = h('textarea', { class: 'in mono', id: 'whatif-headers', rows: '3', spellcheck: 'false' });
    this.yaml = h('textarea', { class: 'in mono', id: 'whatif-yaml', rows: '12', spellcheck: 'false', wrap: 'off' });
    this.yamlNote = h('p', { class: 's muted' });
    this.yamlBox = h('details', { class: 'whatif-y' }, h('summary', { t: 'inspect.whatif.yaml' }), this.yamlNote, h('label', { class: 'sr', for: 'whatif-yaml', t: 'inspect.whatif.yaml' }), this.yaml);
    this.button = h('button', { type: 'submit', class: 'btn pri', t: 'inspect.whatif.go' });
    this.reset = h('button', { type: 'button', class: 'btn', t: 'inspect.whatif.reset', on: { click: () => this.#fill() } });
    this.result = h('div', { role: 'status', class: 'whatif-r' });
    const form = h('form', { class: 'pad', on: { submit: event => { event.preventDefault(); this.#ask(); } } }, h('p', { class: 's muted', t: 'inspect.whatif.text' }),
      h('div', { class: 'duo' }, field('inspect.whatif.method', this.method), field('inspect.whatif.path', this.path)), field('inspect.whatif.headers', this.headers), this.yamlBox, h('div', { class: 'row' }, this.button, this.reset), this.result);
    this.node = h('section', { class: 'card tool', 'aria-labelledby': 'h-whatif' }, h('header', null, h('h2', { id: 'h-whatif', t: 'inspect.whatif' }), this.mark = h('span', null)), form);
  }

  words() {
    this.mark.replaceChildren(computedMark());
    put(this.yamlNote, this.rule ? t('inspect.whatif.rule', { cluster: this.rule.cluster, name: this.rule.ref }) : this.ruleTrouble ? t('inspect.whatif.norule', { reason: this.ruleTrouble }) : t('inspect.whatif.norules'));
    if (this.compared) this.#draw();
  }

  /** The question as it was, its answer, and the rule's YAML where it could be read. A draft stays while the request is the same. */
  show(id, question, base, rule, ruleTrouble) {
    const fresh = this.id !== id;
    Object.assign(this, { id, question, base, rule, ruleTrouble });
    if (fresh) this.#fill();
    else if (rule && this.yaml.value === '') this.yaml.value = rule.yaml;
    this.button.disabled = !question;
    this.yamlBox.hidden = !question;
    this.yaml.disabled = !rule;
    this.words();
  }

  #fill() {
    this.#run += 1;
    this.method.value = this.question?.method ?? '';
    this.path.value = this.question?.path ?? '';
    this.headers.value = Object.entries(this.question?.headers ?? {}).map(([name, value]) => `${name}: ${value}`).join('\n');
    this.yaml.value = this.rule?.yaml ?? '';
    this.compared = null;
    this.result.replaceChildren();
  }

  async #ask() {
    const run = ++this.#run, { headers, bad } = parseHeaders(this.headers.value);
    if (bad !== null) { this.#trouble(t('inspect.whatif.badheader', { line: bad })); this.headers.focus(); return; }
    const edited = this.rule && this.yaml.value !== this.rule.yaml;
    const asked = { ...this.question, method: this.method.value.trim().toUpperCase(), path: this.path.value.trim(), headers, overrides: edited ? [{ cluster: this.rule.cluster, yaml: this.yaml.value }] : [] };
    try {
      const [before, after] = await Promise.all([call('/api/v1/explain', this.question), call('/api/v1/explain', asked)]);
      if (run !== this.#run) return;
      this.compared = { rows: compare(before.now, after.then ?? after.now), findings: after.findings ?? [] };
      this.#draw();
    } catch (error) {
      if (run !== this.#run) return;
      const { problem } = error, place = problem?.line ? t('inspect.whatif.place', { line: problem.line, column: problem.column }) : '';
      const said = problem?.findings ? problem.findings.map(one => `${one.path}: ${either(one.text_ko, one.text_en)}`).join('; ') : problem?.detail;
      this.#trouble([error.message, place, said].filter(Boolean).join(' · '));
    }
  }

  #trouble(text) {
    this.compared = null;
    this.result.replaceChildren(h('p', { class: 's errc' }, text));
  }

  #draw() {
    const { rows, findings } = this.compared, changed = rows.filter(row => row.changed).length;
    this.result.replaceChildren(
      h('p', { class: 's' }, h('b', null, changed === 0 ? t('inspect.whatif.same') : t('inspect.whatif.changed', { n: changed })), computedMark()),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('inspect.whatif') }, h('table', { class: 'tries cmp wif' }, h('thead', null, h('tr', null, ...['what', 'before', 'after'].map(name => h('th', null, t(`inspect.whatif.${name}`))))),
        h('tbody', null, ...rows.map(row => h('tr', { class: row.changed ? 'changed' : '', data: { row: row.key } }, h('th', { scope: 'row' }, row.changed ? icon('warn') : null, t(`inspect.whatif.row.${row.key}`)), h('td', null, row.before), h('td', null, row.after)))))),
      ...findings.map(finding => h('p', { class: 's warnc' }, `${finding.ref} ${finding.path}: ${either(finding.text_ko, finding.text_en)}`)));
  }
}
