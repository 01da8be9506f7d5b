// The gallery of scenarios: what each does, what to watch, whether it is there, and its YAML. Apply and reset go through the console's API; what is shown
// as applied is always what the server says of the live objects.

import { announce, call, either, h, icon, mark, put, root, speakAlso, t, toast } from '../dom.js';
import { badgeOf, filesByCluster, sameScenarios } from './scenario-state.js';

const ICONS = { reset: 'reset', breaker: 'bolt', delay: 'clock', abort: 'x', block: 'stop', chaos: 'bolt', eject: 'eject', retry: 'retry', cut: 'door', slow: 'clock', canary: 'me', mirror: 'mirror', timeout: 'clock' };
const BADGE_ICON = { active: 'check', partly: 'warn', unknown: 'clock', working: 'retry' };
const BADGE_TONE = { active: 'chip ok', partly: 'chip warn', unknown: 'chip', working: 'chip' };
const REFRESH_TOPICS = ['all', 'rules', 'pods', 'link', 'cfg:user', 'cfg:movie', 'cfg:booking'];

let style = null;
function withStyle() {
  style ??= new Promise(done => {
    const link = h('link', { rel: 'stylesheet', href: '/ui/parts/scenarios.css' });
    link.addEventListener('load', done);
    link.addEventListener('error', done);
    document.head.append(link);
  });
  return style;
}

/** The gallery, to be put anywhere; `page` is what views are given. */
export function mount(page) {
  const gallery = new Gallery(page);
  Promise.all([withStyle(), speakAlso('scenarios')]).then(() => gallery.begin());
  return { node: gallery.node, show: query => gallery.show(query), words: () => gallery.draw(), changed: topics => gallery.changed(topics) };
}

class Gallery {
  #scenarios = null; #failed = null; #working = null; #loading = null; #again = false; #open = new Set(); #ready = false; #timer = null;

  constructor(page) {
    this.page = page;
    this.title = h('h2', { id: 'h-scenarios' });
    this.sub = h('span', { class: 'muted s' });
    this.state = h('p', { class: 'note', role: 'status' });
    this.list = h('ul', { class: 'scenarios' });
    this.node = h('section', { class: 'scenario-gallery', id: 'scenarios', 'aria-labelledby': 'h-scenarios', tabindex: '-1' }, h('div', { class: 'sec-h' }, this.title, this.sub), this.state, this.list);
  }

