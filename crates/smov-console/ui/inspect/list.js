// The list at the left: recent requests of the hub's archive, with filters and search; arrow keys move in it.

import { SERVICES, clock, duration } from '../core.js';
import { call, glyph, h, icon, mark, put, t } from '../dom.js';
import { draw } from './icons.js';

const LIMIT = 50, PERIOD_MS = 1500;
/** Filters that the address knows, with what they may be. */
export const FILTERS = {
  service: ['', ...SERVICES], cluster: ['', 'ctx1', 'ctx2', 'none'], status: ['', '2xx', '4xx', '5xx'],
  flag: ['', 'any', 'DI', 'FI', 'UH', 'UF', 'UO', 'UT', 'URX', 'UC', 'NR', 'NC', 'DC'],
};

export class List {
  #rows = []; #shownAt = 0; #asking = false; #current = null; #error = null;

  constructor(page, open) {
    Object.assign(this, { page, open, filters: {}, mine: false, slow: false, held: false });
    this.search = h('input', { class: 'in', type: 'search', id: 'inspect-search', autocomplete: 'off', spellcheck: 'false', on: { input: () => this.#changed(), keydown: event => this.#searched(event) } });
    this.selects = Object.fromEntries(Object.keys(FILTERS).map(name => [name, h('select', { class: 'in', data: { filter: name }, on: { change: event => { this.filters[name] = event.target.value; this.#changed(); } } })]));
    this.mineButton = h('button', { type: 'button', class: 'btn sm', on: { click: () => { this.mine = !this.mine; this.#changed(); } } });
    this.slowButton = h('button', { type: 'button', class: 'btn sm', on: { click: () => { this.slow = !this.slow; this.#changed(); } } });
    this.holdButton = h('button', { type: 'button', class: 'btn sm ghost', on: { click: () => { this.held = !this.held; this.words(); if (!this.held) this.refresh(true); } } });
    this.items = h('ul', { class: 'rl-items', on: { keydown: event => this.#moved(event) } });
    this.hint = h('p', { class: 'muted s rl-hint', role: 'status' });
    this.node = h('aside', { class: 'card rl', 'aria-labelledby': 'h-recent' },
      h('header', null, h('h2', { id: 'h-recent', t: 'inspect.list' }), h('span', { class: 'r' }, this.holdButton)),
      h('div', { class: 'rl-f' }, h('label', { class: 'rl-q' }, h('span', { class: 'sr', t: 'inspect.search' }), draw('search'), this.search),
        h('div', { class: 'rl-s' }, ...Object.values(this.selects)), h('div', { class: 'rl-b' }, this.mineButton, this.slowButton)),
      this.hint, this.items);
    this.words();
  }

  words() {
    for (const [name, select] of Object.entries(this.selects)) {
      mark(select, 'aria-label', t(`inspect.filter.${name}`));
      select.replaceChildren(...FILTERS[name].map(value => h('option', { value }, value === '' ? t(`inspect.filter.${name}`) : this.#option(name, value))));
      select.value = this.filters[name] ?? '';
    }
    mark(this.search, 'placeholder', t('inspect.search.hint'));
    put(this.mineButton, t('mine.toggle'));
    put(this.slowButton, t('inspect.slow'));
    put(this.holdButton, t(this.held ? 'inspect.list.go' : 'inspect.list.hold'));
    mark(this.mineButton, 'aria-pressed', String(this.mine));
    mark(this.slowButton, 'aria-pressed', String(this.slow));
    mark(this.holdButton, 'aria-pressed', String(this.held));
    this.#draw(true);
  }

  #option(name, value) {
    if (name === 'service') return t(`svc.${value}`);
    if (value === 'none') return t('inspect.notreached');
    return value === 'any' ? t('inspect.flag.any') : value;
  }

  /** Takes filters from the address. */
  take(query) {
    for (const [name, values] of Object.entries(FILTERS)) this.filters[name] = values.includes(query.get(name)) ? query.get(name) : '';
    this.mine = query.get('mine') === '1';
    this.slow = query.get('sort') === 'slow';
    this.search.value = query.get('id') ?? '';
    this.words();
  }

  #changed() {
    this.page.replaceQuery({ ...this.filters, mine: this.mine ? '1' : '', sort: this.slow ? 'slow' : '', id: this.search.value.trim() });
    this.words();
    this.refresh(true);
  }

  #searched(event) {
    if (event.key === 'Enter' && this.search.value.trim()) {
      event.preventDefault();
      const typed = this.search.value.trim(), found = this.#rows.find(row => row.id === typed) ?? (this.#rows.length === 1 ? this.#rows[0] : null);
      this.open(found?.id ?? typed);
    } else if (event.key === 'ArrowDown') { event.preventDefault(); this.items.querySelector('a')?.focus(); }
  }

  #moved(event) {
    const links = [...this.items.querySelectorAll('a')], at = links.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    if (to < 0) { this.search.focus(); return; }
    const link = links[Math.min(to, links.length - 1)];
    for (const other of links) other.tabIndex = other === link ? 0 : -1;
    link.focus();
  }

  select(id) { this.#current = id; this.#draw(true); }
  get first() { return this.#rows[0]?.id ?? null; }

  /** Asks anew; unless `now`, at most every one and a half seconds, and not while somebody walks through the list with the keyboard. */
  async refresh(now = false) {
    const walking = this.items.contains(document.activeElement);
    if (this.#asking || (!now && (this.held || walking || performance.now() - this.#shownAt < PERIOD_MS))) return;
    this.#asking = true;
    const asked = new URLSearchParams({ limit: String(LIMIT) });
    for (const [name, value] of Object.entries(this.filters)) if (value) asked.set(name, value);
    if (this.mine) asked.set('client', this.page.client);
    if (this.slow) asked.set('sort', 'slow');
    if (this.search.value.trim()) asked.set('id', this.search.value.trim());
    const said = asked.toString();
    try {
      this.#rows = (await call(`/api/v1/requests?${said}`)).requests;
      this.#error = null;
    } catch (error) { this.#error = error.message; }
    this.#asking = false;
    this.#shownAt = performance.now();
    this.#draw();
  }

  #draw(again = false) {
    const key = JSON.stringify([this.#rows.map(row => [row.id, row.flags]), this.#current, this.#error]);
    if (!again && key === this.key) return;
    this.key = key;
    const focused = document.activeElement?.closest?.('.rl-items a')?.dataset.id;
    put(this.hint, this.#error ? t('inspect.list.failed', { reason: this.#error }) : this.#rows.length === 0 ? t(this.#filtered() ? 'inspect.list.nothing' : 'lamps.empty') : t('inspect.list.count', { n: this.#rows.length }));
    const reach = focused ?? (this.#rows.some(row => row.id === this.#current) ? this.#current : this.#rows[0]?.id);
    this.items.replaceChildren(...this.#rows.map(row => this.#item(row, row.id === reach)));
    if (focused) this.items.querySelector(`a[data-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #filtered() { return this.mine || this.search.value.trim() !== '' || Object.values(this.filters).some(Boolean); }

  #item(row, reach) {
    const good = row.cluster !== null && row.status < 400;
    const where = row.cluster === null ? [icon('x', 'errc'), t('inspect.notreached')] : [glyph(row.cluster), row.cluster];
    const chips = [row.canary && t('inspect.chip.canary'), row.delay_ms && t('inspect.chip.delay'), row.attempts > 1 && t('inspect.chip.retry', { n: row.attempts - 1 }), row.flags && row.flags !== '-' && row.flags].filter(Boolean);
    const link = h('a', { href: `/inspect?req=${encodeURIComponent(row.id)}`, data: { id: row.id, cluster: row.cluster ?? 'none' }, tabindex: reach ? '0' : '-1', on: { click: event => { if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button !== 0) return; event.preventDefault(); this.open(row.id); } } },
      h('span', { class: `st ${good ? 'ok' : 'err'}` }, String(row.status)), h('span', { class: 'p' }, `${row.m} ${row.path}`), h('span', { class: 'muted ms' }, duration(row.ms)),
      h('span', { class: 'd' }, ...where, h('span', { class: 'mono muted', title: row.id }, row.id.slice(0, 8)), h('span', { class: 'muted tm' }, clock(row.ts)), chips.length > 0 ? h('span', { class: 'chs' }, ...chips.map(chip => h('span', { class: 'chip' }, chip))) : null));
    if (row.id === this.#current) link.setAttribute('aria-current', 'true');
    return h('li', null, link);
  }
}
