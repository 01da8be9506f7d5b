// The Traffic control view: change a rule by a form, read the change as YAML, apply it to both clusters, and see whether it does what it should.

import { SERVICES } from '../core.js';
import { announce, call, h, icon, kept, mark, put, t, toast, translate } from '../dom.js';
import { mount as mountScenarios } from '../parts/scenarios.js';
import { breakerFold } from '../traffic/breaker.js';
import { canaryCard } from '../traffic/canary.js';
import { askConflict } from '../traffic/conflict.js';
import { faultCard } from '../traffic/fault.js';
import { Form } from '../traffic/form.js';
import { History } from '../traffic/history.js';
import { predictions } from '../traffic/predict.js';
import { Preview } from '../traffic/preview.js';
import { mirrorFold, retryFold } from '../traffic/retry.js';
import { Verify } from '../traffic/verify.js';
import { weightCard } from '../traffic/weight.js';

const ICONS = { user: 'users', movie: 'film', booking: 'ticket' };
/** Names of parts in an address, and the part that shows each. */
const PARTS = { weight: 'weight', canary: 'canary', fault: 'fault', retry: 'retry', timeout: 'retry', breaker: 'breaker', outlier: 'breaker', pool: 'breaker', mirror: 'mirror' };

export function mount(page) {
  const view = new Traffic(page);
  return {
    node: view.node, title: 'traffic.title', subtitle: 'traffic.sub',
    show: query => view.show(query), changed: topics => view.changed(topics), words: () => view.words(), tick: () => view.tick(), hide: () => view.hide(),
  };
}

class Traffic {
  #drawing = false; #reading = null; #shown = false; #readAgain = false; #section = null; #wanted = null;

