// At the right: where the time went, what the answer said, and the raw records.

import { duration } from '../core.js';
import { flagSentence, glyph, h, help, t } from '../dom.js';
import { computedMark } from './detail.js';
import { clusterParts, isComputed, workloadOf } from './story.js';
import { layout, spans } from './waterfall.js';

/** Times under the bars: microseconds to milliseconds with as many digits as say something. */
const at = micros => (micros === 0 ? '0' : duration(micros / 1000));

/** The waterfall. `fold` shrinks injected delays; `toggle` is asked to change that. */
export function waterfallCard(records, fold, toggle) {
  const all = spans(records), delayed = all.spans.some(span => span.kind === 'delay'), placed = layout(all, fold && delayed);
  const axis = h('div', { class: 'wf-ax', 'aria-hidden': 'true' }, ...placed.ticks.map(({ time, left }) => { const mark = h('span', { class: left < 5 ? 'first' : left > 95 ? 'last' : '' }, at(time)); mark.style.left = `${left}%`; return mark; }));
  const rows = placed.bars.map(bar => {
    const width = duration((bar.to - bar.from) / 1000);
    const name = t(`inspect.wf.${bar.kind === 'proxy' ? bar.direction : bar.kind}`, { name: bar.workload.replace(/-ctx\d$/, ''), n: bar.n, status: bar.status });
    const fill = h('span', { class: `br ${bar.kind} ${bar.cluster ?? ''} ${bar.kind === 'attempt' && (bar.status === 0 || bar.status >= 500) ? 'bad' : ''}`.trim() }), label = h('span', { class: 'ms' }, width);
    fill.style.left = `${bar.left}%`;
    fill.style.width = `${bar.width}%`;
    if (bar.left + bar.width < 72) label.style.left = `${bar.left + bar.width}%`; else if (bar.left > 22) label.style.right = `${100 - bar.left}%`; else { label.classList.add('over'); label.style.left = `${bar.left}%`; }
    return h('li', { class: 'sp', data: { kind: bar.kind } }, h('span', { class: 'nm', title: bar.pod }, bar.cluster ? glyph(bar.cluster) : null, h('span', null, name)), h('span', { class: 'tk', 'aria-hidden': 'true' }, fill, label), h('span', { class: 'sr' }, t('inspect.wf.row', { from: at(bar.from), length: width })));
  });
  const button = (value, key) => h('button', { type: 'button', 'aria-pressed': String(fold === value), on: { click: () => toggle(value) } }, t(key));
  const card = h('section', { class: 'card', 'aria-labelledby': 'h-wf' },
    h('header', null, h('h2', { id: 'h-wf' }, t('inspect.wf')), h('span', { class: 'muted s' }, t('inspect.wf.total', { time: duration(all.total / 1000) })), delayed ? h('span', { class: 'r' }, h('span', { class: 'seg', role: 'group', 'aria-label': t('inspect.wf.scale') }, button(false, 'inspect.wf.real'), button(true, 'inspect.wf.fold'))) : null));
  const body = h('div', { class: 'wf' }, axis, h('ol', null, ...rows));
  const notes = [delayed && 'inspect.wf.delay.note', 'inspect.wf.clock', 'inspect.wf.store', all.skewed && 'inspect.wf.skewed', records.some(isComputed) && 'inspect.wf.computed'].filter(Boolean);
  body.append(h('ul', { class: 'notes' }, ...notes.map(key => h('li', null, t(key)))));
  card.append(body);
  return card;
}

/** What the answer said, and which headers mattered. */
export function answerCard(found, call, held, hold) {
  const { observed } = found, out = call?.out ?? null;
  const flags = out?.flags ?? observed?.flags ?? null;
  const rows = [
    ['x-service-cluster', observed ? observed.cluster ?? t('inspect.notreached') : null], ['x-pod-name', observed?.pod], ['x-service-version', observed?.version], ['x-request-id', found.id],
    [t('inspect.flags'), flags === null ? t('unknown') : flags === '-' ? '–' : flags], ...(out ? (out.headers ?? []).map(([name, value]) => [name, value ?? t('inspect.header.absent')]) : []),
    [t('inspect.rule'), out?.rule?.origin.resource.name ? `${out.rule.origin.resource.name} @${out.rule.origin.resource.resource_version ?? '?'}` : observed?.rule],
    [t('inspect.snapshot'), out ? `${out.snapshot.number}` : null], [t('inspect.proxy'), out?.proxy],
  ].filter(([, value]) => value !== null && value !== undefined);
  return h('section', { class: 'card', 'aria-labelledby': 'h-answer' }, h('header', null, h('h2', { id: 'h-answer' }, t('inspect.answer')), help('flags'), call?.out ? h('span', { class: 'r' }, h('button', { type: 'button', class: 'btn sm', id: 'inspect-hold', 'aria-pressed': String(held), on: { click: hold } }, t(held ? 'inspect.compare.held' : 'inspect.compare.hold'))) : null),
    h('dl', { class: 'kv' }, ...rows.flatMap(([name, value]) => [h('dt', null, name), h('dd', null, String(value))])),
    h('p', { class: 'pad s muted' }, flags === null ? t('inspect.flags.unknown') : flagSentence(flags)));
}

/** A value as a tree that opens on demand: nothing of a large record is built before somebody looks. */
function tree(name, value) {
  if (value === null || typeof value !== 'object') return h('li', null, h('span', { class: 'k' }, `${name}: `), h('span', { class: `v ${value === null ? 'null' : typeof value}` }, JSON.stringify(value)));
  const entries = Object.entries(value), list = Array.isArray(value);
  if (entries.length === 0) return h('li', null, h('span', { class: 'k' }, `${name}: `), list ? '[]' : '{}');
  const details = h('details', null, h('summary', null, h('span', { class: 'k' }, String(name)), h('span', { class: 'muted' }, list ? ` [${entries.length}]` : ` {${entries.length}}`)));
  details.addEventListener('toggle', () => { if (details.open && !details.querySelector('ul')) details.append(h('ul', null, ...entries.map(([key, inner]) => tree(key, inner)))); });
  return h('li', null, details);
}

export function rawCard(records) {
  return h('section', { class: 'card raw', 'aria-labelledby': 'h-raw' }, h('header', null, h('h2', { id: 'h-raw' }, t('inspect.raw')), records.some(isComputed) ? computedMark() : null),
    h('ul', null, ...records.map(record => tree(`${workloadOf(record.proxy)} · ${t(`inspect.side.${record.direction}`)}${record.cluster ? ` → ${clusterParts(record.cluster).service}` : ''}`, record))));
}
