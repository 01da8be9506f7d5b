// Fault injection: delay, abort or both, on the default or the canary rule.

import { h, help, icon, put, t } from '../dom.js';
import { guarded, segments, textField } from './fields.js';

export function faultCard(form) {
  let rule = 'default';
  const title = h('h3', { id: 'h-fault', tabindex: '-1' }), edited = h('span', { class: 'chip warn' }), active = h('span', { class: 'chip warn' }, icon('warn'), h('span'));
  const input = h('input', { type: 'checkbox', role: 'switch', id: 'fault-on', on: { change: () => setKind(input.checked ? 'delay' : 'none') } }), words = h('span', { class: 'sr' });
  const onOff = h('label', { class: 'sw' }, input, h('i'), words);
  const kinds = segments([['delay', 'traffic.fault.delay'], ['abort', 'traffic.fault.abort'], ['both', 'traffic.fault.both']], 'traffic.fault.kind', setKind);
  const select = h('select', { class: 'in', id: 'fault-rule', on: { change: () => { rule = select.value; draw(); } } }), ruleName = h('span');
  const sets = Object.fromEntries(['default', 'canary'].map(name => [name, {
    time: textField(form, `fault.${name}.delay.time`, { label: 'traffic.fault.time', proposal: '3s' }), dp: textField(form, `fault.${name}.delay.percent`, { label: 'traffic.fault.dpercent', numeric: true }),
    status: textField(form, `fault.${name}.abort.status`, { label: 'traffic.fault.status', numeric: true }), ap: textField(form, `fault.${name}.abort.percent`, { label: 'traffic.fault.apercent', numeric: true }),
  }]));
  const fields = h('div', { class: 'f4' }, ...Object.values(sets).flatMap(set => Object.values(set).map(field => field.node)));
  const notes = h('p', { class: 's muted' });
  const body = h('div', { class: 'stack sm' }, h('div', { class: 'hd' }, kinds.node), fields, notes);
  const guards = { default: guarded(form, ['fault.default'], body), canary: null };
  const ruleField = h('label', { class: 'field half', for: 'fault-rule' }, ruleName, select);
  const node = h('section', { class: 'card rule', id: 'part-fault', 'aria-labelledby': 'h-fault' }, h('div', { class: 'hd' }, icon('bolt'), title, help('fault-injection'), active, edited, onOff), ruleField, guards.default.node);

  const on = (name, kind) => form.get(`fault.${name}.${kind}.on`) === true;
  function setKind(kind) {
    form.setAll({ [`fault.${rule}.delay.on`]: kind === 'delay' || kind === 'both', [`fault.${rule}.abort.on`]: kind === 'abort' || kind === 'both' });
  }
  const told = name => [on(name, 'delay') && t('traffic.fault.sum.delay', { time: form.get(`fault.${name}.delay.time`), percent: form.get(`fault.${name}.delay.percent`) }), on(name, 'abort') && t('traffic.fault.sum.abort', { status: form.get(`fault.${name}.abort.status`), percent: form.get(`fault.${name}.abort.percent`) })].filter(Boolean).join(' · ') || t('traffic.off');

  function draw() {
    put(title, t('traffic.fault'));
    put(ruleName, t('traffic.fault.rule'));
    const lead = form.lead(), place = lead?.at, withCanary = form.get('canary.on') === true && !form.reason('fault.canary');
    if (!withCanary) rule = 'default';
    const choices = [['default', t('traffic.fault.rule.default', { n: (place?.default ?? 0) + 1, told: told('default') })], ...(withCanary ? [['canary', t('traffic.fault.rule.canary', { n: (place?.canary ?? 0) < 0 ? 1 : (place?.canary ?? 0) + 1, told: told('canary') })]] : [])];
    const text = JSON.stringify(choices);
    if (select.dataset.shown !== text) { select.dataset.shown = text; select.replaceChildren(...choices.map(([value, name]) => h('option', { value }, name))); }
    if (select.value !== rule) select.value = rule;
    const usable = guards.default.draw();
    onOff.hidden = !usable;
    ruleField.hidden = !usable;
    const delay = on(rule, 'delay'), abort = on(rule, 'abort'), any = delay || abort;
    if (input.checked !== any) input.checked = any;
    put(words, t('traffic.fault.on'));
    kinds.node.parentElement.hidden = !any;
    kinds.draw(delay && abort ? 'both' : abort ? 'abort' : 'delay');
    for (const [name, set] of Object.entries(sets)) for (const [part, field] of Object.entries(set)) {
      field.node.hidden = name !== rule || !(part === 'time' || part === 'dp' ? delay : abort);
      if (!field.node.hidden) field.draw();
    }
    fields.hidden = !any;
    const live = ['default', 'canary'].some(name => ['delay', 'abort'].some(kind => form.live(`fault.${name}.${kind}.on`) === true));
    active.hidden = !live;
    put(active.lastElementChild, t('traffic.fault.active'));
    edited.hidden = !form.editedSections().has('fault');
    put(edited, t('traffic.edited'));
    put(notes, [t('traffic.fault.note', { service: form.host }), any ? t('traffic.fault.retry') : ''].filter(Boolean).join(' '));
  }
  return { node, title, draw };
}