  constructor(page) {
    this.page = page;
    this.form = new Form(kept, () => this.#schedule());
    this.form.clusterName = id => `${id} ${page.store.clusters.find(cluster => cluster.id === id)?.cloud ?? ''}`.trim();
    this.form.subsetName = subset => { const home = this.form.home(subset), cloud = page.store.clusters.find(cluster => cluster.id === home)?.cloud; return cloud ? `${subset} · ${cloud}` : subset; };
    this.verify = new Verify(page);
    this.parts = { weight: weightCard(this.form), canary: canaryCard(this.form, { ask: page.ask, heard: result => this.verify.canary(result) }), fault: faultCard(this.form), retry: retryFold(this.form), breaker: breakerFold(this.form, page), mirror: mirrorFold(this.form) };
    this.preview = new Preview(this.form, { onApplied: told => this.#applied(told), onConflict: conflicts => this.#conflict(conflicts), statements: () => this.#statements() });
    this.history = new History(this.form, { onRolledBack: () => this.read(), onReset: () => this.#reset() });
    this.tabs = SERVICES.map(service => this.#tab(service));
    this.tablist = h('div', { class: 'svctabs', role: 'tablist', on: { keydown: event => this.#arrow(event) } }, ...this.tabs.map(tab => tab.node));
    this.notice = h('div', { class: 'notice', role: 'alert', hidden: true }, icon('warn'), h('span'));
    this.panel = h('div', { class: 'tgrid', id: 'traffic-panel', role: 'tabpanel', tabindex: '-1' },
      h('div', { class: 'stack' }, this.parts.weight.node, this.parts.canary.node, this.parts.fault.node, h('section', { class: 'card folds', 'aria-label': 'Istio' }, this.parts.retry.node, this.parts.breaker.node, this.parts.mirror.node)),
      h('div', { class: 'stack side' }, this.preview.node, this.history.node));
    this.preview.node.querySelector('.sc').append(this.verify.node);
    this.loading = h('p', { class: 'empty' });
    this.scenarios = mountScenarios(page);
    this.node = h('div', { class: 'traffic' }, this.notice, this.tablist, this.loading, this.panel, this.scenarios.node);
    for (const [name, part] of Object.entries(this.parts)) part.node.addEventListener('toggle', () => { if (part.node.open) this.#remember(name); });
  }

  #tab(service) {
    const name = h('b'), split = h('span', { class: 'muted s' }), edits = h('span', { class: 'chip acc' }), bar = h('span', { class: 'mini', 'aria-hidden': 'true' }, h('i'), h('u'));
    const node = h('button', { type: 'button', role: 'tab', id: `traffic-tab-${service}`, 'aria-controls': 'traffic-panel', data: { service }, on: { click: () => this.#choose(service) } }, h('span', { class: 'l1' }, icon(ICONS[service]), name, edits, split), bar);
    return { service, node, draw: () => {
      const { configured } = this.page.store.services[service], known = configured.state === 'ok', count = Object.keys(this.form.draftOf(service).edits).length;
      put(name, t(`svc.${service}`));
      put(split, known ? `${configured.ctx1}:${configured.ctx2}` : '–');
      edits.hidden = count === 0;
      put(edits, t('traffic.tab.edits', { n: count }));
      bar.classList.toggle('none', !known);
      if (known) bar.firstChild.style.width = `${configured.ctx1}%`;
      const on = service === this.form.service;
      mark(node, 'aria-selected', String(on));
      mark(node, 'tabindex', on ? '0' : '-1');
    } };
  }

  #arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -9, End: 9 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = SERVICES.indexOf(this.form.service), next = Math.abs(step) === 9 ? (step < 0 ? 0 : SERVICES.length - 1) : (at + step + SERVICES.length) % SERVICES.length;
    this.#choose(SERVICES[next]);
    this.tabs[next].node.focus();
  }

  #choose(service) {
    if (service === this.form.service) return;
    this.parts.canary.clear();
    this.parts.breaker.forget();
    this.preview.results = null;
    this.form.choose(service);
    this.page.replaceQuery({ svc: service });
    this.history.changes = null;
    this.history.read();
  }

  #remember(name) { this.#section = name; this.page.replaceQuery({ section: name }); }

  show(query) {
    this.#shown = true;
    const service = query.get('svc'), w = query.get('w');
    this.#section = PARTS[query.get('section')] ?? null;
    if (SERVICES.includes(service) && service !== this.form.service) this.form.choose(service);
    this.#wanted = { weight: w !== null && /^\d{1,3}$/.test(w) && Number(w) <= 100 ? Number(w) : null, section: this.#section };
    this.#schedule();
    this.scenarios.show(query);
    this.read();
  }
  hide() { this.#shown = false; }

  /** What an address asks for, as soon as the rules are known. */
  #prepare() {
    const wanted = this.#wanted;
    if (!wanted || !this.form.resources) return;
    this.#wanted = null;
    if (wanted.weight !== null && !this.form.reason('weight')) this.form.set('weight.ctx1', wanted.weight);
    if (!wanted.section) return;
    const part = this.parts[wanted.section];
    if (part.node.tagName === 'DETAILS') part.node.open = true;
    requestAnimationFrame(() => { part.node.scrollIntoView({ block: 'start' }); part.title.focus({ preventScroll: true }); });
  }

  /** Reads all rules anew; a second call while one is under way is done after it. */
  async read() {
    if (this.#reading) { this.#readAgain = true; return this.#reading; }
    this.#reading = (async () => {
      do {
        this.#readAgain = false;
        const before = this.form.stamp();
        try { this.form.load(await call('/api/v1/resources')); } catch (error) { this.form.failed(error.message); }
        if (this.form.stamp() !== before) this.preview.again();
      } while (this.#readAgain);
      this.#prepare();
      await this.history.read();
    })();
    try { await this.#reading; } finally { this.#reading = null; }
  }

  changed(topics) {
    this.scenarios.changed(topics);
    if (topics.has('rules') || topics.has('all') || SERVICES.some(service => topics.has(`cfg:${service}`))) this.read();
    if (topics.has('mesh')) this.verify.tell(this.page.store.mesh?.as_of);
    if ([...topics].some(topic => topic.startsWith('lamps:') || topic === 'mesh')) this.verify.look();
    if ([...topics].some(topic => topic === 'pods' || topic.startsWith('cfg:') || topic === 'all')) this.#schedule();
  }
  words() { translate(this.node); this.scenarios.words(); this.#schedule(); }
  tick() { this.parts.breaker.tick(); this.verify.look(); }

  #statements() {
    const outlook = this.form.outlook();
    return outlook && this.form.problems().size === 0 ? predictions(outlook.before, outlook.after, subset => this.form.home(subset)) : [];
  }

  async #applied({ service, changes, sent, statements, done }) {
    if (done.length === 0) { await this.read(); return; }
    if (service !== this.form.service) this.form.choose(service);
    await this.read();
    // What went in is live now, so it is no edit any more; what did not go in, or was typed meanwhile, stays in the draft.
    const whole = done.length === changes.length;
    if (whole) this.form.landed(sent); else this.form.settle(done);
    if (done.some(result => result.cluster === 'ctx1')) this.verify.start(service, statements);
    const text = t(whole ? 'traffic.applied' : 'traffic.applied.partly', { names: done.map(result => `${result.cluster}/${result.ref.split('/').at(-1)}`).join(', ') });
    toast(text, !whole);
    announce(text);
    this.page.replaceQuery({ w: null });
  }

  async #conflict(conflicts) {
    await this.read();
    const found = conflicts.length > 0 ? conflicts : this.form.overtaken().map(name => { const [cluster, ...ref] = name.split('/'); return { cluster, ref: ref.join('/'), mine: '' }; });
    const theirs = ({ cluster, ref, live_yaml: told }) => told ?? this.form.resources?.find(item => item.cluster === cluster && `${item.kind}/${item.namespace}/${item.name}` === ref)?.yaml ?? '';
    const choice = await askConflict(found.map(one => ({ ...one, theirs: theirs(one) })));
    if (choice === 'rebase') { this.form.rebase(); toast(t('traffic.rebased')); }
    if (choice === 'discard') this.form.discard();
    this.preview.again();
    this.#schedule();
  }

  async #reset() {
    try {
      const { changed } = await call('/api/v1/reset', {});
      toast(changed.length > 0 ? t('reset.done', { n: changed.length, names: changed.map(item => `${item.cluster}/${item.name}`).join(', ') }) : t('reset.nothing'));
    } catch (error) { toast(t('reset.failed', { reason: error.message }), true); }
    this.read();
  }

  #schedule() {
    if (this.#drawing) return;
    this.#drawing = true;
    queueMicrotask(() => { this.#drawing = false; this.#draw(); });
  }

  #draw() {
    const { form } = this;
    mark(this.tablist, 'aria-label', t('traffic.services'));
    for (const tab of this.tabs) tab.draw();
    this.node.dataset.service = form.service;
    mark(this.panel, 'aria-labelledby', `traffic-tab-${form.service}`);
    const lost = form.reach.filter(cluster => !cluster.reachable).map(cluster => cluster.name);
    const trouble = form.error ? t('traffic.read.failed', { reason: form.error }) : lost.length > 0 ? t('traffic.unreachable', { names: lost.join(', ') }) : '';
    this.notice.hidden = trouble === '';
    put(this.notice.lastElementChild, trouble);
    this.panel.hidden = form.resources === null;
    this.loading.hidden = form.resources !== null || form.error !== null;
    put(this.loading, t('loading'));
    if (form.resources === null) return;
    for (const part of Object.values(this.parts)) part.draw();
    this.preview.ask();
    this.preview.draw();
    this.history.draw();
    this.verify.draw();
    if (this.#shown) this.page.replaceQuery({ svc: form.service, section: this.#section, w: form.draft.edits['weight.ctx1'] ?? null });
  }
}
