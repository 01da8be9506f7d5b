// Circuit breaker: connection pool, outlier detection with all its fields, why it may never eject, and the clock of each endpoint.

import { clock, readiness } from '../core.js';
import { h, help, icon, put, t, tone } from '../dom.js';
import { endpointStates, ejectionTimes, ejectionWarnings, sightingOf } from './ejection.js';
import { guarded, textField, toggle } from './fields.js';
import { fold } from './retry.js';
import { OUTLIER, POOL } from './sections.js';

const READ_EVERY_MS = 2000;
const seconds = ms => (ms % 1000 === 0 ? String(ms / 1000) : (ms / 1000).toFixed(1));

export function breakerFold(form, { store, connected }) {
  const poolTitle = h('h4'), outlierTitle = h('h4'), clockTitle = h('h4');
  const pool = POOL.map(field => textField(form, `pool.${field.key}`, { label: `traffic.pool.${field.key}`, istio: field.istio, numeric: field.kind === 'count' }));
  const on = toggle(form, 'outlier.on', 'traffic.outlier.on');
  const numbers = OUTLIER.filter(field => field.kind !== 'flag').map(field => textField(form, `outlier.${field.key}`, { label: `traffic.outlier.${field.key}`, istio: field.istio, numeric: field.kind !== 'duration' }));
  const split = toggle(form, 'outlier.splitExternalLocalOriginErrors', 'traffic.outlier.split'), splitWord = h('span', { 'aria-hidden': 'true' });
  const warnings = h('ul', { class: 'checks tight' }), times = h('p', { class: 's muted' });
  const endpoints = h('ul', { class: 'clocks' }), source = h('p', { class: 's muted' });
  const poolBody = h('div', { class: 'f3' }, ...pool.map(field => field.node)), poolNote = h('p', { class: 's muted' });
  const outlierBody = h('div', { class: 'stack sm' }, h('div', { class: 'f3' }, ...numbers.map(field => field.node)), h('div', { class: 'hd' }, split.node, splitWord));
  const clocks = h('div', { class: 'stack sm' }, clockTitle, times, endpoints, source);
  const poolGuard = guarded(form, ['pool'], h('div', { class: 'stack sm' }, poolBody, poolNote));
  const guard = guarded(form, ['outlier'], h('div', { class: 'stack sm' }, warnings, outlierBody));
  const ignored = h('p', { class: 's warnc' });
  const body = h('div', { class: 'stack' }, ignored, h('div', { class: 'stack sm' }, h('div', { class: 'hd' }, outlierTitle, help('outlier-detection'), on.node), guard.node, clocks), h('div', { class: 'stack sm' }, poolTitle, poolGuard.node));
  const outer = fold('breaker', 'eject', 'traffic.breaker', body);
  let timeline = null, timelineKnown = null, sighting = null, readAt = 0, nodes = new Map();

  /** Subsets with the pods that each has now; null where the cluster is not known. */
  function groups() {
    return form.subsets().map(name => { const cluster = form.home(name), ready = cluster ? readiness(store.pods[cluster], form.host, connected()) : null; return { name, cluster, endpoints: ready ? ready.ready : null }; });
  }
  const pods = () => form.subsets().flatMap(subset => { const cluster = form.home(subset); return (store.pods[cluster]?.pods ?? []).filter(pod => pod.app === form.host).map(pod => ({ ...pod, cluster, subset })); });

  /** Reads what the mesh told: the timeline of the cluster, and the newest request of this service. */
  async function read() {
    if (!outer.node.open || form.live('outlier.on') !== true || Date.now() - readAt < READ_EVERY_MS) return;
    readAt = Date.now();
    const { service, host } = form;
    if (timelineKnown !== false) {
      const answer = await fetch('/api/v1/timeline').catch(() => null);
      timelineKnown = answer ? answer.ok : timelineKnown;
      const told = answer?.ok ? await answer.json().catch(() => null) : null;
      timeline = Array.isArray(told?.items) ? told.items : null;
    }
    const row = store.rings[service].all.last(1)[0];
    if (row) {
      const answer = await fetch(`/api/v1/requests/${encodeURIComponent(row.id)}`).catch(() => null);
      const told = answer?.ok ? await answer.json().catch(() => null) : null;
      if (form.service === service) { const seen = sightingOf(told?.records, host); if (seen) sighting = seen; }
    }
    drawClocks();
  }

  function drawClocks() {
    clocks.hidden = form.get('outlier.on') !== true || Boolean(form.reason('outlier'));
    if (clocks.hidden) return;
    const base = form.get('outlier.baseEjectionTime') || '30s', now = Date.now() * 1000;
    put(clockTitle, t('traffic.clock'));
    put(times, t('traffic.clock.times', { base, list: ejectionTimes(base).map(ms => `${seconds(ms)}s`).join(' → ') }));
    const states = form.live('outlier.on') === true ? endpointStates(pods(), timeline, sighting, now, { base: form.live('outlier.baseEjectionTime') || '30s', interval: form.live('outlier.interval') || '10s' }) : [];
    const seen = new Set();
    for (const one of states) {
      seen.add(one.pod.name);
      let row = nodes.get(one.pod.name);
      if (!row) {
        row = { node: h('li'), name: h('code', { class: 'pn' }), chip: h('span', { class: 'chip' }), bar: h('span', { class: 'cbar', 'aria-hidden': 'true' }, h('i')), text: h('span', { class: 's muted' }) };
        row.node.append(h('i', { class: one.pod.cluster === 'ctx1' ? 'g1' : 'g2', 'aria-hidden': 'true' }), row.name, row.chip, row.bar, row.text);
        nodes.set(one.pod.name, row);
        endpoints.append(row.node);
      }
      drawEndpoint(row, one, now);
    }
    for (const [name, row] of nodes) if (!seen.has(name)) { row.node.remove(); nodes.delete(name); }
    put(source, form.live('outlier.on') !== true ? t('traffic.clock.notyet') : timeline ? t('traffic.clock.timeline') : t('traffic.clock.records'));
  }

  function drawEndpoint(row, { pod, state, since, until, times: count, caller }, now) {
    put(row.name, pod.name);
    tone(row.chip, `chip ${{ in: 'ok', ejected: 'err' }[state] ?? ''}`.trim());
    put(row.chip, t(`traffic.clock.${state}`));
    const left = until === null ? null : Math.max(0, (until - now) / 1e6), whole = until === null ? null : (until - since) / 1e6;
    row.bar.hidden = left === null;
    if (left !== null) row.bar.firstChild.style.width = `${(left / whole) * 100}%`;
    put(row.text, state !== 'ejected' ? '' : left === null ? t('traffic.clock.since', { time: clock(since) }) : t(left > 0 ? 'traffic.clock.left' : 'traffic.clock.due', { n: Math.ceil(left), times: count, caller, time: clock(since) }));
  }

  function draw() {
    const usable = guard.draw(), active = form.get('outlier.on') === true;
    poolGuard.draw();
    const said = form.reason('outlier') ? t('traffic.no') : active ? t('traffic.outlier.said', { n: form.get('outlier.consecutive5xxErrors') ?? 5, time: form.get('outlier.baseEjectionTime') || '30s', max: form.get('outlier.maxEjectionPercent') ?? 10 }) : t('traffic.outlier.off');
    outer.draw(form, ['outlier', 'pool'], said);
    put(outlierTitle, t('traffic.outlier'));
    put(poolTitle, t('traffic.pool'));
    on.node.hidden = !usable;
    on.draw();
    outlierBody.hidden = !active;
    for (const field of [...numbers, ...pool]) field.draw();
    split.draw();
    put(splitWord, t('traffic.outlier.split'));
    put(poolNote, t('traffic.pool.note'));
    const lead = form.lead(), others = lead?.ignored.DestinationRule ?? [];
    ignored.hidden = others.length === 0;
    put(ignored, t('traffic.rules.ignored', { kept: lead?.items.DestinationRule?.name ?? '', names: others.map(item => item.name).join(', ') }));
    const found = usable ? ejectionWarnings(key => form.get(key), groups(), form.get('fault.default.abort.on') === true) : [];
    const text = JSON.stringify([found, document.documentElement.lang]);
    if (warnings.dataset.shown !== text) {
      warnings.dataset.shown = text;
      warnings.replaceChildren(...found.map(({ code, data }) => h('li', { data: { code } }, icon('warn', 'warnc'), h('span', null, t(`traffic.eject.${code}`, data)))));
    }
    drawClocks();
  }
  return { ...outer, draw, tick: () => { read(); drawClocks(); }, forget: () => { sighting = null; readAt = 0; } };
}
