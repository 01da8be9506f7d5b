// Controls that show one value of the form each, tell what is wrong with it, and say where the other cluster's copy differs.

import { h, mark, put, t, tone } from '../dom.js';
import { typed } from './validate.js';

let counter = 0;

/** A labelled text field. `options`: label (key of the words), istio (Istio's default when it is empty), emptyNote (a key that says more than the default). */
export function textField(form, key, { label, istio = null, emptyNote = null, proposal = '', numeric = false } = {}) {
  const id = `tf-${++counter}`;
  const input = h('input', { class: 'in mono', id, type: 'text', inputmode: numeric ? 'decimal' : null, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': `${id}-note`, data: { key }, on: { input: () => form.set(key, typed(key, input.value)) } });
  const name = h('span'), note = h('small', { id: `${id}-note`, class: 'fnote' });
  const node = h('label', { class: 'field', for: id }, name, input, note);
  return { node, input, draw() {
    put(name, t(label));
    const value = form.get(key);
    const text = value === null || value === undefined ? '' : String(value);
    if (document.activeElement !== input || typed(key, input.value) !== value) if (input.value !== text) input.value = text;
    const otherwise = istio === 'unlimited' || istio === 'off' ? t(`traffic.istio.${istio}`) : istio;
    mark(input, 'placeholder', otherwise ?? proposal);
    const problem = form.problems().get(key), differs = form.differs(key);
    mark(input, 'aria-invalid', String(Boolean(problem)));
    tone(node, `field${form.edited(key) ? ' edited' : ''}${problem ? ' wrong' : ''}`);
    put(note, problem ? t(`traffic.bad.${problem}`) : differs !== null ? t('traffic.differs', differs) : text === '' && emptyNote ? t(emptyNote) : text === '' && istio !== null ? t('traffic.istio', { value: otherwise }) : '');
  } };
}

/** A labelled choice. `choices()` gives [value, text]. */
export function choiceField(form, key, { label, choices }) {
  const id = `tf-${++counter}`;
  const select = h('select', { class: 'in', id, 'aria-describedby': `${id}-note`, data: { key }, on: { change: () => form.set(key, select.value) } });
  const name = h('span'), note = h('small', { id: `${id}-note`, class: 'fnote' });
  const node = h('label', { class: 'field', for: id }, name, select, note);
  let shown = '';
  return { node, input: select, draw() {
    put(name, t(label));
    const value = String(form.get(key) ?? ''), all = choices();
    if (!all.some(([choice]) => choice === value)) all.push([value, value || '–']);
    const text = JSON.stringify(all);
    if (text !== shown) { shown = text; select.replaceChildren(...all.map(([choice, words]) => h('option', { value: choice }, words))); }
    if (select.value !== value) select.value = value;
    const differs = form.differs(key);
    tone(node, `field${form.edited(key) ? ' edited' : ''}`);
    put(note, differs !== null ? t('traffic.differs', differs) : '');
  } };
}

/** A switch for a value that is true or false. */
export function toggle(form, key, label, onChange = null) {
  const input = h('input', { type: 'checkbox', role: 'switch', data: { key }, on: { change: () => { form.set(key, input.checked); onChange?.(input.checked); } } });
  const words = h('span', { class: 'sr' });
  return { node: h('label', { class: 'sw' }, input, h('i'), words), input, draw() {
    put(words, t(label));
    const on = form.get(key) === true;
    if (input.checked !== on) input.checked = on;
  } };
}

/** Buttons of which one is pressed. `choices` are [value, key of its words]. */
export function segments(choices, label, onPick) {
  const buttons = choices.map(([value, words]) => h('button', { type: 'button', data: { value, t: words }, on: { click: () => onPick(value) } }));
  const node = h('span', { class: 'seg', role: 'group' }, ...buttons);
  return { node, buttons, draw(value) {
    mark(node, 'aria-label', t(label));
    for (const button of buttons) { put(button, t(button.dataset.t)); mark(button, 'aria-pressed', String(button.dataset.value === value)); }
  } };
}

/** Shows a part's form, or why it has none together with the live YAML: what the form cannot say it never writes. */
export function guarded(form, sections, body) {
  const why = h('p', { class: 'cannot' }), link = h('a', { data: { view: 'config' } }), yaml = h('pre', { class: 'yamlro', tabindex: '0', role: 'region' });
  const details = h('details', null, h('summary'), yaml);
  const instead = h('div', { class: 'instead', hidden: true }, why, details, h('p', { class: 's' }, link));
  return { node: h('div', { class: 'guarded' }, body, instead), draw() {
    const reason = sections.map(section => form.reason(section)).find(Boolean) ?? null;
    body.hidden = Boolean(reason);
    instead.hidden = !reason;
    if (!reason) return true;
    put(why, t(`traffic.no.${reason.code}`, reason.data));
    const item = form.resource(sections[0]);
    details.hidden = !item;
    link.parentElement.hidden = !item;
    if (!item) return false;
    put(details.firstChild, t('traffic.yaml.live', { ref: `${item.kind}/${item.name}` }));
    mark(yaml, 'aria-label', t('traffic.yaml.live', { ref: `${item.kind}/${item.name}` }));
    put(yaml, item.yaml ?? '');
    put(link, t('traffic.yaml.edit'));
    mark(link, 'href', `/config?cluster=${item.cluster}&ref=${encodeURIComponent(`${item.kind}/${item.namespace}/${item.name}`)}`);
    return false;
  } };
}
