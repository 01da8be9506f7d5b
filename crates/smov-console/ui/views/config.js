// The Istio configuration view: what both clusters store, an editor that the server checks while one types, and the way back.

import { announce, call, either, glyph, h, icon, put, t, toast } from '../dom.js';
import { diffView } from '../parts/diff.js';
import { YamlEditor } from '../parts/yaml.js';
import { askConflict, askDelete, askForce, DIFF_WORDS, showVersion } from '../config/dialogs.js';
import { begun, changesOf, Drafts, findingsFor, grouped, marksOf, movedSince, parseRef, skeleton, wayOf } from '../config/model.js';
import { affects, drift, history, twins } from '../config/panels.js';

const CHECK_MS = 300, FRESH_MS = 250;
const YAML_WORDS = { label: 'config.yaml.label', hint: 'config.yaml.hint', problems: 'config.yaml.problems', none: 'config.yaml.none', place: 'config.yaml.place', severity: 'config.severity' };

export function mount(page) { return new Config(page); }

class Config {
  title = 'config.title';
  subtitle = 'config.sub';
  #view = null; #error = null; #groups = []; #ref = null; #cluster = 'ctx1'; #fresh = null; #wish = null; #checked = null; #asked = 0; #timer = null; #history = null; #reading = 0; #both = true; #busy = false; #stored = null;

