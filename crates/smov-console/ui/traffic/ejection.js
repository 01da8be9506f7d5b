// Outlier detection without the mesh: who can be ejected at all, how long an ejection lasts, and what the mesh told about each endpoint. No DOM.

import { milliseconds } from './values.js';

/** An ejection never lasts longer than this, or than the base time when that is longer. */
const LONGEST = 300_000;

/** How long the ejections of one endpoint last, one after the other: base × times ejected, at most 300 s. */
export function ejectionTimes(base, count = 4) {
  const ms = milliseconds(base);
  return ms === null ? [] : Array.from({ length: count }, (_, i) => Math.min(ms * (i + 1), Math.max(LONGEST, ms)));
}

/** How many of `endpoints` may be ejected at once: (ejected + 1) / endpoints must not exceed the share. */
export const ejectable = (endpoints, percent) => Math.floor((endpoints * percent) / 100 + 1e-9);

/** The smallest share with which one of `endpoints` can be ejected. */
export const neededPercent = endpoints => Math.ceil(100 / endpoints);

/**
 * Why ejection cannot do what one hopes for: codes with data. `groups` are the subsets with their endpoints: { name, endpoints }, null endpoints = unknown.
 * `get` gives the form's values; absent ones are Istio's defaults.
 */
export function ejectionWarnings(get, groups, aborts) {
  if (!get('outlier.on')) return [];
  const found = [], number = (key, otherwise) => { const value = get(`outlier.${key}`); return value === null || value === '' ? otherwise : Number(value); };
  const percent = number('maxEjectionPercent', 10), health = number('minHealthPercent', 0);
  for (const { name, endpoints } of groups) {
    if (endpoints === null || endpoints === 0) continue;
    if (ejectable(endpoints, percent) === 0) found.push({ code: 'never', data: { name, n: endpoints, percent, needed: neededPercent(endpoints) } });
    else if (health > 0 && ((endpoints - 1) / endpoints) * 100 < health) found.push({ code: 'panic', data: { name, n: endpoints, health } });
    else if (endpoints === 1) found.push({ code: 'alone', data: { name } });
  }
  if (number('consecutive5xxErrors', 5) === 0 && number('consecutiveGatewayErrors', 0) === 0) found.push({ code: 'no-trigger', data: {} });
  if (aborts) found.push({ code: 'aborts', data: {} });
  return found;
}

/** Envoy's multiplier after these entries of one caller: one more with each ejection, one less for each interval that went well in between. */
function multiplier(entries, interval) {
  let times = 0, back = null;
  for (const { kind, at } of entries) {
    if (kind !== 'ejection') { back = at; continue; }
    if (back !== null && interval > 0) times = Math.max(0, times - Math.floor((at - back) / 1000 / interval));
    times += 1;
  }
  return times;
}

/**
 * What is known of each endpoint, from what the mesh told: entries of the timeline ({ id, at, kind, ref }) and endpoints that a recorded request passed over.
 * `pods` are { name, ip, cluster }; `base` and `interval` are what is configured. Times are microseconds. That an endpoint is out, and since when, is told; `until` is worked out
 * from base × times, because nobody tells it; null where even that is not possible. What the gateway's proxy says goes before what other callers say.
 */
export function endpointStates(pods, timeline, sighting, now, { base = '30s', interval = '10s' } = {}) {
  return pods.map(pod => {
    const own = (timeline ?? []).filter(entry => (entry.kind === 'ejection' || entry.kind === 'uneject') && (String(entry.ref ?? '').endsWith(`/${pod.name}`) || (pod.ip && String(entry.id ?? '').includes(`:${pod.ip}:`)))).sort((a, b) => a.at - b.at);
    const callers = Map.groupBy ? Map.groupBy(own, callerOf) : own.reduce((map, entry) => map.set(callerOf(entry), [...(map.get(callerOf(entry)) ?? []), entry]), new Map());
    const out = [...callers].filter(([, entries]) => entries.at(-1).kind === 'ejection').sort(([a], [b]) => Number(b.startsWith('api-gateway')) - Number(a.startsWith('api-gateway')))[0];
    if (out) {
      const [caller, entries] = out, since = entries.at(-1).at, times = multiplier(entries, milliseconds(interval) ?? 10_000), ms = ejectionTimes(base, times).at(-1);
      return { pod, state: 'ejected', since, until: ms ? since + ms * 1000 : null, times, caller, told: 'timeline' };
    }
    const last = own.at(-1);
    if (sighting && (!last || last.at < sighting.at) && !timeline && sighting.ejected.some(address => address.slice(0, address.lastIndexOf(':')) === pod.ip)) return { pod, state: 'ejected', since: sighting.at, until: null, times: 0, caller: null, told: 'record' };
    return { pod, state: timeline || sighting?.asked.includes(pod.cluster) ? 'in' : 'unknown', since: last?.at ?? null, until: null, times: 0, caller: null, told: timeline ? 'timeline' : 'record' };
  });
}

/** The pod whose proxy told an entry: `ejection:CALLER:UPSTREAM:…`. */
const callerOf = entry => String(entry.id ?? '').split(':')[1] ?? '';

/** What one request's decision records say: the endpoints that were passed over, and in which clusters any was looked for. */
export function sightingOf(records, host) {
  const own = (records ?? []).filter(record => record.direction === 'outbound' && String(record.cluster ?? '').includes(`|${host}.`));
  const attempts = own.flatMap(record => record.attempts ?? []);
  if (attempts.length === 0) return null;
  return { at: Math.max(...own.map(record => record.started)), ejected: [...new Set(attempts.flatMap(attempt => attempt.ejected ?? []))], asked: [...new Set(attempts.map(attempt => attempt.kube_cluster).filter(Boolean))] };
}
