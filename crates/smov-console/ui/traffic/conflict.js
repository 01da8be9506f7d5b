// Someone else changed a rule meanwhile: both versions side by side, and what to do with the draft. The draft is never lost here.

import { h, put, t } from '../dom.js';

/** Asks what to do: resolves to `rebase`, `discard` or `keep`. `conflicts` are { cluster, ref, mine, theirs }. */
export function askConflict(conflicts) {
  const dialog = h('dialog', { id: 'traffic-conflict', class: 'wide', 'aria-labelledby': 'h-conflict' });
  const heading = h('h2', { id: 'h-conflict' }), lead = h('p');
  put(heading, t('traffic.conflict'));
  put(lead, t('traffic.conflict.lead'));
  const choice = name => h('button', { type: 'button', class: name === 'rebase' ? 'btn pri' : 'btn', data: { choice: name }, on: { click: () => dialog.close(name) } }, t(`traffic.conflict.${name}`));
  // Copies that say the same in both clusters are shown once.
  const groups = new Map();
  for (const conflict of conflicts) { const key = JSON.stringify([conflict.ref, conflict.mine, conflict.theirs]); groups.set(key, [...(groups.get(key) ?? []), conflict]); }
  const shown = [...groups.values()].map(group => ({ ...group[0], clusters: group.map(conflict => conflict.cluster).join(' · ') }));
  dialog.append(heading, lead, ...shown.map(({ clusters, ref, mine, theirs }) => h('section', { class: 'versions' }, h('h3', null, `${clusters} · ${ref.split('/')[0]} / ${ref.split('/').at(-1)}`),
    h('div', { class: 'two' }, version(t('traffic.conflict.mine'), mine, theirs, 'add'), version(t('traffic.conflict.theirs'), theirs, mine, 'del')))),
  h('div', { class: 'act' }, choice('rebase'), choice('keep'), choice('discard')));
  document.body.append(dialog);
  const opener = document.activeElement;
  return new Promise(done => {
    dialog.addEventListener('close', () => { dialog.remove(); opener?.focus?.(); done(['rebase', 'discard'].includes(dialog.returnValue) ? dialog.returnValue : 'keep'); }, { once: true });
    dialog.showModal();
    // What differs is in sight, however long the rule is.
    for (const region of dialog.querySelectorAll('.diff')) { const first = region.querySelector('.add,.del'); if (first) region.scrollTop = first.offsetTop - region.clientHeight / 3; }
    dialog.querySelector('[data-choice=rebase]').focus();
  });
}

/** One version; lines that the other one does not have are marked. */
function version(name, text, other, kind) {
  const theirs = new Set(String(other ?? '').split('\n'));
  const lines = String(text ?? '').split('\n').map((line, i) => { const own = !theirs.has(line); return h('div', { class: own ? kind : '' }, h('span', null, String(i + 1)), h('span', null, own ? '•' : ''), h('span', null, line)); });
  return h('div', null, h('h4', null, name), h('div', { class: 'diff', tabindex: '0', role: 'region', 'aria-label': name }, ...lines));
}