  async begin() { this.#ready = true; this.draw(); await this.load(); this.#come(); }

  show() {
    if (this.#ready) { this.load(); this.#come(); }
  }

  /** `#scenarios` in the address leads here, once there are cards. */
  #come() { if (location.hash === '#scenarios') requestAnimationFrame(() => { this.node.scrollIntoView({ block: 'start' }); this.node.focus({ preventScroll: true }); }); }

  /** Something that scenarios change is news: ask again, once for a burst of news. */
  changed(topics) {
    if (!this.#ready || !REFRESH_TOPICS.some(topic => topics.has(topic))) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), 400);
  }

  /** One question at a time; who asks meanwhile gets an answer that is newer than the asking. */
  load() {
    if (this.#loading) { this.#again = true; return this.#loading; }
    this.#loading = this.#ask().finally(() => {
      this.#loading = null;
      if (this.#again) { this.#again = false; this.load(); }
    });
    return this.#loading;
  }

  async #ask() {
    try {
      const { scenarios } = await call('/api/v1/scenarios');
      const news = this.#failed !== null || !sameScenarios(this.#scenarios, scenarios);
      this.#scenarios = scenarios;
      this.#failed = null;
      if (news) this.draw();
    } catch (error) {
      this.#failed = error.message;
      this.draw();
    }
  }

  async #change(scenario) {
    if (this.#working) return;
    this.#working = scenario.name;
    this.draw();
    try {
      const reset = scenario.name === 'reset';
      const done = await call(reset ? '/api/v1/scenarios/reset' : `/api/v1/scenarios/${encodeURIComponent(scenario.name)}/apply`, {});
      const title = either(scenario.title_ko, scenario.title_en);
      const was = done.was.filter(name => name !== scenario.name).map(name => this.#titleOf(name));
      const text = reset ? t('scenarios.put-back', { n: done.changed.length }) : was.length > 0 ? t('scenarios.applied.after', { title, was: was.join(', ') }) : t('scenarios.applied', { title });
      const left = done.left.length > 0 ? ` ${t('scenarios.left', { names: done.left.join(', ') })}` : '';
      toast(text + left);
      announce(text);
    } catch (error) {
      toast(t('scenarios.failed', { reason: error.message }), true);
    } finally {
      this.#working = null;
      this.draw();
      await this.load();
    }
  }

  #titleOf(name) { const found = this.#scenarios?.find(scenario => scenario.name === name); return found ? either(found.title_ko, found.title_en) : name; }

  draw() {
    if (!this.#ready) return;
    put(this.title, t('scenarios.title'));
    put(this.sub, t('scenarios.sub'));
    const text = this.#failed !== null ? t('scenarios.unread', { reason: this.#failed }) : this.#scenarios === null ? t('loading') : '';
    this.state.hidden = text === '';
    put(this.state, text);
    const focused = this.node.contains(document.activeElement) ? document.activeElement : null;
    const place = focused?.closest('[data-scenario]')?.dataset.scenario, role = focused?.dataset.act;
    this.list.replaceChildren(...(this.#scenarios ?? []).map(scenario => this.#card(scenario)));
    if (place && role) this.list.querySelector(`[data-scenario="${CSS.escape(place)}"] [data-act="${role}"]`)?.focus();
  }

  #card(scenario) {
    const title = either(scenario.title_ko, scenario.title_en), badge = this.#working === scenario.name ? 'working' : badgeOf(scenario);
    const watch = either(scenario.watch_ko, scenario.watch_en) ?? [], id = `scenario-${scenario.name}`;
    const apply = h('button', { type: 'button', class: scenario.state === 'active' ? 'btn sm' : 'btn sm primary', data: { act: 'apply' }, on: { click: () => this.#change(scenario) } }, t(scenario.name === 'reset' ? 'scenarios.reset' : 'scenarios.apply'));
    mark(apply, 'aria-label', t(scenario.name === 'reset' ? 'scenarios.reset.label' : 'scenarios.apply.label', { title }));
    if (this.#working !== null || (scenario.name === 'reset' && scenario.state === 'active')) mark(apply, 'aria-disabled', 'true');
    apply.addEventListener('click', event => { if (apply.getAttribute('aria-disabled') === 'true') event.stopImmediatePropagation(); }, { capture: true });
    return h('li', { class: `card scenario ${scenario.state}`, data: { scenario: scenario.name, state: scenario.state } },
      h('header', null, icon(ICONS[scenario.icon] ?? 'bolt'), h('h3', { id }, title), h('span', { class: 'muted s kind' }, t(`scenarios.kind.${scenario.kind}`)), badge ? h('span', { class: BADGE_TONE[badge] }, icon(BADGE_ICON[badge]), h('span', null, t(`scenarios.state.${badge}`))) : null),
      h('p', null, either(scenario.text_ko, scenario.text_en)),
      scenario.differs.length > 0 && scenario.state === 'partly' ? h('p', { class: 'note' }, t('scenarios.differs', { names: scenario.differs.join(', ') })) : null,
      h('div', { class: 'watch' }, h('h4', null, t('scenarios.watch')), h('ul', null, ...watch.map(sentence => h('li', null, sentence)))),
      h('div', { class: 'acts' }, apply),
      this.#yaml(scenario, title));
  }

  #yaml(scenario, title) {
    if (scenario.files.length === 0 && scenario.commands.length === 0) return null;
    const block = (name, text, style = 'mono') => h('figure', null, h('figcaption', { class: `muted s ${style}`.trim() }, name), h('pre', { tabindex: '0', role: 'region', 'aria-label': name }, text));
    const details = h('details', null, h('summary', { data: { act: 'yaml' }, 'aria-label': t('scenarios.yaml.label', { title }) }, t('scenarios.yaml')),
      scenario.commands.length > 0 ? block(t('scenarios.by-hand'), scenario.commands.join('\n'), '') : null,
      ...filesByCluster(scenario.files).map(file => block(`scenarios/${file.path} · ${file.cluster === 'both' ? 'ctx1, ctx2' : file.cluster}`, file.yaml)));
    details.open = this.#open.has(scenario.name);
    details.addEventListener('toggle', () => { if (details.open) this.#open.add(scenario.name); else this.#open.delete(scenario.name); });
    return details;
  }
}
