// What stands below the editor: what a resource steers, how its copies differ, what has changed since the baseline, and its history.

import { either, glyph, h, icon, t } from '../dom.js';
import { diffView } from '../parts/diff.js';
import { diffLines } from '../parts/lines.js';
import { DIFF_WORDS } from './dialogs.js';

const section = (key, ...content) => h('section', { class: 'card config-panel', 'aria-label': t(key) }, h('header', null, h('h2', null, t(key))), h('div', { class: 'inner' }, ...content));
const line = text => h('p', { class: 'muted' }, text);

export function affects(copy) {
  const list = copy?.affects ?? [];
  if (list.length === 0) return section('config.affects', line(t('config.affects.none')));
  return section('config.affects', h('ul', { class: 'affects' }, ...list.map(one => h('li', null, h('span', { class: 'chip' }, one.kind), h('b', { class: 'mono' }, one.name), h('span', null, either(one.text_ko, one.text_en))))));
}

export function twins(row, cluster, clusters) {
  const own = row?.copies[cluster], others = clusters.filter(name => name !== cluster);
  if (!own || others.length === 0) return null;
  const content = others.flatMap(other => {
    const theirs = row.copies[other];
    if (!theirs) return [line(own.twin === 'unknown' ? t('config.twins.unknown') : t('config.twins.absent', { cluster: other }))];
    if (theirs.yaml === own.yaml) return [line(t('config.twins.same'))];
    const label = t('config.twins.diff', { cluster, other });
    return [h('h3', null, label), diffView(diffLines(own.yaml, theirs.yaml), { label, words: DIFF_WORDS() })];
  });
  return section('config.twins', ...content);
}

export function drift(copy, use) {
  if (!copy) return null;
  if (copy.baseline !== 'changed') return section('config.drift', line(t(`config.drift.${copy.baseline}`)));
  const lines = diffLines(copy.baseline_yaml, copy.yaml);
  return section('config.drift', diffView(lines, { label: t('config.drift'), words: DIFF_WORDS() }), h('button', { type: 'button', class: 'btn sm', on: { click: () => use(copy.baseline_yaml) } }, icon('reset'), t('config.drift.use')));
}

export const originOf = origin => (origin.startsWith('scenario:') ? t('config.origin.scenario', { name: origin.slice('scenario:'.length) }) : t(`config.origin.${['page', 'kubectl', 'smov', 'reset'].includes(origin) ? origin : 'unknown'}`));

/** `state`: { changes, stores } , { error } or null while it is read. */
export function history(state, { view, back }) {
  if (!state) return section('config.history', line(t('loading')));
  if (state.error) return section('config.history', h('p', { class: 'config-note err' }, icon('x'), h('span', null, t('config.history.failed', { reason: state.error }))));
  const time = at => new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'short', timeStyle: 'medium' }).format(new Date(at / 1000));
  const told = state.stores.filter(store => store.reason_ko).map(store => h('p', { class: 'muted s' }, t('config.history.memory', { cluster: store.name, reason: either(store.reason_ko, store.reason_en) })));
  if (state.changes.length === 0) return section('config.history', ...told, line(t('config.history.empty')));
  const row = change => {
    const when = time(change.at), who = [originOf(change.origin), change.by].filter((text, i, all) => text && all.indexOf(text) === i).join(' · ');
    const marks = [change.undoes ? h('span', { class: 'chip acc' }, icon('undo'), t('config.history.undo')) : null, change.undone ? h('span', { class: 'chip' }, t('config.history.undone')) : null];
    return h('li', { data: { change: change.id } },
      h('div', { class: 'when' }, h('time', null, when), h('span', { class: 'muted' }, who), ...marks, change.note ? h('q', null, change.note) : null),
      h('ul', null, ...change.items.map(item => h('li', null, glyph(item.cluster), h('span', { class: 'mono' }, `${item.cluster} `), h('span', null, either(item.summary_ko, item.summary_en)), h('span', { class: 'muted mono' }, ` @${item.after_version ?? '–'}`)))),
      h('div', { class: 'acts' },
        h('button', { type: 'button', class: 'btn sm', 'aria-label': `${t('config.history.view')}: ${when}`, on: { click: () => view(change, when) } }, t('config.history.view')),
        h('button', { type: 'button', class: 'btn sm', 'aria-label': `${t('config.history.back')}: ${when}`, on: { click: () => back(change) } }, icon('undo'), t('config.history.back'))));
  };
  return section('config.history', ...told, h('ol', { class: 'history' }, ...state.changes.map(row)));
}
