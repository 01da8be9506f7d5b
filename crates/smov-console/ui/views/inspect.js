// The Request inspector: why did this request go there? One address for each request, filter, call and setting (`/inspect?req=…`).

import { call, either, find, h, kept, t } from '../dom.js';
import { answerCard, rawCard, waterfallCard } from '../inspect/side.js';
import { banner, compareCard, stepsCard } from '../inspect/detail.js';
import { compareCalls } from '../inspect/compare.js';
import { List } from '../inspect/list.js';
import { calls, mainCall, refOf } from '../inspect/story.js';
import { TraceCard } from '../inspect/trace-card.js';
import { Again, WhatIf } from '../inspect/tools.js';
import { lineOf } from '../inspect/yaml.js';

/** Records of a request that has just ended may still be on their way. */
const AGAIN_MS = 700, TRIES = 3;
/** How long the rules are taken for the same. */
const RULES_MS = 5000;

export function mount(page) {
  const view = new Inspector(page);
  return { node: view.node, title: 'inspect.title', subtitle: 'inspect.sub', show: query => view.show(query), hide: () => view.hide(), changed: topics => view.changed(topics), tick: () => view.list.refresh(), words: () => view.words() };
}

/** What is asked of `/api/v1/explain` for a call; null where its sender's record is not there. */
export function questionOf(out, observed) {
  if (!out) return null;
  const headers = Object.fromEntries((out.headers ?? []).filter(([, value]) => value !== null));
  if (observed?.canary) headers['x-canary'] ??= 'true';
  return { method: out.method, path: out.path, host: out.authority, headers, from: { workload: out.proxy, namespace: null, cluster: out.cluster_of_proxy, gateway: out.direction === 'ingress' } };
}

class Inspector {
  #visit = 0; #keys = null;

  constructor(page) {
    Object.assign(this, { page, id: null, found: null, list: null, now: null, trouble: null, chosen: 0, calls: [], fold: true, base: null });
    this.list = new List(page, id => this.open(id));
    this.again = new Again(page, id => this.open(id));
    this.whatif = new WhatIf();
    this.trace = new TraceCard(mode => page.replaceQuery({ trace: mode }));
    this.top = h('div', { class: 'insp-top' });
    this.middle = h('div', { class: 'insp-mid' });
    this.right = h('div', { class: 'stack' });
    this.raw = h('div');
    this.node = h('div', { class: 'insp' }, this.top, h('div', { class: 'ig' }, this.list.node, h('div', { class: 'insp-mid' }, this.middle, this.trace.node), h('div', { class: 'stack' }, this.right, this.again.node, this.whatif.node, this.raw)));
  }

