// Deployments: both clusters with their nodes, Deployments and pods; what may be done to them, what that will do and what it did.

import { CLUSTERS, age, podsKnown } from '../core.js';
import { call, find, glyph, h, icon, mark, put, root, t, toast, tone } from '../dom.js';
import { LinkControl } from '../deployments/link.js';
import { Logs } from '../deployments/logs.js';
import { full, predict, serviceOf } from '../deployments/predict.js';
import { deploymentState, followUp, memory, processors } from '../deployments/words.js';
import { confirm } from '../parts/confirm.js';
import { Timeline } from '../parts/timeline.js';

const LIGHT_ICON = { ok: 'check', warn: 'clock', err: 'x', unknown: 'clock', idle: 'pause' };
const USAGE_MS = 5000, BACK_AFTER = 30, MOST_PODS = 20;
const CHIP = { ok: 'ok', warn: 'warn', err: 'err' };

/** The view; called once, on the first visit. */
export function mount(page) { return new Deployments(page); }

class Deployments {
  title = 'deployments.title';
  subtitle = 'deployments.sub';
  #shown = ''; #usage = new Map(); #nodes = new Map(); #measured = new Map(); #abilities = new Map(); #usageAt = 0; #timers = []; #epoch = null; #query = new URLSearchParams(); #marked = ''; #visible = false;

