// An editor of YAML: a textarea over its own coloured copy, line numbers with the findings' marks, and a list of problems. Style: parts/yaml.css.

import { either, h, icon, mark, put, t } from '../dom.js';
import { bySeverity, neighbour, newline, offsetOf, painted, placeOf, shifted } from './yaml-text.js';

const SIGN = { error: '✕', warning: '!', info: 'i' };
const ICON = { error: 'x', warning: 'warn', info: 'why' };
let editors = 0;

export class YamlEditor {
  #findings = []; #leaving = false; #shown = '';

  /** `onInput(text)` hears every change by hand. `words`: keys of the view's dictionary: label, hint, problems, none, place. */
  constructor({ words, onInput }) {
    const id = `yaml-${++editors}`;
    this.words = words;
    this.onInput = onInput;
    this.gutter = h('pre', { class: 'yaml-gutter', 'aria-hidden': 'true' });
    this.back = h('pre', { class: 'yaml-back', 'aria-hidden': 'true' });
    this.area = h('textarea', { id, class: 'yaml-area', spellcheck: 'false', wrap: 'off', autocomplete: 'off', autocapitalize: 'off', rows: '24', ta: words.label, 'aria-describedby': `${id}-problems ${id}-hint` });
    this.count = h('span', { role: 'status' });
    this.where = h('span', { class: 'muted mono' });
    this.list = h('ol', { class: 'problems', id: `${id}-problems` });
    this.node = h('div', { class: 'yaml' },
      h('div', { class: 'yaml-box' }, h('div', { class: 'yaml-side' }, this.gutter), h('div', { class: 'yaml-text' }, this.back, this.area)),
      h('div', { class: 'yaml-foot' }, this.count, this.where, h('span', { class: 'muted s hint', id: `${id}-hint`, t: words.hint })),
      this.list);
    this.area.addEventListener('input', () => { this.#draw(); this.onInput(this.area.value); });
    this.area.addEventListener('scroll', () => this.#follow());
    this.area.addEventListener('keydown', event => this.#key(event));
    this.area.addEventListener('blur', () => { this.#leaving = false; });
    for (const event of ['keyup', 'click', 'focus']) this.area.addEventListener(event, () => this.#drawPlace());
  }

  get value() { return this.area.value; }

  /** Puts another text in; the caret stays where it was if the text is nearly the same. */
  set value(text) {
    if (this.area.value === text) { this.#draw(); return; }
    const place = placeOf(this.area.value, this.area.selectionStart);
    this.area.value = text;
    const offset = offsetOf(text, place.line, place.column);
    this.area.setSelectionRange(offset, offset);
    this.#draw();
  }

  set readOnly(on) { this.area.readOnly = on; }

  /** What is wrong; each with severity, line, column, end_column and texts. Those of other objects have `elsewhere`, which names them. */
  set findings(list) {
    this.#findings = [...list].sort((one, other) => Number(Boolean(one.elsewhere)) - Number(Boolean(other.elsewhere)) || one.line - other.line || one.column - other.column || bySeverity(one.severity, other.severity));
    const errors = this.#findings.some(finding => finding.severity === 'error' && !finding.elsewhere);
    mark(this.area, 'aria-invalid', String(errors));
    this.#draw();
    this.drawProblems();
  }

  get findings() { return this.#findings; }

  /** Moves the caret to a place and there the sight. */
  goTo(line, column = 1) {
    const offset = offsetOf(this.area.value, line, column);
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(offset, offset);
    const height = parseFloat(getComputedStyle(this.area).lineHeight) || 20;
    this.area.scrollTop = Math.max(0, (line - 1) * height - this.area.clientHeight / 3);
    this.area.scrollLeft = 0;
    this.#follow();
    this.#drawPlace();
  }

  /** The language is another one. */
  spoken() { this.drawProblems(); this.#drawPlace(); }

  drawProblems() {
    const { words } = this, n = this.#findings.length;
    put(this.count, n === 0 ? t(words.none) : t(words.problems, { n }));
    this.count.className = n === 0 ? 'chip ok' : this.#findings.some(finding => finding.severity === 'error') ? 'chip err' : 'chip warn';
    this.list.replaceChildren(...this.#findings.map(finding => {
      const text = either(finding.text_ko, finding.text_en), place = finding.line > 0 ? `${finding.line}:${finding.column}` : '';
      const told = [h('span', { class: 'what' }, icon(ICON[finding.severity]), h('span', { class: 'sr' }, t(`${words.severity}.${finding.severity}`)), place && !finding.elsewhere ? h('span', { class: 'mono' }, place) : null), h('span', null, finding.elsewhere ? h('b', null, `${finding.elsewhere} `) : null, text, ' ', h('code', { class: 'muted' }, finding.code))];
      const go = finding.elsewhere ? finding.open : finding.line > 0 ? () => this.goTo(finding.line, finding.column) : null;
      return h('li', { class: finding.severity, data: { line: String(finding.line), column: String(finding.column) } }, go ? h('button', { type: 'button', on: { click: go } }, ...told) : h('p', null, ...told));
    }));
  }

  #key(event) {
    if (event.key === 'F8') {
      event.preventDefault();
      const next = neighbour(this.#findings.filter(finding => !finding.elsewhere), placeOf(this.area.value, this.area.selectionStart), event.shiftKey ? -1 : 1);
      if (next) this.goTo(next.line, next.column);
      return;
    }
    if (event.key === 'Escape') { this.#leaving = true; return; }
    const leaving = this.#leaving;
    this.#leaving = false;
    if (this.area.readOnly || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { selectionStart: start, selectionEnd: end, value } = this.area;
    if (event.key === 'Tab' && !leaving) {
      event.preventDefault();
      const moved = shifted(value, start, end, event.shiftKey);
      this.#replace(moved.text, moved.start, moved.end);
    } else if (event.key === 'Enter' && start === end) {
      event.preventDefault();
      this.#insert(newline(value, start));
    }
  }

  /** As typed, so that the browser's own undo knows it. */
  #insert(text) {
    if (document.execCommand?.('insertText', false, text)) return;
    const { selectionStart: start, selectionEnd: end, value } = this.area;
    this.#replace(value.slice(0, start) + text + value.slice(end), start + text.length, start + text.length);
  }

  #replace(text, start, end) {
    const { value } = this.area;
    let head = 0, tail = 0;
    while (head < value.length && head < text.length && value[head] === text[head]) head += 1;
    while (tail < value.length - head && tail < text.length - head && value[value.length - 1 - tail] === text[text.length - 1 - tail]) tail += 1;
    this.area.setSelectionRange(head, value.length - tail);
    const inserted = text.slice(head, text.length - tail);
    const done = inserted === '' ? document.execCommand?.('delete') : document.execCommand?.('insertText', false, inserted);
    if (this.area.value !== text || !done) { this.area.value = text; this.#draw(); this.onInput(text); }
    this.area.setSelectionRange(start, end);
  }

  #draw() {
    const { value } = this.area;
    const own = this.#findings.filter(finding => !finding.elsewhere && finding.line > 0), shown = `${value}\0${own.map(finding => `${finding.line}:${finding.column}:${finding.end_column}:${finding.severity}`).join()}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    const lines = value.split('\n'), back = [], numbers = [];
    lines.forEach((line, i) => {
      const marks = own.filter(finding => finding.line === i + 1);
      for (const [name, text, severity] of painted(line, marks)) back.push(name || severity ? h('span', { class: [name && `y-${name}`, severity && `y-${severity}`].filter(Boolean).join(' ') }, text) : text);
      back.push('\n');
      const worst = marks.map(finding => finding.severity).sort(bySeverity)[0];
      numbers.push(h('span', { class: worst ? `n ${worst}` : 'n' }, worst ? `${SIGN[worst]} ${i + 1}` : String(i + 1)), '\n');
    });
    this.back.replaceChildren(...back);
    this.gutter.replaceChildren(...numbers);
    this.#follow();
    this.#drawPlace();
  }

  #follow() {
    const { scrollTop, scrollLeft } = this.area;
    this.back.style.transform = `translate(${-scrollLeft}px,${-scrollTop}px)`;
    this.gutter.style.transform = `translateY(${-scrollTop}px)`;
  }

  #drawPlace() {
    const { line, column } = placeOf(this.area.value, this.area.selectionStart);
    put(this.where, t(this.words.place, { line, column }));
  }
}