  show(query) {
    this.fold = query.get('scale') !== 'real';
    this.list.take(query);
    this.list.refresh(true).then(() => { if (this.id === null) this.#draw(); });
    if (!this.#keys) {
      this.#keys = event => this.#key(event);
      document.addEventListener('keydown', this.#keys);
    }
    this.#compare(query.get('with'));
    this.trace.ask(query.get('trace'));
    const id = query.get('req'), wanted = query.has('call') ? Number(query.get('call')) - 1 : null;
    if (id === this.id && this.found) { if (wanted !== null && wanted !== this.chosen) this.#choose(wanted); return; }
    this.#load(id, wanted);
  }

  hide() {
    if (this.#keys) document.removeEventListener('keydown', this.#keys);
    this.#keys = null;
  }

  changed(topics) {
    if (['all', 'rules'].some(topic => topics.has(topic)) || [...topics].some(topic => topic.startsWith('cfg:'))) this.known = null;
    if (topics.has('all') || topics.has('ticker')) this.list.refresh();
  }

  words() { this.list.words(); this.again.words(); this.whatif.words(); this.trace.words(); this.#draw(); }

  open(id) {
    const url = new URL(location.href);
    url.searchParams.set('req', id);
    url.searchParams.delete('call');
    this.page.navigate(url.pathname + url.search);
  }

  #key(event) {
    if (event.key !== '/' || event.metaKey || event.ctrlKey || event.altKey || kept.get('keys') === 'off' || event.target.closest?.('input,textarea,select,dialog')) return;
    event.preventDefault();
    this.list.search.focus();
  }

  async #load(id, wanted) {
    const mine = ++this.#visit;
    Object.assign(this, { id, found: null, calls: [], now: null, trouble: null, chosen: 0 });
    this.list.select(id);
    this.#draw();
    this.trace.hide();
    if (id === null) return;
    for (let tries = 1; ; tries += 1) {
      try {
        const found = await call(`/api/v1/requests/${encodeURIComponent(id)}`);
        if (mine !== this.#visit) return;
        this.found = { ...found, records: found.records ?? [] };
      } catch (error) {
        if (mine !== this.#visit) return;
        this.found = { id, observed: null, records: [], failure: error.message };
      }
      // The callee's side is told by another control plane, and may come a moment later.
      if (this.found.records.length > 0 || this.found.observed === null || this.found.reason === 'NoControlPlane' || tries === TRIES) break;
      await new Promise(done => setTimeout(done, AGAIN_MS));
      if (mine !== this.#visit) return;
    }
    this.calls = calls(this.found.records);
    this.chosen = wanted !== null && this.calls[wanted] ? wanted : mainCall(this.calls, this.found.observed);
    this.#draw();
    // Without a control plane there is nobody to ask, which the records have said already.
    if (this.found.reason !== 'NoControlPlane') this.trace.show(id, this.found.records.reduce((first, one) => (first && first.started <= one.started ? first : one), null));
    await this.#explain(mine);
  }

  #choose(index) {
    if (!this.calls[index]) return;
    const mine = ++this.#visit;
    Object.assign(this, { chosen: index, now: null, trouble: null });
    this.page.replaceQuery({ call: index === mainCall(this.calls, this.found.observed) ? '' : String(index + 1) });
    this.#draw();
    find('inspect-call')?.focus();
    this.#explain(mine);
  }

  /** The request that others are held against; null = none. */
  async #compare(id) {
    if (id === (this.base?.id ?? null)) return;
    this.base = id === null ? null : { id, calls: [], observed: null };
    if (id !== null) {
      const found = await call(`/api/v1/requests/${encodeURIComponent(id)}`).catch(() => null);
      if (this.base?.id !== id) return;
      const list = calls(found?.records ?? []);
      this.base = { id, observed: found?.observed ?? null, call: list[mainCall(list, found?.observed)] ?? null };
    }
    this.#draw();
  }

  #hold(id) {
    this.page.replaceQuery({ with: id });
    this.#compare(id);
  }

  /** What is worked out beside the record: odds, endpoints, retries and timeouts of the configuration of now; and the rule's YAML. */
  async #explain(mine) {
    const { out } = this.calls[this.chosen] ?? {}, question = questionOf(out, this.found.observed);
    if (!question) { this.#tools(null, null, null); return; }
    const [told, rule] = await Promise.allSettled([call('/api/v1/explain', question), this.#rule(out)]);
    if (mine !== this.#visit) return;
    this.now = told.value?.now ?? null;
    this.trouble = told.reason?.message ?? null;
    this.#draw();
    this.#link(out, rule.value ?? null);
    this.#tools(question, rule.value ?? null, rule.reason?.message ?? null);
  }

  /** The rule's resource as it is now, from the cluster whose proxy used it; null where no rule was written. */
  async #rule(out) {
    const origin = out.rule?.origin;
    if (!origin?.path) return null;
    const { resources } = await this.#resources(), ref = refOf(origin);
    const found = resources.find(one => one.cluster === out.cluster_of_proxy && `${one.kind}/${one.namespace}/${one.name}` === ref);
    return found ? { cluster: found.cluster, ref, yaml: found.yaml, line: lineOf(found.yaml, origin.path) } : null;
  }

  /** The rules of both clusters; asked for again when they change, or after a while. */
  #resources() {
    if (!this.known || performance.now() - this.known.at > RULES_MS) this.known = { at: performance.now(), answer: call('/api/v1/resources') };
    return this.known.answer;
  }

  #link(out, rule) {
    const link = this.middle.querySelector('a.yl');
    if (!link || !rule?.line) return;
    const url = new URL(link.href);
    url.searchParams.set('cluster', rule.cluster);
    url.searchParams.set('line', String(rule.line));
    link.href = url.pathname + url.search;
    link.textContent = `${out.rule.origin.resource.name}:${rule.line} · ${out.rule.origin.path}`;
  }

  #tools(question, rule, ruleTrouble) {
    this.rule = rule;
    this.again.show({ id: this.found.id, observed: this.found.observed, method: this.calls[this.chosen]?.out?.method }, this.now?.chances ?? null);
    this.whatif.show(`${this.found.id}/${this.chosen}`, question, this.now, rule, ruleTrouble);
  }

  #draw() {
    const focused = document.activeElement?.id;
    if (this.id === null) { this.#say(t('inspect.choose'), t('inspect.choose.text')); return; }
    if (!this.found) { this.#say(t('loading'), ''); this.middle.replaceChildren(skeleton()); return; }
    const { found } = this, chosen = this.calls[this.chosen];
    this.top.replaceChildren(banner(found, chosen));
    if (found.records.length === 0) this.middle.replaceChildren(this.#nothing());
    else this.middle.replaceChildren(stepsCard(this.calls, this.chosen, this.now, this.trouble, index => this.#choose(index)));
    if (this.base?.call && this.base.id !== this.id && chosen?.out) this.middle.prepend(compareCard(compareCalls(this.base.call, chosen), this.base, found, () => this.#hold(null)));
    this.right.replaceChildren(...(found.records.length > 0 ? [waterfallCard(found.records, this.fold, fold => this.#scale(fold))] : []), answerCard(found, chosen, this.base?.id === this.id, () => this.#hold(this.base?.id === this.id ? null : this.id)));
    this.raw.replaceChildren(...(found.records.length > 0 ? [rawCard(found.records)] : []));
    for (const node of [this.again.node, this.whatif.node]) node.hidden = !found.observed && found.records.length === 0;
    if (this.rule) this.#link(chosen?.out, this.rule);
    if (focused && document.activeElement?.id !== focused) find(focused)?.focus({ preventScroll: true });
  }

  #scale(fold) {
    this.fold = fold;
    this.page.replaceQuery({ scale: fold ? '' : 'real' });
    this.#draw();
    this.right.querySelector('.seg [aria-pressed=true]')?.focus();
  }

  #say(title, text) {
    this.top.replaceChildren(h('section', { class: 'why', 'aria-labelledby': 'h-why' }, h('div', null, h('p', { class: 'q0', id: 'h-why' }, t('inspect.sub')), h('p', { class: 'a' }, title))));
    this.middle.replaceChildren(h('section', { class: 'card' }, h('p', { class: 'pad muted' }, text)));
    this.right.replaceChildren();
    this.raw.replaceChildren();
    for (const node of [this.again.node, this.whatif.node]) node.hidden = true;
  }

  #nothing() {
    const { found } = this;
    const reason = found.failure ?? either(found.text_ko, found.text_en) ?? found.reason;
    return h('section', { class: 'card', data: { nothing: '' } }, h('header', null, h('h2', null, t('inspect.steps'))), h('div', { class: 'pad' }, h('p', null, h('b', null, reason)), h('p', { class: 'muted s' }, t(found.observed ? 'inspect.nothing.seen' : 'inspect.nothing.unseen'))));
  }
}

const skeleton = () => h('section', { class: 'card sk', 'aria-hidden': 'true' }, ...Array.from({ length: 5 }, () => h('i')));
