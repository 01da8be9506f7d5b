// Dialogs of the configuration view: what to do about a conflict, what a deletion breaks, one version of the history.

import { either, h, icon, t } from '../dom.js';
import { diffView } from '../parts/diff.js';
import { diffLines } from '../parts/lines.js';

export const DIFF_WORDS = () => ({ same: t('config.diff.same'), count: 'config.diff.count', gap: 'config.diff.gap' });

/** Shows a dialog with buttons; resolves with the chosen value, or null when it was closed. Focus begins at the first button and goes back to where it was. */
function choose({ title, body, buttons }) {
  return new Promise(done => {
    const opener = document.activeElement;
    let chosen = null;
    const row = buttons.map(({ value, label, kind = '' }) => h('button', { type: 'button', class: `btn ${kind}`.trim(), on: { click: () => { chosen = value; dialog.close(); } } }, label));
    const dialog = h('dialog', { class: 'config-dialog', 'aria-labelledby': 'config-dialog-title' }, h('h2', { id: 'config-dialog-title' }, title), h('div', { class: 'config-dialog-body' }, ...body), h('div', { class: 'config-dialog-end' }, ...row));
    dialog.addEventListener('close', () => { dialog.remove(); if (opener?.isConnected) opener.focus(); done(chosen); });
    document.body.append(dialog);
    dialog.showModal();
    row[0].focus();
  });
}

/**
 * `copies`: per cluster what the draft began with, what is stored now (null = gone) and the draft. Gives `keep` (the draft, on the present version),
 * `take` (what is stored), or null (later; the draft stays).
 */
export function askConflict(copies) {
  const body = [h('p', null, t('config.conflict.lead'))];
  for (const { cluster, base, live, draft } of copies) {
    if (live === null) { body.push(h('p', { class: 'config-note warn' }, icon('warn'), h('span', null, t('config.conflict.gone', { cluster })))); continue; }
    const shown = (label, lines) => [h('h3', null, label), diffView(lines, { label, words: DIFF_WORDS() })];
    if (base !== null) body.push(...shown(t('config.conflict.theirs', { cluster }), diffLines(base, live)));
    body.push(...shown(t('config.conflict.mine', { cluster }), diffLines(live, draft)));
  }
  return choose({ title: t('config.conflict.title'), body, buttons: [{ value: null, label: t('config.conflict.later') }, { value: 'keep', label: t('config.conflict.keep'), kind: 'pri' }, { value: 'take', label: t('config.conflict.take'), kind: 'danger' }] });
}

/** What a deletion would break, as the check says; gives `{ both }` or null. */
export async function askDelete({ ref, cluster, results, others }) {
  const broken = results.flatMap(result => result.findings);
  const both = h('input', { type: 'checkbox' });
  const body = [h('p', null, t('config.delete.lead', { cluster }))], effect = `config.delete.kind.${ref.split('/')[0]}`;
  if (t(effect) !== effect) body.push(h('p', null, t(effect)));
  if (broken.length === 0) body.push(h('p', { class: 'config-note ok' }, icon('check'), h('span', null, t('config.delete.none'))));
  else body.push(h('h3', null, t('config.delete.effect')), h('ul', { class: 'effects' }, ...broken.map(finding => h('li', null, h('b', null, finding.ref), ` ${finding.line}:${finding.column} `, either(finding.text_ko, finding.text_en)))));
  if (others.length > 0) body.push(h('label', { class: 'sw' }, both, h('i'), h('span', null, t('config.delete.both'))));
  const chosen = await choose({ title: t('config.delete.title', { ref }), body, buttons: [{ value: null, label: t('cancel') }, { value: 'go', label: t('config.delete.go'), kind: 'danger' }] });
  return chosen === 'go' ? { both: both.checked } : null;
}

/** One change of the history, before and after; gives the text to put into the editor, or null. */
export function showVersion({ title, items, cluster }) {
  const body = items.flatMap(item => {
    const label = `${item.cluster} · ${either(item.summary_ko, item.summary_en)} · ${t('config.history.before')}`;
    return [h('h3', null, label), diffView(diffLines(item.before ?? '', item.after ?? ''), { label, words: DIFF_WORDS() }), item.after ? h('details', null, h('summary', null, 'YAML'), h('pre', { class: 'yaml-plain', tabindex: '0' }, item.after)) : null];
  });
  const own = items.find(item => item.cluster === cluster)?.after ?? items.find(item => item.after)?.after;
  return choose({ title, body: body.filter(Boolean), buttons: [{ value: null, label: t('close') }, ...(own ? [{ value: own, label: t('config.history.use') }] : [])] });
}

/** Asks whether a later change may go with an older one. */
export const askForce = () => choose({ title: t('config.conflict.title'), body: [h('p', null, t('config.roll.later'))], buttons: [{ value: null, label: t('cancel') }, { value: 'force', label: t('config.roll.force'), kind: 'danger' }] });
