// What the charts of the Metrics view draw, as numbers: the server's series cut to a window, added up, thinned out, and put on an axis.

import { SERVICES } from '../core.js';

/** The columns: requests per second, share of errors, latency. */
export const MEASURES = ['rate', 'errors', 'latency'];
/** Points of a line at most; a longer window takes several steps together. */
export const POINTS = 180;

const sum = values => values.reduce((total, value) => total + value, 0);
/** Adds what is known; null where nothing is. */
const together = values => { const known = values.filter(value => value !== null && value !== undefined); return known.length === 0 ? null : sum(known); };
const largest = values => { const known = values.filter(value => value !== null && value !== undefined); return known.length === 0 ? null : Math.max(...known); };

/** The lines of one service: one per cluster that answered, or all of them as one. A line that no pod answered counts among the errors of the whole only. */
export function linesOf(series, service, split) {
  const own = (series?.lines ?? []).filter(line => line.service === service);
  if (!split) return own.length === 0 ? [] : [merged(own)];
  return own.filter(line => line.cluster !== null).sort((a, b) => a.cluster.localeCompare(b.cluster));
}

/** Several lines as one: counts are added, a percentile is the worst of them, because percentiles cannot be added. */
export function merged(lines) {
  const steps = Math.max(...lines.map(line => line.requests.length));
  const fold = (name, how) => Array.from({ length: steps }, (_, i) => how(lines.map(line => line[name][i])));
  return { service: lines[0].service, cluster: null, requests: fold('requests', together), errors: fold('errors', together), p50: fold('p50', largest), p95: fold('p95', largest), p99: fold('p99', largest) };
}

/** Takes `width` steps together so that no line has more than `POINTS` points; an unknown step among known ones is left out of the sum, and seconds count only what is known. */
export function thinned(line, stepMs, points = POINTS) {
  const width = Math.max(1, Math.ceil(line.requests.length / points));
  const groups = Array.from({ length: Math.ceil(line.requests.length / width) }, (_, i) => [i * width, Math.min(line.requests.length, (i + 1) * width)]);
  return groups.map(([from, to]) => {
    const slice = name => line[name].slice(from, to);
    const known = slice('requests').filter(value => value !== null).length;
    const requests = together(slice('requests')), errors = together(slice('errors'));
    return { from, to, requests, errors, seconds: (known * stepMs) / 1000, rate: requests === null ? null : requests / ((known * stepMs) / 1000), share: requests ? (errors / requests) * 100 : null, p50: largest(slice('p50')), p95: largest(slice('p95')), p99: largest(slice('p99')) };
  });
}

/** A round number not below `value`: 1, 2 or 5 times a power of ten. */
export function ceiling(value, least) {
  const wanted = Math.max(value, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map(factor => factor * power).find(round => round >= wanted * 0.999_999);
}

/** The upper end of each column's axis, the same for all services so that they can be compared. */
export function axes(series, split) {
  const points = SERVICES.flatMap(service => linesOf(series, service, split)).flatMap(line => thinned(line, series.step_ms));
  const most = pick => Math.max(0, ...points.map(pick).filter(value => value !== null));
  return { rate: ceiling(most(point => point.rate), 1), errors: ceiling(most(point => point.share), 5) > 100 ? 100 : ceiling(most(point => point.share), 5), latency: ceiling(most(point => (split ? point.p95 : point.p99)), 10) };
}

/** The values that a chart draws: name, cluster, dash, points as [position 0…1, value or null]. */
export function drawn(series, service, measure, split) {
  const value = { rate: ['rate'], errors: ['share'], latency: split ? ['p95'] : ['p50', 'p95', 'p99'] }[measure];
  const steps = Math.max(1, series.steps);
  return linesOf(series, service, split).flatMap(line => {
    const points = thinned(line, series.step_ms);
    return value.map(name => ({ name, cluster: line.cluster, points: points.map(point => [(point.from + point.to) / 2 / steps, point[name], point]) }));
  });
}

/** Parts of a line without gaps in them: what is not known is not drawn. */
export function runs(points) {
  const found = [[]];
  for (const point of points) { if (point[1] === null) { if (found.at(-1).length > 0) found.push([]); } else found.at(-1).push(point); }
  return found.filter(run => run.length > 0);
}

/** Where marks of the timeline stand in this window: [position 0…1, mark]; what lies outside is left out. */
export function marks(series, events) {
  const span = series.steps * series.step_ms;
  return events.map(event => [(event.at / 1000 - series.from) / span, event]).filter(([at]) => at >= 0 && at <= 1);
}

/** The newest known value of a chart's lines, for its heading and for those who do not see it. */
export const latest = lines => lines.map(line => ({ name: line.name, cluster: line.cluster, value: line.points.findLast(point => point[1] !== null)?.[1] ?? null }));