  constructor(page) {
    this.page = page;
    this.drafts = new Drafts(sessionOrNothing());
    this.list = h('div', { class: 'config-list' });
    this.kind = h('select', { class: 'in', ta: 'config.new.kind' });
    this.notes = h('div', { class: 'config-notes' });
    this.head = h('div', { class: 'config-head' });
    this.editor = new YamlEditor({ words: YAML_WORDS, onInput: text => this.#typed(text) });
    this.note = h('input', { class: 'in', maxlength: '120', ta: 'config.note', placeholder: t('config.note.hint'), 'data-tp': 'config.note.hint' });
    this.apply = h('button', { type: 'button', class: 'btn pri', id: 'config-apply', disabled: true, on: { click: () => this.#apply() } }, icon('check'), h('span', { t: 'config.apply' }));
    this.discard = h('button', { type: 'button', class: 'btn', on: { click: () => this.#discard() } }, h('span', { t: 'config.discard' }));
    this.remove = h('button', { type: 'button', class: 'btn danger', on: { click: () => this.#delete() } }, icon('trash'), h('span', { t: 'config.delete' }));
    this.box = h('input', { type: 'checkbox', on: { change: event => { this.#both = event.target.checked; this.#check(0); } } });
    this.bothSwitch = h('label', { class: 'sw' }, this.box, h('i'), h('span', { t: 'config.both' }));
    this.status = h('p', { class: 'config-status', role: 'status' });
    this.moved = h('div', { class: 'config-note warn', hidden: true }, icon('warn'), h('span', { t: 'config.moved' }), h('button', { type: 'button', class: 'btn sm', t: 'config.compare', on: { click: () => this.#conflict() } }));
    this.results = h('div', { class: 'config-results' });
    this.panels = h('div', { class: 'config-panels' });
    this.work = h('div', { class: 'config-work', hidden: true },
      h('section', { class: 'card config-editor' }, this.head, this.moved, this.editor.node, h('div', { class: 'config-acts' }, this.bothSwitch, this.note, this.remove, this.discard, this.apply), this.status, this.results),
      this.panels);
    this.empty = h('div', { class: 'card config-empty' });
    this.node = h('div', { class: 'config' },
      h('div', { class: 'config-side' }, this.notes, h('section', { class: 'card', ta: 'config.list' }, h('header', null, h('h2', { t: 'config.list' })), this.list,
        h('form', { class: 'config-new', on: { submit: event => { event.preventDefault(); this.#new(this.kind.value); } } }, h('label', { class: 'field' }, h('span', { t: 'config.new' }), this.kind), h('button', { class: 'btn sm', t: 'config.new.open' })))),
      h('div', { class: 'config-main' }, this.empty, this.work));
  }

  // ---------------------------------------------------------------- the shell's calls

  show(query) {
    const ref = query.get('ref'), kind = query.get('new');
    const wish = { ref: parseRef(ref) ? ref : null, cluster: query.get('cluster'), line: Number(query.get('line')) || null, column: Number(query.get('column')) || 1, kind };
    this.#wish = wish;
    this.#read();
  }

  changed(topics) {
    if (!topics.has('rules') && !topics.has('all')) return;
    clearTimeout(this.#fresh);
    this.#fresh = setTimeout(() => this.#read(), FRESH_MS);
  }

  words() {
    this.#drawList();
    this.#drawHead();
    this.#drawChecked();
    this.#drawPanels();
    this.editor.spoken();
    this.#drawKinds();
  }

  // ---------------------------------------------------------------- reading

  async #read() {
    const mine = ++this.#reading;
    if (!this.#view) this.#drawEmpty(t('loading'));
    try {
      const view = await call('/api/v1/resources');
      if (mine !== this.#reading) return;
      this.#view = view;
      this.#error = null;
    } catch (error) {
      if (mine !== this.#reading) return;
      this.#error = error.message;
    }
    this.#groups = this.#view ? grouped(this.#view) : [];
    this.#drawKinds();
    this.#drawList();
    const wish = this.#wish;
    this.#wish = null;
    if (!this.#view) { this.#drawEmpty(t('config.failed', { reason: this.#error }), true); return; }
    if (wish?.kind) this.#new(wish.kind);
    else if (wish?.ref) this.#open(wish.ref, wish.cluster, wish.line, wish.column);
    else if (this.#ref) this.#refresh();
    else this.#drawEmpty(t(this.#groups.length > 0 ? 'config.pick' : 'config.empty'));
  }

  async #readHistory() {
    const ref = this.#ref;
    if (!ref || ref.startsWith('new:')) { this.#history = { changes: [], stores: [] }; return; }
    let state;
    try { state = await call(`/api/v1/history?limit=20&ref=${encodeURIComponent(ref)}`); } catch (error) { state = { error: error.message }; }
    if (ref !== this.#ref) return;
    this.#history = state;
    this.#drawPanels();
  }

  get #clusters() { return this.#view?.clusters.map(cluster => cluster.name) ?? []; }
  get #row() { return this.#groups.flatMap(group => group.rows).find(row => row.ref === this.#ref) ?? null; }
  get #copy() { return this.#row?.copies[this.#cluster] ?? null; }
  get #draft() { return this.drafts.get(this.#cluster, this.#ref) ?? null; }

  // ---------------------------------------------------------------- choosing

  #open(ref, cluster, line = null, column = 1) {
    const row = this.#groups.flatMap(group => group.rows).find(item => item.ref === ref);
    const there = Object.keys(row?.copies ?? {});
    this.#ref = ref;
    this.#cluster = this.#clusters.includes(cluster) ? cluster : there.includes(this.#cluster) ? this.#cluster : there[0] ?? this.#clusters[0];
    this.#checked = null;
    this.#history = null;
    const copy = this.#copy, draft = this.#draft;
    this.#both = Boolean(copy) && copy.twin === 'same';
    this.#stored = copy?.resource_version ?? null;
    this.page.replaceQuery({ ref, cluster: this.#cluster, line, column: null, new: null });
    this.empty.hidden = true;
    this.work.hidden = false;
    this.editor.value = draft?.text ?? copy?.yaml ?? '';
    this.editor.findings = draft ? [] : copy?.findings ?? [];
    this.results.replaceChildren();
    this.#drawList();
    this.#drawHead();
    this.#drawChecked();
    this.#drawPanels();
    this.#readHistory();
    if (draft) this.#check(0);
    if (line) this.editor.goTo(line, column);
  }

  /** What is stored is another: the editor follows, unless there is a draft, which stays. */
  #refresh() {
    const copy = this.#copy, draft = this.#draft;
    if (!draft && copy && copy.resource_version !== this.#stored) {
      this.editor.value = copy.yaml;
      this.editor.findings = copy.findings;
      this.#checked = null;
    }
    if (!draft && !copy) this.editor.value = '';
    this.#stored = copy?.resource_version ?? null;
    if (draft) this.#check(0);
    this.#drawHead();
    this.#drawChecked();
    this.#drawPanels();
    this.#readHistory();
  }

  #new(kind) {
    const version = this.#view?.kinds.find(([name]) => name === kind)?.[1];
    if (!version) return;
    this.#ref = `new:${kind}`;
    this.#checked = null;
    this.#both = true;
    this.#stored = null;
    this.#history = { changes: [], stores: [] };
    this.page.replaceQuery({ ref: null, line: null, column: null, new: kind, cluster: null });
    const draft = this.#draft ?? { text: skeleton(kind, version) };
    this.drafts.set(this.#cluster, this.#ref, draft, '');
    this.empty.hidden = true;
    this.work.hidden = false;
    this.editor.value = draft.text;
    this.editor.findings = [];
    this.#drawList();
    this.#drawHead();
    this.#drawPanels();
    this.#check(0);
    this.editor.goTo(4, 9);
  }

  // ---------------------------------------------------------------- drafts and checks

  #typed(text) {
    const known = this.#draft ?? begun(this.#row);
    this.drafts.set(this.#cluster, this.#ref, { ...known, text }, this.#copy?.yaml ?? '');
    this.#drawDraft();
    this.#check();
  }

  #changes() {
    const draft = this.#draft;
    return draft ? changesOf({ cluster: this.#cluster, draft, both: this.#both, clusters: this.#clusters }) : null;
  }

  #check(wait = CHECK_MS) {
    clearTimeout(this.#timer);
    this.#checked = null;
    const mine = ++this.#asked, changes = this.#changes();
    this.#drawChecked(changes !== null);
    if (!changes) { this.results.replaceChildren(); this.editor.findings = this.#copy?.findings ?? []; return; }
    this.#timer = setTimeout(async () => {
      let checked;
      try { checked = await call('/api/v1/resources/check', { changes }); } catch (error) { checked = { error: error.message, results: [], applicable: false, commands: [] }; }
      if (mine !== this.#asked) return;
      this.#checked = checked;
      this.editor.findings = findingsFor(checked.results, this.#cluster, finding => this.#open(finding.ref, finding.cluster, finding.line, finding.column));
      this.#drawChecked();
      const errors = this.editor.findings.filter(finding => finding.severity === 'error').length;
      if (errors > 0) announce(t('config.yaml.problems', { n: this.editor.findings.length }));
    }, wait);
  }

  #discard() {
    this.drafts.drop(this.#cluster, this.#ref);
    if (this.#ref.startsWith('new:') || !this.#copy) { this.#close(); return; }
    this.editor.value = this.#copy.yaml;
    this.#check(0);
    this.#drawDraft();
    this.#drawList();
  }

  #close() {
    this.#ref = null;
    this.work.hidden = true;
    this.page.replaceQuery({ ref: null, cluster: null, line: null, new: null });
    this.#drawList();
    this.#drawEmpty(t('config.pick'));
  }

  /** Puts a text into the editor as a draft. */
  #use(text) {
    this.editor.value = text;
    this.#typed(text);
    this.editor.area.focus();
  }

  // ---------------------------------------------------------------- doing

  async #apply() {
    const changes = this.#changes();
    if (!changes || !this.#checked?.applicable || this.#busy) return;
    this.#setBusy(true);
    const ref = this.#ref, cluster = this.#cluster, draft = this.#draft;
    try {
      const applied = await call('/api/v1/resources/apply', { changes, note: this.note.value, by: '' });
      const bad = applied.results.filter(result => wayOf(result.outcome) === 'bad');
      this.#tell(applied.results);
      if (bad.length === 0 || (applied.change && applied.results.some(result => result.cluster === cluster && wayOf(result.outcome) !== 'bad'))) {
        this.drafts.drop(cluster, ref);
        this.note.value = '';
        // A new object has a name now.
        if (ref.startsWith('new:')) this.#ref = applied.results[0].ref;
        this.#wish = { ref: this.#ref, cluster };
      }
      await this.#read();
      if (bad.some(result => result.outcome === 'conflict')) await this.#conflict(applied.results, draft);
    } catch (error) {
      toast(t('config.apply.failed', { reason: error.message }), true);
    } finally { this.#setBusy(false); }
  }

  /** What became of it, cluster by cluster; the problems stay on the screen. */
  #tell(results) {
    const line = result => t('config.applied', { cluster: result.cluster, outcome: t(`config.did.${result.outcome}`) });
    const bad = results.filter(result => wayOf(result.outcome) === 'bad');
    toast(results.map(line).join(' · '), bad.length > 0);
    this.results.replaceChildren(...bad.map(result => h('p', { class: 'config-note err', role: 'alert' }, icon('x'), h('span', null, `${line(result)}. ${either(result.message_ko, result.message_en) ?? ''}`))));
  }

  /** Both versions and the draft, which stays whatever is chosen but `take`. */
  async #conflict() {
    const draft = this.#draft, cluster = this.#cluster, ref = this.#ref;
    if (!draft) return;
    const names = this.#both ? this.#clusters : [cluster];
    const moved = movedSince(draft, this.#row, names);
    const copies = moved.map(name => ({ cluster: name, base: draft.bases?.[name] ?? null, live: this.#row?.copies[name]?.yaml ?? null, draft: draft.text }));
    if (copies.length === 0) { this.#check(0); return; }
    const chosen = await askConflict(copies);
    if (chosen === 'take') this.#discard();
    if (chosen === 'keep') {
      this.drafts.set(cluster, ref, { text: draft.text, ...begun(this.#row) }, this.#copy?.yaml ?? '');
      this.#check(0);
    }
    this.#drawDraft();
  }

  async #delete() {
    const ref = this.#ref, cluster = this.#cluster, row = this.#row;
    if (!row?.copies[cluster]) return;
    const others = this.#clusters.filter(name => name !== cluster && row.copies[name]);
    const change = name => ({ cluster: name, delete: true, ref, resource_version: row.copies[name].resource_version });
    try {
      const { results } = await call('/api/v1/resources/check', { changes: [change(cluster)] });
      const chosen = await askDelete({ ref, cluster, results, others });
      if (!chosen) return;
      const applied = await call('/api/v1/resources/apply', { changes: [cluster, ...(chosen.both ? others : [])].map(change) });
      this.#tell(applied.results);
      if (applied.results.every(result => wayOf(result.outcome) !== 'bad')) this.drafts.drop(cluster, ref);
      await this.#read();
    } catch (error) { toast(t('config.apply.failed', { reason: error.message }), true); }
  }

  async #back(change, force = false) {
    try {
      const { results } = await call(`/api/v1/history/${encodeURIComponent(change.id)}/rollback`, { force });
      const bad = results.filter(result => wayOf(result.outcome) === 'bad');
      if (bad.some(result => result.outcome === 'conflict') && !force) {
        if (await askForce()) await this.#back(change, true);
        return;
      }
      if (bad.length > 0) toast(t('config.roll.failed', { reason: bad.map(result => `${result.cluster}: ${either(result.message_ko, result.message_en)}`).join(' ') }), true);
      else toast(t('config.rolled', { names: results.map(result => `${result.cluster}/${result.ref}`).join(', ') }));
      await this.#read();
    } catch (error) { toast(t('config.roll.failed', { reason: error.message }), true); }
  }

  async #version(change, when) {
    const text = await showVersion({ title: t('config.history.title', { time: when }), items: change.items.filter(item => item.ref === this.#ref), cluster: this.#cluster });
    if (text) this.#use(text);
  }

  #setBusy(on) {
    this.#busy = on;
    this.apply.disabled = on || !this.#checked?.applicable;
  }

  // ---------------------------------------------------------------- drawing

  #drawKinds() {
    const kinds = this.#view?.kinds ?? [], shown = kinds.map(([kind]) => kind).join();
    if (this.kind.dataset.shown === shown) return;
    this.kind.dataset.shown = shown;
    this.kind.replaceChildren(...kinds.map(([kind]) => h('option', { value: kind }, kind)));
  }

  #drawEmpty(text, retry = false) {
    this.work.hidden = true;
    this.empty.hidden = false;
    this.empty.replaceChildren(h('p', { class: retry ? 'err' : 'muted' }, text), ...(retry ? [h('button', { type: 'button', class: 'btn', on: { click: () => this.#read() } }, icon('retry'), t('retry'))] : []));
  }

  #drawList() {
    const unread = (this.#view?.clusters ?? []).filter(cluster => cluster.reason_ko);
    this.notes.replaceChildren(
      ...(this.#error && this.#view ? [h('p', { class: 'config-note err', role: 'alert' }, icon('x'), h('span', null, t('config.failed', { reason: this.#error })))] : []),
      ...unread.map(cluster => h('p', { class: 'config-note warn', role: 'status' }, icon('warn'), h('span', null, t('config.unread', { cluster: cluster.name, reason: either(cluster.reason_ko, cluster.reason_en) })))));
    const drafts = this.drafts.all(), focused = document.activeElement?.dataset?.ref;
    const row = item => {
      const chips = marksOf(item).map(name => h('span', { class: `chip ${name === 'added' ? '' : 'warn'}`.trim() }, t(`config.mark.${name}`)));
      if (drafts.some(draft => draft.endsWith(`/${item.ref}`) && draft.split('/').length === 4)) chips.push(h('span', { class: 'chip acc' }, t('config.mark.draft')));
      if (item.errors > 0) chips.push(h('span', { class: 'chip err' }, icon('x'), t('config.errors', { n: item.errors })));
      if (item.warnings > 0) chips.push(h('span', { class: 'chip warn' }, icon('warn'), t('config.warnings', { n: item.warnings })));
      const marks = Object.keys(item.copies).map(cluster => h('span', { class: 'on' }, glyph(cluster), h('span', { class: 'sr' }, cluster)));
      return h('li', null, h('button', { type: 'button', data: { ref: item.ref }, 'aria-current': this.#ref === item.ref ? 'true' : null, on: { click: () => this.#open(item.ref) } }, h('span', { class: 'nm' }, h('b', null, item.name), h('small', { class: 'muted' }, item.namespace)), h('span', { class: 'cl' }, ...marks), chips.length > 0 ? h('span', { class: 'chips' }, ...chips) : null));
    };
    this.list.replaceChildren(...this.#groups.map(group => h('section', { 'aria-label': group.kind }, h('h3', null, group.kind, h('span', { class: 'muted' }, String(group.rows.length))), h('ul', null, ...group.rows.map(row)))));
    if (focused) this.list.querySelector(`[data-ref="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #drawHead() {
    if (!this.#ref) return;
    const isNew = this.#ref.startsWith('new:'), row = this.#row, parsed = parseRef(this.#ref);
    const copy = this.#copy;
    const pick = cluster => {
      this.#cluster = cluster;
      if (isNew) { this.drafts.set(cluster, this.#ref, { text: this.editor.value }, ''); this.#drawHead(); this.#check(0); } else this.#open(this.#ref, cluster);
    };
    const tabs = h('span', { class: 'seg', role: 'group', 'aria-label': t('config.cluster') }, ...this.#clusters.map(cluster => h('button', { type: 'button', 'aria-pressed': String(cluster === this.#cluster), disabled: !isNew && !row?.copies[cluster] && !row?.missing[cluster] && !this.drafts.get(cluster, this.#ref), on: { click: () => pick(cluster) } }, glyph(cluster), ` ${cluster}`)));
    const missing = row?.missing[this.#cluster];
    this.head.replaceChildren(
      h('div', { class: 'ttl' }, h('h2', null, isNew ? t('config.new.title', { kind: this.#ref.slice(4) }) : parsed.name), h('span', { class: 'muted' }, isNew ? '' : `${parsed.kind} · ${parsed.namespace}`), copy ? h('span', { class: 'muted mono' }, `@${copy.resource_version}`) : null),
      tabs);
    if (missing && !copy) this.head.append(h('p', { class: 'config-note warn' }, icon('warn'), h('span', null, t('config.missing', { cluster: this.#cluster })), h('button', { type: 'button', class: 'btn sm', on: { click: () => this.#use(missing.yaml) } }, icon('reset'), t('config.restore'))));
    else if (!copy && !isNew) this.head.append(h('p', { class: 'config-note warn' }, icon('warn'), h('span', null, this.#draft ? t('config.copy.deleted') : t('config.gone', { cluster: this.#cluster, ref: this.#ref }))));
    this.box.checked = this.#both;
    this.bothSwitch.hidden = this.#clusters.length < 2 || (!isNew && Object.keys(row?.copies ?? {}).length < 2);
    if (this.bothSwitch.hidden) this.#both = false;
    this.remove.hidden = !copy;
    this.#drawDraft();
  }

  #drawDraft() {
    const draft = this.#draft;
    this.discard.hidden = !draft;
    this.note.hidden = !draft;
    this.moved.hidden = !draft || this.#ref.startsWith('new:') || movedSince(draft, this.#row, this.#both ? this.#clusters : [this.#cluster]).length === 0;
  }

  #drawChecked(waiting = false) {
    const checked = this.#checked;
    this.apply.disabled = this.#busy || !checked?.applicable;
    if (!this.#draft) { put(this.status, t('config.unchanged')); return; }
    if (!checked) { put(this.status, waiting ? t('config.checking') : ''); return; }
    if (checked.error) { put(this.status, t('config.check.failed', { reason: checked.error })); this.results.replaceChildren(); return; }
    const readOnly = checked.results.length > 0 && checked.results.every(one => one.outcome === 'refused' || one.outcome === 'unchanged') && checked.results.some(one => one.outcome === 'refused');
    put(this.status, t(checked.applicable ? 'config.ready' : readOnly ? 'config.readonly' : 'config.blocked'));
    const result = one => {
      const label = t('config.diff.of', { cluster: one.cluster, outcome: t(`config.outcome.${one.outcome}`) }), said = either(one.message_ko, one.message_en);
      return h('div', { class: 'one', data: { cluster: one.cluster, outcome: one.outcome } }, h('h3', null, glyph(one.cluster), ' ', label), said ? h('p', { class: wayOf(one.outcome) === 'bad' ? 'config-note err' : 'muted' }, wayOf(one.outcome) === 'bad' ? icon('x') : null, h('span', null, said)) : null,
        one.outcome === 'conflict' ? h('button', { type: 'button', class: 'btn sm', on: { click: () => this.#conflict() } }, t('config.compare')) : null,
        wayOf(one.outcome) === 'done' || one.outcome === 'refused' || one.outcome === 'conflict' ? diffView(one.diff, { label, words: DIFF_WORDS() }) : null);
    };
    const commands = checked.commands.join('\n');
    const copy = h('button', { type: 'button', class: 'btn sm', on: { click: () => navigator.clipboard.writeText(commands).then(() => toast(t('config.copied')), error => toast(error.message, true)) } }, icon('copy'), t('config.copy'));
    this.results.replaceChildren(h('section', { 'aria-label': t('config.diff') }, ...checked.results.map(result)),
      ...(commands ? [h('details', { class: 'commands' }, h('summary', null, t('config.commands')), h('pre', { tabindex: '0' }, commands), copy)] : []));
  }

  #drawPanels() {
    if (!this.#ref) return;
    const parts = this.#ref.startsWith('new:') ? [] : [
      history(this.#history, { view: (change, when) => this.#version(change, when), back: change => this.#back(change) }),
      affects(this.#copy), twins(this.#row, this.#cluster, this.#clusters), drift(this.#copy, text => this.#use(text)),
    ];
    this.panels.replaceChildren(...parts.filter(Boolean));
  }
}

function sessionOrNothing() {
  try { return sessionStorage; } catch { return { getItem: () => null, setItem: () => {}, removeItem: () => {} }; }
}
