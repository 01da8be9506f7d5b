// One request on the screen: the banner with the sentence, and the steps of one of its calls.

import { duration } from '../core.js';
import { flagSentence, glyph, h, icon, t } from '../dom.js';
import { ruler } from '../parts/ruler.js';
import { headline } from './headline.js';
import { draw } from './icons.js';
import { isOutdated, steps } from './steps.js';
import { clusterParts, isComputed, workloadOf } from './story.js';
import { emphasised, plain, rulerLabel, rulerSentence, textOf } from './words.js';

/** 계산: worked out from the configuration, not written down by a proxy. */
export const computedMark = () => h('span', { class: 'calc', title: t('inspect.computed.title') }, t('inspect.computed'));

/** The dark banner. */
export function banner(found, chosen) {
  const { observed } = found, out = chosen?.out ?? null;
  const facts = [['inspect.result', String(out && !observed ? out.status : observed?.status ?? '–')], ['inspect.total', observed ? duration(observed.ms) : out ? duration(out.duration / 1000) : '–'], ['inspect.attempts', String(out ? out.attempts.length : observed?.attempts ?? '–')]];
  const said = out ? headline(chosen, duration) : null;
  const cluster = said?.where ?? null;
  const question = said ? t(said.question.key, said.question.values) : observed ? t(observed.cluster ? 'inspect.head.why' : 'inspect.head.why.not', { where: observed.cluster }) : t('inspect.head.unknown');
  const answer = said ? said.parts.map(part => t(part.key, { ...part.values })).join(' ') : t('inspect.norecords');
  const request = observed ?? (out && { m: out.method, path: out.path });
  return h('section', { class: 'why', 'aria-labelledby': 'h-why', data: { cluster: cluster ?? 'none' } },
    h('div', null, h('p', { class: 'q0', id: 'h-why' }, question, request ? h('code', null, `${request.m ?? request.method} ${request.path}`) : null, h('code', null, `x-request-id ${found.id}`)),
      h('p', { class: 'a', title: plain(answer) }, ...emphasised(answer), said?.computed ? computedMark() : null)),
    h('dl', null, ...facts.map(([key, value]) => h('div', null, h('dt', null, t(key)), h('dd', null, value)))));
}

/** What a call is called: `api-gateway → movie-service`. */
export function callName({ out, inbound }) {
  if (!out) return t('inspect.call.inbound', { to: workloadOf(inbound[0].proxy) });
  return `${workloadOf(out.proxy)} → ${clusterParts(out.cluster).service || out.authority}`;
}

const TONES = { applied: '', skipped: 'skip0', none: 'skip0', failed: 'err', unknown: 'skip0' };

function outcomeNode(step) {
  const { outcome } = step;
  // What the state says already is not said twice.
  if (outcome.key === 'inspect.line.notset' && step.state === 'none') return null;
  const cluster = outcome.cluster === 'ctx1' || outcome.cluster === 'ctx2' ? outcome.cluster : null;
  return h('span', { class: 'o' }, cluster ? glyph(cluster) : null, textOf(outcome), outcome.computed ? computedMark() : null);
}

function endpointList(list) {
  return h('ul', { class: 'eps' }, ...list.map(one => {
    const ejected = one.ejected || one.ejectedNow === true;
    const state = one.picked ? 'picked' : one.tried ? 'tried' : ejected ? (one.ejected ? 'ejected' : 'ejectednow') : one.ejectedNow === false ? 'healthy' : 'unknown';
    return h('li', { class: `ep ${one.picked ? 'pick' : ejected ? 'ej' : ''}`.trim(), title: one.pod ?? '' }, one.picked ? icon('check') : ejected ? icon('eject') : null, one.cluster ? glyph(one.cluster) : null,
      h('code', null, one.address), h('span', { class: 'sub' }, t(`inspect.ep.${state}`)), one.computed ? computedMark() : null);
  }));
}

function attemptTable(attempts) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('inspect.tries') }, h('table', { class: 'tries' },
    h('thead', null, h('tr', null, ...['n', 'where', 'status', 'flags', 'time'].map(name => h('th', null, t(`inspect.try.${name}`))))),
    h('tbody', null, ...attempts.map(one => h('tr', null, h('td', null, String(one.n)), h('td', { title: one.pod ?? '' }, one.cluster ? glyph(one.cluster) : null, h('code', null, one.endpoint ?? '–')), h('td', { class: one.status === 0 || one.status >= 500 ? 'errc' : '' }, one.status === 0 ? '–' : String(one.status)), h('td', { title: one.reason ?? '' }, one.flags === '-' ? '–' : one.flags), h('td', null, duration(one.ms)))))));
}