  constructor(page) {
    this.page = page;
    this.store = page.store;
    this.link = new LinkControl(this.store);
    this.logs = new Logs({ onClose: () => this.#closeLogs() });
    this.timeline = new Timeline(this.store);
    this.note = h('p', { class: 'notice', role: 'status', hidden: true }, icon('warn'), h('span'));
    this.host = h('div', { class: 'duo-c' });
    this.menu = h('div', { id: 'pod-menu', popover: 'auto', role: 'menu' });
    this.menu.addEventListener('toggle', event => { if (event.newState === 'closed') this.menu.anchor?.setAttribute('aria-expanded', 'false'); });
    this.menu.addEventListener('keydown', event => this.#menuKey(event));
    this.node = h('div', { class: 'deployments' }, this.note, this.link.node, this.host, this.logs.node, this.timeline.node, this.menu);
  }

  show(query) {
    this.#visible = true;
    this.#query = query;
    this.#refetch();
    this.#draw();
    const { cluster, pod } = this.#asked();
    if (cluster && pod && query.get('logs') === '1') this.#openLogs(cluster, pod);
    else this.logs.end();
    this.#reveal();
  }

  hide() { this.#visible = false; this.logs.end(); if (this.menu.matches(':popover-open')) this.menu.hidePopover(); }

  changed(topics) {
    if (topics.has('all')) this.#refetch();
    if (['all', 'pods', 'mesh', 'store'].some(topic => topics.has(topic))) this.#draw();
    if (topics.has('all') || topics.has('link')) this.link.draw();
    if (topics.has('all') || topics.has('timeline')) this.timeline.draw();
  }

  words() { this.#shown = ''; this.#draw(); this.link.draw(); this.timeline.draw(); this.logs.words(); }

  tick() {
    this.#draw();
    for (const timer of this.#timers) timer();
    this.link.tick();
    if (Date.now() - this.#usageAt >= USAGE_MS) this.#measure();
  }

  #asked() {
    const name = this.#query.get('pod');
    const cluster = CLUSTERS.find(id => id === this.#query.get('cluster')) ?? CLUSTERS.find(id => this.store.pods[id]?.pods.some(item => item.name === name));
    return { cluster, pod: this.store.pods[cluster]?.pods.find(item => item.name === name) };
  }

  // -------------------------------------------------------------- what the page asks for itself

  async #refetch() {
    if (this.#epoch !== this.store.epoch) { this.#epoch = this.store.epoch; this.#askAbilities(); this.#askTimeline(); }
    this.#measure();
  }

  async #askTimeline() {
    try {
      const { items } = await call('/api/v1/timeline');
      for (const item of items) if (!this.store.timeline.has(item.id)) this.store.timeline.set(item.id, item);
      this.timeline.draw();
    } catch { this.#epoch = null; }
  }

  async #askAbilities() {
    try {
      const found = await call('/api/v1/abilities');
      this.#abilities = new Map(found.map(item => [`${item.cluster}/${item.namespace}`, item]));
      if (found.length === 0) this.#epoch = null;
    } catch { this.#epoch = null; }
    const known = [...this.#abilities.values()], closed = known.filter(item => item.change === false);
    this.note.hidden = closed.length === 0;
    if (closed.length > 0) put(this.note.lastElementChild, known.length === closed.length ? t('deployments.readonly') : t('deployments.readonly.some', { names: closed.map(item => `${item.cluster}/${item.namespace}`).join(', ') }));
    this.#shown = '';
    this.#draw();
  }

  async #measure() {
    this.#usageAt = Date.now();
    try {
      const view = await call('/api/v1/usage');
      this.#usage = new Map(view.pods.map(pod => [`${pod.cluster}/${pod.namespace}/${pod.name}`, pod]));
      this.#nodes = new Map(view.nodes.map(node => [`${node.cluster}/${node.name}`, node]));
      this.#measured = new Map(view.clusters.map(cluster => [cluster.name, cluster]));
    } catch { this.#usage.clear(); this.#nodes.clear(); this.#measured.clear(); }
    for (const timer of this.#timers) timer();
  }

  // -------------------------------------------------------------- drawing

  /** Anew only for news: ages, figures and confirmations go on in the nodes that are there. */
  #draw() {
    const known = CLUSTERS.map(cluster => podsKnown(this.store.pods[cluster], this.page.connected()) && !this.#stale(cluster));
    const shown = JSON.stringify([root.lang, known, this.store.clusters, this.store.pods, [...this.#abilities.values()]], (key, value) => (key === 'as_of' ? undefined : value));
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = document.activeElement?.closest?.('.deployments [data-key]')?.dataset.key;
    const scrolls = new Map([...this.host.querySelectorAll('.scroll')].map(node => [node.dataset.cluster, node.scrollLeft]));
    this.#timers = [];
    this.host.replaceChildren(...CLUSTERS.map((cluster, i) => this.#card(cluster, known[i])));
    for (const node of this.host.querySelectorAll('.scroll')) node.scrollLeft = scrolls.get(node.dataset.cluster) ?? 0;
    if (focused) [...this.host.querySelectorAll('[data-key]')].find(node => node.dataset.key === focused)?.focus();
    for (const timer of this.#timers) timer();
    this.link.draw();
    this.timeline.draw();
    this.#reveal();
    if (this.menu.matches(':popover-open')) this.#anchor();
  }

  #stale(cluster) { const at = this.store.pods[cluster]?.as_of; return !at || Date.now() - at / 1000 > 20_000; }
  #may(cluster, namespace, what) { return this.#abilities.get(`${cluster}/${namespace}`)?.[what] !== false; }

  #card(cluster, known) {
    const view = this.store.pods[cluster], cloud = this.store.clusters.find(item => item.id === cluster)?.cloud ?? '';
    const states = (view?.deployments ?? []).map(item => deploymentState(item, view.pods, known, Date.now()));
    const lights = states.map(([, , light]) => light), worst = !known ? 'unknown' : ['err', 'warn'].find(light => lights.includes(light)) ?? 'ok';
    const card = h('section', { class: `card cluster ${known ? '' : 'stale'}`.trim(), data: { cluster, light: worst }, 'aria-labelledby': `h-cluster-${cluster}` },
      h('header', null, glyph(cluster), h('h2', { id: `h-cluster-${cluster}` }, `${cloud} · ${cluster}`), h('span', { class: 'r' }, h('span', { class: `chip ${CHIP[worst] ?? ''}`.trim() }, icon(LIGHT_ICON[worst]), h('span', null, t(`deploy.${worst}`))))));
    if (!known) {
      const why = h('span');
      this.#timers.push(() => put(why, view?.as_of ? t('deploy.stale', { cluster, age: age(Date.now() - view.as_of / 1000) }) : t('deploy.never', { cluster })));
      card.append(h('p', { class: 'note' }, why, view?.error ? ` · ${view.error}` : null));
    }
    if (!view) return card;
    card.append(this.#nodeRow(cluster, view.nodes, known));
    card.append(h('ul', { class: 'deps' }, ...view.deployments.map((item, i) => this.#deployment(cluster, item, states[i], known))));
    card.append(this.#pods(cluster, view, known));
    return card;
  }

  #nodeRow(cluster, nodes, known) {
    return h('ul', { class: 'nodes', 'aria-label': t('deployments.nodes') }, ...nodes.map(node => {
      const usage = h('span', { class: 'muted' });
      this.#timers.push(() => { const found = this.#nodes.get(`${cluster}/${node.name}`); put(usage, found ? `${processors(found.cpu_millicores)} · ${memory(found.memory_bytes)}` : ''); });
      const ready = known ? node.ready : null;
      return h('li', null, h('span', { class: `chip ${ready === null ? '' : ready ? 'ok' : 'err'}`.trim() }, icon(ready === null ? 'clock' : ready ? 'check' : 'x'), h('span', null, ready === null ? t('unknown') : t(ready ? 'deployments.node.ready' : 'deployments.node.not'))), h('code', null, node.name), usage);
    }));
  }

  #deployment(cluster, item, [key, values, light], known) {
    const { namespace, name } = item, app = item.app || name, service = serviceOf(app), id = `${cluster}/${namespace}/${name}`;
    const may = known && this.#may(cluster, namespace, 'change');
    const dots = Array.from({ length: Math.min(8, Math.max(item.wanted, item.ready)) }, (_, i) => h('i', { class: `pd ${known ? (i < item.ready ? 'up' : 'dn') : 'un'}` }));
    const state = h('span', { class: 'ds' });
    this.#timers.push(() => { const [words, filled] = deploymentState(item, this.store.pods[cluster]?.pods ?? [], known, Date.now()); put(state, t(words, filled)); });
    put(state, t(key, values));
    const label = service ? t(`svc.${service}`) : name;
    const step = (by, sign) => h('button', { type: 'button', class: 'btn sm ic', disabled: !may || item.wanted + by < 0 || item.wanted + by > MOST_PODS, data: { key: `${id}:${sign}` }, 'aria-label': t(by < 0 ? 'deployments.less' : 'deployments.more', { name }), on: { click: () => this.#scale(cluster, item, item.wanted + by) } }, sign);
    const back = item.restore ? h('span', { class: 'chip warn' }) : null;
    if (back) this.#timers.push(() => put(back, t('deployments.restore.in', { n: item.restore.replicas, s: Math.max(0, Math.ceil((item.restore.at / 1000 - Date.now()) / 1000)) })));
    return h('li', { data: { app, light, name } },
      h('span', { class: 'dn' }, h('b', null, label), service ? h('code', null, name) : null, namespace === 'theater-msa' ? null : h('small', null, namespace), app === 'redis' && item.wanted > 0 ? h('small', null, t('deploy.store')) : null),
      h('span', { class: 'pds', 'aria-hidden': 'true' }, ...dots), h('span', { class: 'rw' }, known ? `${item.ready}/${item.wanted}` : t('unknown')), state, back,
      h('span', { class: 'acts' }, h('span', { class: 'stepper', role: 'group', 'aria-label': t('deployments.scale', { name }) }, step(-1, '−'), h('output', null, String(item.wanted)), step(1, '+')),
        h('button', { type: 'button', class: 'btn sm', disabled: !may || item.wanted === 0, data: { key: `${id}:restart` }, 'aria-label': t('deployments.restart.of', { name }), on: { click: () => this.#restart(cluster, item) } }, icon('retry'), h('span', null, t('deployments.restart')))));
  }

  #pods(cluster, view, known) {
    const heads = ['pod', 'node', 'status', 'ready', 'restarts', 'age', 'version', 'cpu', 'memory', 'confirmed', 'menu'];
    const rows = view.pods.map(pod => {
      const cell = (name, text, extra = '') => h('td', { class: `c-${name} ${extra}`.trim() }, text);
      const old = cell('age', ''), cpu = cell('cpu', ''), mem = cell('memory', ''), seen = cell('confirmed', '');
      this.#timers.push(() => {
        put(old, pod.started ? age(Date.now() - pod.started / 1000) : t('none'));
        const used = this.#usage.get(`${cluster}/${pod.namespace}/${pod.name}`), why = this.#measured.get(cluster)?.reason;
        put(cpu, processors(used?.cpu_millicores) ?? t('none'));
        put(mem, memory(used?.memory_bytes) ?? t('none'));
        if (why) { mark(cpu, 'title', why); mark(mem, 'title', why); }
        const at = this.store.pods[cluster]?.as_of;
        put(seen, at ? t('deployments.ago', { age: age(Date.now() - at / 1000) }) : t('unknown'));
      });
      const good = known && pod.status === 'Running' && full(pod.ready), key = `${cluster}/${pod.namespace}/${pod.name}:menu`;
      const button = h('button', { type: 'button', class: 'btn sm ic ghost', data: { key }, 'aria-haspopup': 'menu', 'aria-expanded': 'false', 'aria-label': t('deployments.menu', { pod: pod.name }), on: { click: event => this.#openMenu(event.currentTarget, cluster, pod, known) } }, '⋯');
      return h('tr', { data: { pod: pod.name, good: String(good) } }, h('th', { scope: 'row', class: 'mono pn', title: pod.ip ?? '' }, pod.name), cell('node', pod.node ?? '–', 'mono'), cell('status', known ? pod.status : t('unknown'), good ? 'okc' : known ? 'warnc' : 'muted'), cell('ready', known ? pod.ready : '?'), cell('restarts', String(pod.restarts ?? 0)), old, cell('version', pod.version ?? '–'), cpu, mem, seen, h('td', { class: 'c-menu' }, button));
    });
    return h('div', { class: 'scroll', tabindex: '0', role: 'region', data: { cluster }, 'aria-label': t('deployments.pods.of', { cluster }) }, h('table', { class: 'tick pods-f' }, h('caption', { class: 'sr' }, t('deployments.pods.of', { cluster })), h('thead', null, h('tr', null, ...heads.map(head => h('th', { scope: 'col', class: `c-${head}` }, head === 'menu' ? h('span', { class: 'sr' }, t('deployments.col.menu')) : t(`deployments.col.${head}`))))), h('tbody', null, ...rows)));
  }

  /** Marks the pod that the address names, and scrolls to it once. */
  #reveal() {
    const { pod } = this.#asked();
    for (const row of this.host.querySelectorAll('tr[data-pod]')) row.classList.toggle('sel', row.dataset.pod === pod?.name);
    const row = pod && this.host.querySelector('tr.sel');
    if (row && this.#marked !== pod.name) { this.#marked = pod.name; row.scrollIntoView({ block: 'nearest' }); }
  }

  // -------------------------------------------------------------- a pod's menu

  #openMenu(button, cluster, pod, known) {
    if (this.menu.matches(':popover-open')) { this.menu.hidePopover(); return; }
    const may = what => known && this.#may(cluster, pod.namespace, what);
    const item = (text, name, enabled, act, reason) => h('button', { type: 'button', role: 'menuitem', tabindex: '-1', 'aria-disabled': enabled ? null : 'true', title: enabled ? null : reason, on: { click: () => { if (!enabled) return; this.menu.hidePopover(); this.menu.anchor?.focus(); act(); } } }, icon(name), h('span', null, text), enabled ? null : h('small', null, reason));
    const closed = t('deployments.notallowed'), kill = this.#abilities.get(`${cluster}/${pod.namespace}`)?.kill;
    this.menu.replaceChildren(item(t('deployments.logs'), 'file', may('logs'), () => this.#goLogs(cluster, pod), closed),
      ...(pod.containers ?? []).map(container => item(t('deployments.kill', { container }), 'bolt', may('kill'), () => this.#kill(cluster, pod, container), kill === false ? t('deployments.kill.nothere') : closed)),
      item(t('deployments.delete'), 'trash', may('delete'), () => this.#delete(cluster, pod), closed));
    this.menu.anchor = button;
    mark(this.menu, 'aria-label', t('deployments.menu', { pod: pod.name }));
    this.menu.showPopover();
    mark(button, 'aria-expanded', 'true');
    const at = button.getBoundingClientRect(), box = this.menu.getBoundingClientRect();
    this.menu.style.left = `${Math.max(8, Math.min(at.right - box.width, innerWidth - box.width - 8))}px`;
    this.menu.style.top = `${at.bottom + 4 + box.height > innerHeight - 8 ? Math.max(8, at.top - box.height - 4) : at.bottom + 4}px`;
    this.menu.querySelector('[role=menuitem]').focus();
  }

  /** Rows were drawn anew under an open menu: it belongs to the same pod's new button, and closes only where the pod is gone. */
  #anchor() {
    const button = [...this.host.querySelectorAll('[data-key]')].find(node => node.dataset.key === this.menu.anchor?.dataset.key);
    if (!button) { this.menu.hidePopover(); return; }
    this.menu.anchor = button;
    mark(button, 'aria-expanded', 'true');
  }

  #menuKey(event) {
    const items = [...this.menu.querySelectorAll('[role=menuitem]')], at = items.indexOf(document.activeElement);
    const to = { ArrowDown: (at + 1) % items.length, ArrowUp: (at + items.length - 1) % items.length, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); items[to].focus(); }
    if (event.key === 'Tab') this.menu.hidePopover();
    if (event.key === 'Escape') { event.preventDefault(); this.menu.hidePopover(); this.menu.anchor?.focus(); }
  }

  // -------------------------------------------------------------- logs

  #goLogs(cluster, pod) {
    this.page.replaceQuery({ cluster, pod: pod.name, logs: '1' });
    this.#query = new URL(location.href).searchParams;
    this.#openLogs(cluster, pod);
    this.logs.node.scrollIntoView({ block: 'nearest' });
    this.logs.container.focus({ preventScroll: true });
    this.#reveal();
  }

  #openLogs(cluster, pod) { this.logs.show({ cluster, namespace: pod.namespace, name: pod.name, containers: pod.containers }); }

  #closeLogs() {
    this.page.replaceQuery({ cluster: null, pod: null, logs: null });
    this.#query = new URLSearchParams();
    this.#reveal();
    find('main').focus({ preventScroll: true });
  }

  // -------------------------------------------------------------- actions

  #world() { const { services, pods, store } = this.store; return { services, pods, store, connected: this.page.connected() }; }

  #prediction(found) {
    const values = { ...found, service: found.service ? t(`svc.${found.service}`) : '' };
    const lines = [h('p', { class: `predict ${found.level}`, data: { code: found.code } }, icon(found.level === 'none' ? 'check' : found.level === 'unknown' ? 'clock' : 'warn'), h('span', null, h('b', null, t('deployments.predict')), ' ', t(`deployments.predict.${found.code}`, values)))];
    if (found.code === 'share' && found.booking) lines.push(t('deployments.predict.booking', values));
    if (found.canaries) lines.push(t('deployments.predict.canary', values));
    return lines;
  }

  /** Follows the measured effect in the dialog, as the timeline has it. */
  #follow(moment) {
    if (!moment) return null;
    return { follow: say => {
      const tell = () => { const [key, values] = followUp(this.store.timeline.get(moment), this.store.timeline.get(`${moment}:ready`)); say(t(key, values)); };
      tell();
      const timer = setInterval(tell, 300);
      return () => clearInterval(timer);
    } };
  }

  #path(kind, cluster, { namespace, name }, action) { return `/api/v1/${kind}/${cluster}/${namespace}/${encodeURIComponent(name)}/${action}`; }

  #kill(cluster, pod, container) {
    const found = predict({ kind: 'kill', pod: pod.name }, { cluster, namespace: pod.namespace, app: pod.app }, this.#world());
    return confirm({
      title: t('deployments.kill.ask', { container, pod: pod.name }), level: found.level, action: t('deployments.kill.do'),
      lines: [...this.#prediction(found), t('deployments.kill.after')],
      run: async () => this.#follow((await call(this.#path('pods', cluster, pod, 'kill'), { container })).moment),
    });
  }

  #delete(cluster, pod) {
    const found = predict({ kind: 'delete', pod: pod.name }, { cluster, namespace: pod.namespace, app: pod.app }, this.#world());
    return confirm({
      title: t('deployments.delete.ask', { pod: pod.name }), level: found.level, action: t('deployments.delete'),
      lines: [...this.#prediction(found), t('deployments.delete.after')],
      run: async () => this.#follow((await call(this.#path('pods', cluster, pod, 'delete'), {})).moment),
    });
  }

  #restart(cluster, item) {
    const found = predict({ kind: 'restart' }, { cluster, namespace: item.namespace, app: item.app || item.name }, this.#world());
    return confirm({
      title: t('deployments.restart.ask', { name: item.name }), level: found.level, action: t('deployments.restart'),
      lines: [...this.#prediction(found), t('deployments.restart.after')],
      run: async () => this.#follow((await call(this.#path('deployments', cluster, item, 'restart'), {})).moment),
    });
  }

  async #scale(cluster, item, replicas) {
    const path = this.#path('deployments', cluster, item, 'scale');
    if (replicas > item.wanted) {
      try { await call(path, { replicas }); } catch (error) { toast(t('deployments.failed', { reason: error.message }), true); }
      return;
    }
    const found = predict({ kind: 'scale', replicas }, { cluster, namespace: item.namespace, app: item.app || item.name }, this.#world());
    const cutOff = found.code === 'gateway' && this.store.meta.door === 'gateway';
    await confirm({
      title: t('deployments.scale.ask', { name: item.name, from: item.wanted, to: replicas }), level: found.level, action: t('deployments.scale.do', { to: replicas }),
      lines: [...this.#prediction(found), ...(cutOff ? [t('deployments.predict.gateway.here')] : [])],
      options: [{ key: 'back', label: t('deployments.back', { n: BACK_AFTER }), checked: replicas === 0 }],
      run: async ({ back }) => this.#follow((await call(path, { replicas, ...(back ? { restore_after_s: BACK_AFTER } : {}) })).moment),
    });
  }
}
