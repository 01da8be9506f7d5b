// The theatre itself: lists with their forms, and booking with the seat map. All data is text, whatever it contains.

import { countOf, gridMove, listOf, seatMapOf } from './theatre/shapes.js';
import { announce, either, find, flagSentence, h, icon, kept, mark, number, put, reasonOf, t, toast, tone, translate } from './dom.js';

const PATHS = { user: '/users/', movie: '/movies/', booking: '/bookings/' };
const MOST_SEATS = 10;

const titleOf = movie => either(movie.title, movie.title_en) ?? '?';
const genreOf = movie => either(movie.genre, movie.genre_en);
const hallOf = screening => either(screening.hall, screening.hall_en) ?? '';
/** `11/23 19:00` as the theatre's clock says it. */
const startOf = start => { const found = /^\d+-(\d+)-(\d+)T(\d+:\d+)/.exec(start ?? ''); return found ? `${found[1]}/${found[2]} ${found[3]}` : String(start ?? ''); };
const freshKey = () => globalThis.crypto?.randomUUID?.() ?? `k-${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** Connects lists and booking to the page; called once, when one of them comes into sight. */
export function mount({ store, ask, openRequest }) {
  const lists = Object.fromEntries(['user', 'movie', 'booking'].map(service => [service, new List(service, { store, ask, openRequest })]));
  const booking = new Booking({ store, ask, lists, openRequest });
  lists.booking.onAdd = () => booking.focus();
  lists.user.onChange = () => booking.drawChoices();
  lists.movie.onChange = () => booking.drawChoices();
  return {
    show: part => (part === 'seats' ? booking.show() : lists[part].show()),
    add: part => lists[part].add(),
    words: () => { for (const list of Object.values(lists)) list.draw(); booking.words(); },
  };
}

// ---------------------------------------------------------------- lists

class List {
  items = null; #error = null; #busy = false; #count = null;

  constructor(service, tools) {
    Object.assign(this, tools, { service, onAdd: null, onChange: null });
    const board = document.querySelector(`[data-service="${service}"]`);
    this.body = board.querySelector('[data-part="list-body"]');
    this.title = board.querySelector('[data-part="list-title"]');
    this.details = board.querySelector('details');
    this.list = h('ul', { tabindex: '0', ta: `list.${service}` });
    this.note = h('div', { class: 'note', hidden: true });
    this.form = service === 'booking' ? null : this.#form();
    this.body.append(this.note, this.list, ...(this.form ? [this.form] : []));
  }

  show() { if (this.items === null && !this.#busy && this.details.open) return this.load(); return Promise.resolve(); }

  async load() {
    this.#busy = true;
    const slow = setTimeout(() => { if (this.items === null) this.#note(t('loading'), 'skeleton'); }, 300);
    try {
      const answer = await this.ask(this.service, PATHS[this.service], { canary: false });
      const body = await answer.json().catch(() => null);
      if (answer.ok) {
        this.items = listOf(body, 'users', 'movies', 'bookings');
        this.#count = countOf(answer.headers.get('x-total-count'), body, this.items.length);
        this.#error = null;
      } else this.#error = { status: answer.status };
    } catch { this.#error = { status: 0 }; }
    clearTimeout(slow);
    this.#busy = false;
    this.draw();
    this.onChange?.();
    if (this.#error?.status >= 500) setTimeout(() => this.draw(), 700);
  }

  draw() {
    put(this.title, this.items === null ? t(`list.${this.service}`) : t('list.title', { name: t(`list.${this.service}`), n: number(this.#count) }));
    if (this.items !== null) delete this.title.dataset.t;
    if (this.#error) this.#drawError();
    else if (this.items?.length === 0) this.#note(t(`list.empty.${this.service}`));
    else this.note.hidden = true;
    const rows = this.items ?? [];
    this.list.hidden = rows.length === 0;
    this.list.replaceChildren(...rows.map(item => this.#row(item)));
    translate(this.body);
  }

  #note(text, kind = '') { this.note.hidden = false; tone(this.note, `note ${kind}`.trim()); this.note.replaceChildren(h('p', null, text)); }

  #drawError() {
    const { status } = this.#error;
    const name = t(`svc.${this.service}`);
    const row = [...this.store.rings[this.service].mine.last(20)].reverse().find(candidate => candidate.status === status);
    const flags = row?.flags && row.flags !== '-' ? `, ${flagSentence(row.flags)}` : '';
    this.#note(status === 0 ? t('list.offline', { service: name }) : t('list.error', { service: name, status, flags }), 'err');
    this.note.append(h('div', { class: 'acts' },
      h('button', { type: 'button', class: 'btn sm', on: { click: () => this.load() } }, icon('retry'), h('span', null, t('retry'))),
      row ? h('button', { type: 'button', class: 'btn sm ghost', on: { click: () => this.openRequest(row) } }, t('trace')) : null));
  }

  #row(item) {
    const [name, more] = this.#words(item);
    const letter = (this.service === 'booking' ? either(item.movie_title, item.movie_title_en) ?? name : name).trim()[0] ?? '?';
    return h('li', null, h('span', { class: this.service === 'user' ? 'ava' : 'ava sq', 'aria-hidden': 'true' }, letter), h('span', { class: 'm' }, h('b', null, name), h('small', null, more)));
  }

  #words(item) {
    if (this.service === 'user') return [String(item.name ?? item.id), item.email ?? ''];
    if (this.service === 'movie') return [titleOf(item), [genreOf(item), item.year, either(item.director, item.director_en)].filter(Boolean).join(' · ')];
    const seats = item.seats ?? [];
    const movie = either(item.movie_title, item.movie_title_en) ?? item.movie_id ?? item.movieId ?? '';
    const sub = t('booking.item.sub', { user: item.user_name || item.user_id || item.userId || '', seats: seats.join(', '), n: seats.length });
    return [t('booking.item', { id: item.id, movie }), item.status === 'cancelled' ? `${sub} · ${t('booking.cancelled')}` : sub];
  }

  async add() {
    if (this.onAdd) { this.onAdd(); return; }
    this.details.open = true;
    await this.show();
    this.form.querySelector('input').focus();
  }

  #form() {
    const input = (name, key, more = {}) => h('input', { class: 'in', name, ta: key, placeholder: t(key), data: { tp: key }, maxlength: '120', autocomplete: 'off', ...more });
    const fields = this.service === 'user'
      ? [input('name', 'form.name', { required: true }), input('email', 'form.email', { type: 'email', required: true })]
      : [input('title', 'form.movie.title', { required: true }), input('genre', 'form.genre'), input('year', 'form.year', { type: 'number', min: '1888', max: '2100' }), input('director', 'form.director')];
    return h('form', { class: `addf ${this.service}`, ta: `form.${this.service}`, on: { submit: event => { event.preventDefault(); this.#submit(event.target); } } }, ...fields, h('button', { class: 'btn', t: 'add' }));
  }

  async #submit(form) {
    const body = {};
    for (const [name, value] of new FormData(form)) if (value.trim() !== '') body[name] = name === 'year' ? Number(value) : value.trim();
    const button = form.querySelector('button');
    button.disabled = true;
    try {
      const answer = await this.ask(this.service, PATHS[this.service], { method: 'POST', body });
      const json = await answer.json().catch(() => null);
      if (!answer.ok) throw new Error(reasonOf(json, answer.status));
      form.reset();
      toast(t('list.added', { name: body.name ?? body.title }));
      await this.load();
      this.list.scrollTop = this.list.scrollHeight;
    } catch (error) {
      toast(t('list.add.failed', { reason: error.message }), true);
      form.querySelector('input').focus();
    } finally { button.disabled = false; }
  }
}

// ---------------------------------------------------------------- booking

class Booking {
  #screenings = []; #screening = null; #map = null; #chosen = new Set(); #at = [5, 5]; #busy = false; #key = null; #last = null; #shown = false;

  constructor(tools) {
    Object.assign(this, tools);
    const select = (key, change) => h('select', { class: 'in', ta: key, on: { change } });
    this.user = select('booking.user', () => { kept.set('booking.user', this.user.value); this.drawSummary(); });
    this.movie = select('booking.movie', () => this.#loadScreenings());
    this.time = select('booking.time', () => this.#choose(this.time.value));
    this.grid = h('div', { class: 'seats', role: 'grid', ta: 'booking.map', 'aria-multiselectable': 'true', on: { keydown: event => this.#press(event), click: event => this.#click(event) } });
    this.note = h('p', { class: 'note', hidden: true });
    this.summary = h('p', { class: 'sum' });
    this.button = h('button', { type: 'button', class: 'btn pri', id: 'book-now', on: { click: () => this.#book() } });
    this.outcome = h('p', { class: 'outcome', role: 'status' });
    this.path = h('ul', { class: 's path' });
    const field = (key, control) => h('label', { class: 'field' }, h('span', { t: key }), control);
    const heading = (step, key, hint) => h('h3', null, h('span', { class: 'num' }, String(step)), h('span', { t: key }), hint ? h('span', { class: 'muted s', t: hint }) : null);
    find('book').append(
      h('div', null, heading(1, 'booking.who'), h('div', { class: 'stack' }, field('booking.user', this.user), field('booking.movie', this.movie), field('booking.time', this.time))),
      h('div', null, heading(2, 'booking.seats', 'booking.keys'), h('div', { class: 'screen' }), h('p', { class: 's muted mid', t: 'booking.screen' }), this.note, this.grid),
      h('div', null, heading(3, 'booking.confirm'), this.summary, this.button, this.outcome, h('p', { class: 's muted', t: 'booking.path' }), this.path),
    );
    this.#drawMap();
    this.drawSummary();
  }

  async show() {
    if (this.#shown) return;
    this.#shown = true;
    await Promise.all([this.lists.user, this.lists.movie].map(list => (list.items === null ? list.load() : null)));
    this.drawChoices();
  }

  async focus() {
    await this.show();
    find('booking').scrollIntoView({ block: 'start' });
    this.user.focus({ preventScroll: true });
  }

  words() { this.drawChoices(); this.#fillTimes(); this.#drawMap(); this.drawSummary(); translate(find('book')); }

  /** Users and movies from the lists; keeps what was chosen. */
  drawChoices() {
    const fill = (select, items, label) => {
      const value = select.value;
      select.replaceChildren(...items.map(item => h('option', { value: item.id }, label(item))));
      if (items.some(item => String(item.id) === value)) select.value = value;
    };
    fill(this.user, this.lists.user.items ?? [], user => String(user.name ?? user.id));
    const before = this.movie.value;
    fill(this.movie, this.lists.movie.items ?? [], movie => `${titleOf(movie)}${movie.year ? ` (${movie.year})` : ''}`);
    const remembered = kept.get('booking.user');
    if (remembered && [...this.user.options].some(option => option.value === remembered)) this.user.value = remembered;
    if (this.#shown && this.movie.value && !this.#busy && (this.movie.value !== before || this.#screening === null)) this.#loadScreenings();
    this.drawSummary();
  }

  async #loadScreenings() {
    this.#busy = true;
    this.#screenings = [];
    try {
      const answer = await this.ask('movie', `/movies/${encodeURIComponent(this.movie.value)}/screenings`, { canary: false });
      if (answer.ok) this.#screenings = listOf(await answer.json(), 'screenings').sort((a, b) => String(a.start).localeCompare(String(b.start)));
    } catch { this.#screenings = []; }
    this.#busy = false;
    this.#fillTimes();
    const upcoming = this.#screenings.find(item => Date.parse(item.start) > Date.now()) ?? this.#screenings[0];
    if (upcoming) this.time.value = upcoming.id;
    await this.#choose(upcoming?.id ?? null);
  }

  #fillTimes() {
    const value = this.time.value;
    this.time.replaceChildren(...(this.#screenings.length > 0 ? this.#screenings.map(item => h('option', { value: item.id }, `${startOf(item.start)} · ${hallOf(item)}`)) : [h('option', { value: '' }, t('booking.noscreening'))]));
    if (value && this.#screenings.some(item => String(item.id) === value)) this.time.value = value;
  }

  async #choose(id) {
    this.#screening = this.#screenings.find(item => String(item.id) === String(id)) ?? null;
    this.#chosen.clear();
    this.#map = null;
    if (this.#screening) await this.#loadSeats();
    this.#drawMap();
    this.drawSummary();
  }

  async #loadSeats() {
    const screening = this.#screening;
    try {
      const answer = await this.ask('booking', `/screenings/${encodeURIComponent(screening.id)}/seats`, { canary: false });
      if (!answer.ok) throw new Error(String(answer.status));
      const map = seatMapOf(await answer.json());
      if (screening !== this.#screening) return;
      this.#map = map;
      this.note.hidden = true;
      for (const seat of [...this.#chosen]) if (map.taken.has(seat)) this.#chosen.delete(seat);
    } catch (error) {
      this.#map = null;
      this.note.hidden = false;
      const status = Number(error.message);
      put(this.note, status ? t('list.error', { service: t('svc.booking'), status, flags: '' }) : t('list.offline', { service: t('svc.booking') }));
    }
  }

  #drawMap() {
    const { rows, columns, taken } = this.#map ?? { rows: [...'ABCDEFGH'], columns: 12, taken: new Set() };
    const shape = `${rows.join('')}${columns}`;
    if (this.grid.dataset.shape !== shape) {
      this.grid.dataset.shape = shape;
      this.grid.replaceChildren(...rows.map((row, r) => h('div', { class: 'r', role: 'row' }, h('span', { role: 'rowheader' }, row),
        ...Array.from({ length: columns }, (_, c) => [c > 0 && c % 4 === 0 ? h('span', { class: 'aisle', 'aria-hidden': 'true' }) : null, h('button', { type: 'button', class: 'seat', role: 'gridcell', data: { seat: `${row}${c + 1}`, r, c } })]))));
      this.seats = [...this.grid.querySelectorAll('.seat')];
    }
    this.#at = [Math.min(this.#at[0], rows.length - 1), Math.min(this.#at[1], columns - 1)];
    this.grid.toggleAttribute('aria-disabled', this.#map === null);
    for (const button of this.seats) {
      const id = button.dataset.seat, sold = taken.has(id), mine = this.#chosen.has(id);
      tone(button, sold ? 'seat tk' : mine ? 'seat sel' : 'seat');
      put(button, sold ? '×' : mine ? '✓' : id.slice(1));
      mark(button, 'aria-label', t(sold ? 'seat.taken' : mine ? 'seat.mine' : 'seat.free', { seat: id }));
      mark(button, 'aria-selected', String(mine));
      mark(button, 'aria-disabled', String(sold || this.#map === null));
      mark(button, 'tabindex', Number(button.dataset.r) === this.#at[0] && Number(button.dataset.c) === this.#at[1] ? '0' : '-1');
    }
  }

  drawSummary() {
    const seats = [...this.#chosen].sort((a, b) => a[0].localeCompare(b[0]) || Number(a.slice(1)) - Number(b.slice(1)));
    const movie = (this.lists.movie.items ?? []).find(item => String(item.id) === this.movie.value);
    const lines = [];
    if (movie && this.#screening) lines.push(h('span', null, h('b', null, titleOf(movie)), ` · ${startOf(this.#screening.start)} · ${hallOf(this.#screening)}`), h('br'));
    lines.push(seats.length === 0 ? t('booking.choose') : t('booking.summary', { user: this.user.selectedOptions[0]?.textContent ?? '', seats: seats.join(', ') }));
    if (seats.length > 0 && this.#screening?.price) lines.push(` · ${t('booking.price', { n: number(this.#screening.price * seats.length) })}`);
    this.summary.replaceChildren(...lines);
    put(this.button, this.#busy ? t('booking.sending') : seats.length > 0 ? t('booking.book', { n: seats.length }) : t('booking.book.none'));
    this.button.disabled = seats.length === 0 || !this.user.value || this.#busy;
    this.#drawPath();
  }

  #drawPath() {
    if (!this.#last) { this.path.replaceChildren(h('li', { class: 'muted' }, t('booking.nopath'))); return; }
    const { cluster, pod, status, ms } = this.#last;
    const row = [...this.store.rings.booking.mine.last(20)].reverse().find(item => item.m === 'POST');
    this.path.replaceChildren(
      h('li', null, h('i', { class: cluster === 'ctx1' ? 'g1' : cluster === 'ctx2' ? 'g2' : 'gx' }), ' booking ', h('span', { class: 'muted' }, `POST · ${status} · ${Math.round(ms)} ms${pod ? ` · ${pod.slice(pod.lastIndexOf('-') + 1)}` : ''}`)),
      ...(row ? [h('li', null, h('button', { type: 'button', class: 'btn sm', on: { click: () => this.openRequest(row) } }, t('trace')))] : []));
  }

  #toggle(id) {
    if (!this.#map || this.#map.taken.has(id) || this.#busy) return;
    if (this.#chosen.has(id)) this.#chosen.delete(id);
    else if (this.#chosen.size >= MOST_SEATS) { toast(t('booking.limit', { n: MOST_SEATS })); return; }
    else this.#chosen.add(id);
    this.#key = null;
    this.#drawMap();
    this.drawSummary();
  }

  #click(event) {
    const button = event.target.closest('.seat');
    if (!button) return;
    this.#at = [Number(button.dataset.r), Number(button.dataset.c)];
    this.#toggle(button.dataset.seat);
    this.#drawMap();
  }

  #press(event) {
    const button = event.target.closest('.seat');
    if (!button) return;
    if (event.key === ' ') { event.preventDefault(); this.#toggle(button.dataset.seat); return; }
    if (event.key === 'Enter') { event.preventDefault(); if (this.#chosen.size > 0) this.#book(); else this.#toggle(button.dataset.seat); return; }
    const { rows, columns } = this.#map ?? { rows: [...'ABCDEFGH'], columns: 12 };
    const next = gridMove(event.key, Number(button.dataset.r), Number(button.dataset.c), rows.length, columns);
    if (!next) return;
    event.preventDefault();
    this.#at = next;
    this.#drawMap();
    this.seats[next[0] * columns + next[1]].focus();
  }

  // The key stays with the same choice, so that a second try after a lost answer books once.
  async #book() {
    if (this.button.disabled) return;
    const seats = [...this.#chosen];
    this.#key ??= freshKey();
    this.#busy = true;
    this.drawSummary();
    const started = performance.now();
    try {
      const body = { user_id: this.user.value, screening_id: String(this.#screening.id), seats };
      const answer = await this.ask('booking', '/bookings/', { method: 'POST', body, headers: { 'Idempotency-Key': this.#key } });
      const json = await answer.json().catch(() => null);
      this.#last = { cluster: answer.headers.get('x-service-cluster'), pod: answer.headers.get('x-pod-name'), status: answer.status, ms: performance.now() - started };
      if (answer.status === 409) await this.#lost(seats, json);
      else if (!answer.ok) this.#say(t('booking.failed', { reason: reasonOf(json, answer.status) }), true);
      else {
        const sold = json?.seats ?? seats;
        for (const seat of sold) this.#map?.taken.add(seat);
        this.#chosen.clear();
        this.#key = null;
        this.#say(t('booking.done', { seats: sold.join(', ') }));
        this.lists.booking.load();
      }
    } catch (error) { this.#say(t('booking.failed', { reason: error.message }), true); }
    this.#busy = false;
    this.#drawMap();
    this.drawSummary();
    setTimeout(() => this.#drawPath(), 500);
  }

  /** Somebody was faster: those seats flip to taken, the rest stays chosen. */
  async #lost(seats, json) {
    this.#key = null;
    const named = json?.taken ?? json?.seats;
    await this.#loadSeats();
    if (Array.isArray(named)) for (const seat of named) this.#map?.taken.add(seat);
    const gone = seats.filter(seat => this.#map?.taken.has(seat));
    for (const seat of gone) this.#chosen.delete(seat);
    this.#say(gone.length > 0 ? t('booking.taken', { seats: gone.join(', ') }) : t('booking.failed', { reason: reasonOf(json, 409) }), true);
  }

  #say(text, bad = false) {
    tone(this.outcome, bad ? 'outcome err' : 'outcome ok');
    put(this.outcome, text);
    announce(text);
  }
}