function stepNode(step, index) {
  const key = step.name === 'split' && step.state === 'applied', tone = key ? 'key' : step.tone || TONES[step.state];
  const body = h('div', { class: 'sb' }, h('h3', null, h('span', null, t(`inspect.step.${step.name}`)), h('span', { class: 'state', data: { state: step.state } }, t(`inspect.state.${step.state}`)), outcomeNode(step)));
  if (step.computed) body.querySelector('h3').append(computedMark());
  for (const line of step.lines) body.append(h('p', { class: 'd' }, textOf(line), line.computed ? computedMark() : null));
  const rulers = [step.ruler, ...(step.rulers ?? [])].filter(Boolean);
  for (const one of rulers) body.append(ruler(one, rulerSentence(one), rulerLabel));
  if (step.link) body.append(h('p', { class: 'd' }, h('a', { class: 'yl', href: `/config?ref=${encodeURIComponent(step.link.ref)}&path=${encodeURIComponent(step.link.path)}`, data: { view: 'config', ref: step.link.ref, path: step.link.path } }, step.link.label)));
  if (step.headers?.length > 0) body.append(h('dl', { class: 'hd' }, ...step.headers.flatMap(({ name, value }) => [h('dt', null, name), h('dd', null, value === null ? h('span', { class: 'muted' }, t('inspect.header.absent')) : value)])));
  if (step.endpoints?.length > 0) body.append(endpointList(step.endpoints));
  if (step.attempts?.length > 1) body.append(attemptTable(step.attempts));
  if (step.identities) body.append(h('dl', { class: 'idp' }, ...['from', 'to'].filter(side => step.identities[side]).flatMap(side => [h('dt', null, t(`inspect.id.${side}`)), h('dd', { title: step.identities[side] }, step.identities[side].replace(/^spiffe:\/\/[^/]+\//, '…/'))])));
  if (step.flags && step.flags !== '-') body.append(h('p', { class: 'd' }, flagSentence(step.flags)));
  return h('li', { class: `step ${tone}`.trim(), data: { step: step.name, state: step.state, place: String(index) } }, h('span', { class: 'n' }, draw(step.name)), body);
}

/** The card with the steps. `now` is the explanation, or null; `trouble` says why there is none. */
export function stepsCard(list, chosen, now, trouble, choose) {
  const call = list[chosen], out = call?.out;
  const head = h('header', null, h('h2', { id: 'h-steps' }, t('inspect.steps')), h('span', { class: 'muted s' }, out ? t(isComputed(out) ? 'inspect.steps.computed' : 'inspect.steps.by', { proxy: workloadOf(out.proxy) }) : ''));
  const card = h('section', { class: 'card', 'aria-labelledby': 'h-steps' }, head);
  if (list.length > 1) card.append(h('label', { class: 'calls' }, h('span', null, t('inspect.call')), h('select', { class: 'in', id: 'inspect-call', on: { change: event => choose(Number(event.target.value)) } }, ...list.map((one, index) => { const option = h('option', { value: String(index) }, `${index + 1}. ${callName(one)}`); option.selected = index === chosen; return option; }))));
  if (!out) {
    card.append(h('p', { class: 'pad muted' }, t('inspect.call.nosender')));
    return card;
  }
  if (now && isOutdated(out, now)) card.append(h('p', { class: 'note' }, icon('warn'), h('span', null, t('inspect.outdated'))));
  if (trouble) card.append(h('p', { class: 'note' }, icon('warn'), h('span', null, t('inspect.nowtrouble', { reason: trouble }))));
  card.append(h('ol', { class: 'dsteps' }, ...steps(call, now).map(stepNode)));
  return card;
}

/** Two requests side by side; `end` stops the comparison. */
export function compareCard(rows, left, right, end) {
  const cell = one => h('td', null, one ? h('span', { class: 'state', data: { state: one.state } }, t(`inspect.state.${one.state}`)) : '–', one ? ' ' : null, one ? outcomeNode(one) : null);
  const head = found => h('th', { scope: 'col' }, found.observed?.cluster ? glyph(found.observed.cluster) : null, h('code', { title: found.id }, found.id.slice(0, 13)));
  const apart = rows.filter(row => !row.same).length;
  return h('section', { class: 'card cmpc', 'aria-labelledby': 'h-cmp' }, h('header', null, h('h2', { id: 'h-cmp' }, t('inspect.compare')), h('span', { class: 'muted s' }, apart === 0 ? t('inspect.compare.same') : t('inspect.compare.apart', { n: apart })), h('span', { class: 'r' }, h('button', { type: 'button', class: 'btn sm', on: { click: end } }, t('inspect.compare.end')))),
    h('div', { class: 'scroll pad', tabindex: '0', role: 'region', 'aria-label': t('inspect.compare') }, h('table', { class: 'tries cmp' }, h('thead', null, h('tr', null, h('th', { scope: 'col' }, t('inspect.compare.step')), head(left), head(right))),
      h('tbody', null, ...rows.map(row => h('tr', { class: row.same ? '' : 'changed', data: { row: row.name } }, h('th', { scope: 'row' }, row.same ? null : icon('warn'), t(`inspect.step.${row.name}`)), cell(row.left), cell(row.right)))))));
}
