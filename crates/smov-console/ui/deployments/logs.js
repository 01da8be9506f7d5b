// What a container writes, as it writes it: bounded in the DOM, with pause, search and the run before.

import { h, icon, mark, put, reasonOf, t } from '../dom.js';
import { Lines } from './words.js';

/** Lines in the DOM. */
const KEPT = 1000;
const TAIL = 200;

/** The card under the tables. `onClose` hears that the reader has enough. */
export class Logs {
  #stop = null; #paused = false; #waiting = []; #lines = new Lines(KEPT); #pod = null; #frame = 0;

  constructor({ onClose }) {
    this.container = h('select', { class: 'in', on: { change: () => this.#open() } });
    this.search = h('input', { class: 'in', type: 'search', 'data-tp': 'deployments.logs.search', placeholder: t('deployments.logs.search'), ta: 'deployments.logs.search', on: { input: () => this.#filter() } });
    this.previous = h('input', { type: 'checkbox', on: { change: () => this.#open() } });
    this.wrap = h('input', { type: 'checkbox', checked: true, on: { change: () => this.out.classList.toggle('wrap', this.wrap.checked) } });
    this.pause = h('button', { type: 'button', class: 'btn sm', 'aria-pressed': 'false', on: { click: () => this.#pause(!this.#paused) } }, icon('pause'), h('span', { t: 'deployments.logs.pause' }));
    this.close = h('button', { type: 'button', class: 'btn sm ic ghost', ta: 'deployments.logs.close', on: { click: () => { this.end(); onClose(); } } }, icon('x'));
    this.title = h('h2', { id: 'h-logs' });
    this.state = h('span', { class: 'muted s', role: 'status' });
    this.out = h('pre', { class: 'logs wrap', tabindex: '0', role: 'region', 'aria-labelledby': 'h-logs' });
    const toggle = (box, key) => h('label', { class: 'sw s' }, box, h('i'), h('span', { t: key }));
    this.node = h('section', { class: 'card logcard', id: 'logs', 'aria-labelledby': 'h-logs', hidden: true },
      h('header', null, this.title, this.state, h('span', { class: 'r' }, this.close)),
      h('div', { class: 'logbar' }, h('label', { class: 'field' }, h('span', { t: 'deployments.logs.container' }), this.container), h('label', { class: 'field grow' }, h('span', { t: 'deployments.logs.search' }), this.search), this.pause, toggle(this.previous, 'deployments.logs.previous'), toggle(this.wrap, 'deployments.logs.wrap')),
      this.out);
  }

  /** Shows a pod's output: { cluster, namespace, name, containers }. */
  show(pod) {
    const same = this.#pod && ['cluster', 'namespace', 'name'].every(key => this.#pod[key] === pod.name && key === 'name' || this.#pod[key] === pod[key]);
    if (same && !this.node.hidden) return;
    this.#pod = pod;
    this.node.hidden = false;
    put(this.title, t('deployments.logs.title', { pod: pod.name }));
    const names = pod.containers?.length > 0 ? pod.containers : [''];
    this.container.replaceChildren(...names.map(name => h('option', { value: name }, name)));
    this.previous.checked = false;
    this.#open();
  }

  words() { if (this.#pod) put(this.title, t('deployments.logs.title', { pod: this.#pod.name })); }

  end() {
    this.#stop?.abort();
    this.#stop = null;
    this.#pod = null;
    this.node.hidden = true;
  }

  async #open() {
    this.#stop?.abort();
    const stop = new AbortController();
    this.#stop = stop;
    this.#lines.clear();
    this.#waiting = [];
    this.out.replaceChildren();
    this.#pause(false);
    const { cluster, namespace, name } = this.#pod, follow = !this.previous.checked;
    const query = new URLSearchParams({ tail: String(TAIL), ...(this.container.value ? { container: this.container.value } : {}), ...(follow ? { follow: '1' } : { previous: '1' }) });
    put(this.state, t('loading'));
    try {
      const answer = await fetch(`/api/v1/pods/${cluster}/${namespace}/${encodeURIComponent(name)}/logs?${query}`, { signal: stop.signal });
      if (!answer.ok) { const json = await answer.json().catch(() => null); throw new Error([reasonOf(json, answer.status), json?.detail].filter(Boolean).join(' · ')); }
      put(this.state, t(follow ? 'deployments.logs.live' : 'deployments.logs.before'));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        this.#take(value);
      }
      if (!stop.signal.aborted) put(this.state, t(follow ? 'deployments.logs.ended' : 'deployments.logs.before'));
    } catch (error) {
      if (!stop.signal.aborted) put(this.state, t('deployments.logs.failed', { reason: error.message }));
    }
  }

  #take(text) {
    this.#waiting.push(...this.#lines.take(text));
    if (this.#waiting.length > KEPT) this.#waiting.splice(0, this.#waiting.length - KEPT);
    if (this.#paused) { this.#drawPause(); return; }
    // Many lines in one frame are one change of the DOM.
    this.#frame ||= requestAnimationFrame(() => { this.#frame = 0; this.#draw(); });
  }

  #draw() {
    if (this.#paused) return;
    const low = this.out.scrollTop + this.out.clientHeight >= this.out.scrollHeight - 24, wanted = this.search.value.toLowerCase();
    const made = this.#waiting.map(line => { const row = h('span', null, `${line}\n`); row.hidden = wanted !== '' && !line.toLowerCase().includes(wanted); return row; });
    this.#waiting = [];
    this.out.append(...made);
    while (this.out.childElementCount > KEPT) this.out.firstElementChild.remove();
    if (low) this.out.scrollTop = this.out.scrollHeight;
  }

  #filter() {
    const wanted = this.search.value.toLowerCase();
    let hits = 0;
    for (const row of this.out.children) { row.hidden = wanted !== '' && !row.textContent.toLowerCase().includes(wanted); hits += row.hidden ? 0 : 1; }
    if (wanted !== '') put(this.state, t('deployments.logs.hits', { n: hits }));
  }

  #pause(on) {
    this.#paused = on;
    mark(this.pause, 'aria-pressed', String(on));
    this.#drawPause();
    if (!on) this.#draw();
  }

  #drawPause() { put(this.pause.lastElementChild, this.#paused ? t('deployments.logs.resume', { n: this.#waiting.length }) : t('deployments.logs.pause')); }
}
