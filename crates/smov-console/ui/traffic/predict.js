// What one should see after a change, as statements that requests can prove wrong. No DOM.

import { interval } from '../core.js';
import { milliseconds } from './values.js';

/** Fresh requests that a statement is judged on, and how few say nothing yet. */
export const SAMPLE = 100;
export const LEAST = 20;
const COPIED = ['x-canary', 'x-request-id', 'traceparent', 'tracestate', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags'];

/** Whether the theatre's gateway hands a header on, so that a rule behind it can see it. */
export const handedOn = header => COPIED.includes(header);

/**
 * Statements about `after` where it differs from `before` (both: key → value). `home` tells the cluster of a subset.
 * Kinds: share, delay, abort and canary are checked; told cannot be seen from here. `p` is the expected share of the sample.
 */
export function predictions(before, after, home) {
  const moved = prefix => Object.keys({ ...before, ...after }).some(key => key.startsWith(prefix) && (before[key] ?? null) !== (after[key] ?? null));
  const found = [];
  if (moved('weight.') || (moved('fault.default.') && after['weight.ctx1'] !== undefined)) {
    const share = home('ctx1') === 'ctx2' ? 100 - after['weight.ctx1'] : after['weight.ctx1'];
    if (home('ctx1') && home('ctx2') && share !== undefined) found.push(stated('share', share / 100, { percent: share, other: 100 - share, cluster: share === 0 ? 'ctx2' : 'ctx1' }));
  }
  if (moved('fault.default.delay')) found.push(stated('delay', after['fault.default.delay.on'] ? after['fault.default.delay.percent'] / 100 : 0, { time: after['fault.default.delay.time'] ?? '', ms: milliseconds(String(after['fault.default.delay.time'] ?? '')) }));
  if (moved('fault.default.abort')) found.push(stated('abort', after['fault.default.abort.on'] ? after['fault.default.abort.percent'] / 100 : 0, { status: after['fault.default.abort.status'] ?? '' }));
  if (moved('canary.')) found.push(after['canary.on'] ? { id: 'canary', kind: 'canary', p: 1, data: { header: after['canary.header'], value: after['canary.value'], cluster: home(after['canary.target']) ?? after['canary.target'] }, checked: handedOn(after['canary.header']) } : { id: 'canary.off', kind: 'told', data: {} });
  if (moved('fault.canary')) found.push({ id: 'fault.canary', kind: 'told', data: {} });
  if (moved('timeout.')) found.push({ id: after['timeout.value'] ? 'timeout' : 'timeout.off', kind: 'told', data: { time: after['timeout.value'] } });
  if (moved('retry.')) found.push({ id: `retry.${after['retry.mode']}`, kind: 'told', data: { n: after['retry.attempts'], all: Number(after['retry.attempts'] ?? 0) + 1 } });
  if (moved('pool.')) found.push({ id: 'pool', kind: 'told', data: {} });
  if (moved('outlier.')) found.push(after['outlier.on'] ? { id: 'outlier', kind: 'told', data: { n: after['outlier.consecutive5xxErrors'] ?? 5, time: after['outlier.baseEjectionTime'] ?? '30s' } } : { id: 'outlier.off', kind: 'told', data: {} });
  if (moved('mirror.')) found.push(after['mirror.on'] ? { id: 'mirror', kind: 'told', data: { percent: after['mirror.percent'], target: after['mirror.target'] } } : { id: 'mirror.off', kind: 'told', data: {} });
  return found;
}

function stated(kind, p, data) {
  const [lo, hi] = interval(SAMPLE, p);
  return { id: p === 0 || p === 1 ? `${kind}.${p === 0 ? 'none' : 'all'}` : kind, kind, p, data: { ...data, lo, hi, n: SAMPLE } };
}

/** Rows that a statement looks at, and which of them it counts. */
export function counted(statement, rows) {
  const plain = rows.filter(row => !row.canary);
  if (statement.kind === 'share') { const reached = plain.filter(row => row.cluster === 'ctx1' || row.cluster === 'ctx2'); return [reached.filter(row => row.cluster === 'ctx1').length, reached.length]; }
  if (statement.kind === 'delay') return [plain.filter(row => row.delay_ms > 0 || (row.flags === null && statement.data.ms !== null && row.ms >= statement.data.ms)).length, plain.length];
  if (statement.kind === 'abort') return [plain.filter(row => String(row.flags ?? '').includes('FI') || (row.flags === null && row.cluster === null && row.status === Number(statement.data.status))).length, plain.length];
  return [0, 0];
}

/** `waiting` below 20 requests, then `ok` inside 95 %, `maybe` inside 99.9 %, `bad` outside. What is certain has no middle. */
export function judge(p, count, n) {
  if (n < LEAST && !((p === 0 || p === 1) && n > 0 && count !== p * n)) return 'waiting';
  const [lo, hi] = interval(n, p), [low, high] = interval(n, p, 0.001);
  return count >= lo && count <= hi ? 'ok' : count >= low && count <= high ? 'maybe' : 'bad';
}
