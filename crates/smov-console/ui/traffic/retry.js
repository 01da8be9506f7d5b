// Retries and timeout of the default rule, and the mirror: two folds of one card.

import { h, icon, put, t } from '../dom.js';
import { choiceField, guarded, segments, textField, toggle } from './fields.js';

/** A fold: a heading with what is set, and its fields. */
export function fold(id, picture, titleKey, body) {
  const title = h('b', { id: `h-${id}` }), said = h('span', { class: 'v' }), edited = h('span', { class: 'chip warn' });
  const summary = h('summary', { class: 'accb' }, icon(picture), title, edited, said, h('span', { class: 'chev', 'aria-hidden': 'true' }));
  const node = h('details', { class: 'fold', id: `part-${id}`, 'aria-labelledby': `h-${id}` }, summary, h('div', { class: 'foldb' }, body));
  return { node, title: summary, draw(form, sections, text) {
    put(title, t(titleKey));
    put(said, text);
    edited.hidden = !sections.some(section => form.editedSections().has(section));
    put(edited, t('traffic.edited'));
  } };
}

export function retryFold(form) {
  const modes = segments([['istio', 'traffic.retry.istio'], ['off', 'traffic.retry.off'], ['custom', 'traffic.retry.custom']], 'traffic.retry.mode', mode => form.set('retry.mode', mode));
  const attempts = textField(form, 'retry.attempts', { label: 'traffic.retry.attempts', numeric: true }), perTry = textField(form, 'retry.perTry', { label: 'traffic.retry.pertry', emptyNote: 'traffic.retry.pertry.empty' }), conditions = textField(form, 'retry.on', { label: 'traffic.retry.conditions', emptyNote: 'traffic.retry.conditions.empty' });
  const timeout = textField(form, 'timeout.value', { label: 'traffic.timeout', emptyNote: 'traffic.timeout.empty' });
  const fields = h('div', { class: 'f3' }, attempts.node, perTry.node, conditions.node), note = h('p', { class: 's muted' }), trap = h('p', { class: 's warnc' }), fault = h('p', { class: 's muted' }), label = h('span', { class: 'fl' });
  const body = h('div', { class: 'stack sm' }, h('div', { class: 'f2' }, timeout.node, h('div', { class: 'field' }, label, modes.node)), fields, note, trap, fault);
  const guard = guarded(form, ['retry'], body), outer = fold('retry', 'retry', 'traffic.retry', guard.node);
  return { ...outer, draw() {
    const usable = guard.draw(), mode = form.get('retry.mode'), time = form.get('timeout.value'), perTryTime = form.get('retry.perTry'), on = String(form.get('retry.on') ?? '');
    const said = mode === 'off' ? t('traffic.retry.said.off') : mode === 'custom' ? t('traffic.retry.said.custom', { n: form.get('retry.attempts'), per: perTryTime || '–' }) : t('traffic.retry.said.istio');
    outer.draw(form, ['retry'], usable ? `${said} · ${time ? t('traffic.timeout.said', { time }) : t('traffic.timeout.none')}` : t('traffic.no'));
    put(label, t('traffic.retry.mode'));
    modes.draw(mode ?? 'istio');
    fields.hidden = mode !== 'custom';
    for (const field of [attempts, perTry, conditions, timeout]) field.draw();
    put(note, t(mode === 'custom' ? 'traffic.retry.note.custom' : mode === 'off' ? 'traffic.retry.note.off' : 'traffic.retry.note.istio'));
    // A try that ran out of its own time counts as a reset, and the default conditions do not retry that.
    const helpless = mode === 'custom' && perTryTime && !/(^|,)(5xx|gateway-error|reset)(,|$)/.test(on);
    trap.hidden = !helpless;
    put(trap, t('traffic.retry.trap'));
    const faulty = form.get('fault.default.delay.on') === true || form.get('fault.default.abort.on') === true;
    fault.hidden = !faulty;
    put(fault, t('traffic.fault.retry'));
  } };
}

export function mirrorFold(form) {
  const on = toggle(form, 'mirror.on', 'traffic.mirror.on', checked => { if (checked && !form.get('mirror.target')) form.set('mirror.target', form.subsets().at(-1) ?? ''); });
  const target = choiceField(form, 'mirror.target', { label: 'traffic.mirror.target', choices: () => form.subsets().map(subset => [subset, form.subsetName(subset)]) });
  const percent = textField(form, 'mirror.percent', { label: 'traffic.mirror.percent', numeric: true });
  const fields = h('div', { class: 'f2' }, target.node, percent.node), note = h('p', { class: 's muted' }), word = h('span', { 'aria-hidden': 'true' });
  const body = h('div', { class: 'stack sm' }, h('div', { class: 'hd' }, on.node, word), fields, note), guard = guarded(form, ['mirror'], body), outer = fold('mirror', 'mirror', 'traffic.mirror', guard.node);
  return { ...outer, draw() {
    const usable = guard.draw(), active = form.get('mirror.on') === true;
    outer.draw(form, ['mirror'], !usable ? t('traffic.no') : active ? t('traffic.mirror.said', { percent: form.get('mirror.percent'), target: form.get('mirror.target') }) : t('traffic.off'));
    on.draw();
    put(word, t('traffic.mirror.on'));
    fields.hidden = !active;
    target.draw();
    percent.draw();
    put(note, t('traffic.mirror.note'));
  } };
}
