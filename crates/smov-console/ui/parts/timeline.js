// The timeline: what happened in both clusters, newest first. Its words are in the dictionary `deployments`.

import { clock } from '../core.js';
import { GROUPS, linkOf, passes, seconds } from '../deployments/words.js';
import { either, glyph, h, icon, mark, put, root, t } from '../dom.js';

const ICONS = { change: 'file', fault: 'warn', ejection: 'eject', uneject: 'check', kill: 'bolt', restart: 'retry', ready: 'check', scale: 'sliders', link: 'mirror', scenario: 'play' };
const TONES = { fault: 'err', kill: 'err', ejection: 'warn', ready: 'ok', uneject: 'ok' };
/** Rows in the DOM; older entries are a number. */
const ROWS = 120;

/** One list with a filter. `store.timeline` is what it shows. */
export class Timeline {
  #group = 'all'; #shown = '';

  constructor(store, { onFilter } = {}) {
    this.store = store;
    this.onFilter = onFilter;
    this.filters = Object.keys(GROUPS).map(group => h('button', { type: 'button', data: { group }, t: `timeline.${group}`, on: { click: () => this.filter(group) } }));
    this.list = h('ol', { class: 'moments' });
    this.more = h('p', { class: 'muted s pad' });
    this.node = h('section', { class: 'card timeline', 'aria-labelledby': 'h-timeline' },
      h('header', null, h('h2', { id: 'h-timeline', t: 'timeline.title' }), h('span', { class: 'muted s', t: 'timeline.sub' }), h('span', { class: 'r' }, h('span', { class: 'seg', role: 'group', ta: 'timeline.filter' }, ...this.filters))),
      h('div', { class: 'scroll-y', tabindex: '0', role: 'region', ta: 'timeline.title' }, this.list, this.more));
  }

  filter(group) {
    this.#group = group in GROUPS ? group : 'all';
    this.onFilter?.(this.#group);
    this.draw();
  }

  draw() {
    for (const button of this.filters) mark(button, 'aria-pressed', String(button.dataset.group === this.#group));
    const all = [...this.store.timeline.values()].filter(moment => passes(moment, this.#group)).sort((a, b) => b.at - a.at);
    const rows = all.slice(0, ROWS);
    const shown = JSON.stringify([root.lang, this.#group, all.length, rows]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = document.activeElement?.closest?.('.moments a')?.getAttribute('data-moment');
    this.list.replaceChildren(...rows.map(moment => this.#row(moment)));
    if (focused) [...this.list.querySelectorAll('a')].find(link => link.dataset.moment === focused)?.focus();
    put(this.more, rows.length === 0 ? t('timeline.empty') : all.length > rows.length ? t('timeline.more', { n: all.length - rows.length }) : '');
  }

  #row(moment) {
    const time = new Date(moment.at / 1000), address = linkOf(moment), effect = moment.effect;
    const text = either(moment.text_ko, moment.text_en);
    const figures = effect && moment.kind !== 'ready' && (effect.failed > 0 || effect.ready_ms !== undefined) ? t(effect.ready_ms === undefined ? 'timeline.open' : 'timeline.done', { failed: `${effect.at_least ? '≥ ' : ''}${effect.failed}`, ready: seconds(effect.ready_ms ?? 0) }) : null;
    return h('li', { data: { kind: moment.kind, id: moment.id } },
      h('time', { datetime: time.toISOString() }, clock(time.getTime() * 1000)),
      h('span', { class: `mi ${TONES[moment.kind] ?? ''}`.trim() }, icon(ICONS[moment.kind] ?? 'file'), h('span', { class: 'sr' }, t(`timeline.kind.${moment.kind}`))),
      h('span', { class: 'mt' }, moment.cluster ? glyph(moment.cluster) : null, moment.cluster ? h('span', { class: 'sr' }, moment.cluster) : null, h('span', null, text), figures ? h('span', { class: 'muted s' }, figures) : null),
      address ? h('a', { class: 'ml', href: address, 'data-view': address.slice(1).split('?')[0], data: { moment: moment.id }, 'aria-label': t(effect?.request ? 'timeline.request' : 'timeline.goto', { text }) }, icon('why')) : h('span'));
  }
}
