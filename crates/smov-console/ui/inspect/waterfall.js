// Where the time of a request went: one bar per proxy and app it passed, injected delay apart, on the clock of the machine that all of them share. No DOM.

import { calls, endOf, phaseAt, workloadOf } from './story.js';

/** Bars in microseconds from the first record's start. `kind`: `proxy`, `app`, `delay`, `attempt`. */
export function spans(records) {
  if (records.length === 0) return { spans: [], total: 0, skewed: false };
  const zero = Math.min(...records.map(record => record.started));
  const list = [];
  let skewed = false;
  const bar = (record, kind, from, to, more = {}) => list.push({ kind, from: record.started - zero + from, to: record.started - zero + Math.max(from, to), workload: workloadOf(record.proxy), pod: record.proxy, cluster: record.cluster_of_proxy ?? null, direction: record.direction, ...more });
  const inbound = record => {
    bar(record, 'proxy', 0, endOf(record));
    const start = phaseAt(record, 'forward'), app = record.attempts.at(-1);
    if (start !== null && app) bar(record, 'app', app.started, app.started + app.duration, { status: app.status });
  };
  for (const { out, inbound: callees } of calls(records)) {
    if (out) {
      bar(out, 'proxy', 0, endOf(out), { to_service: out.authority });
      if (out.injected_delay > 0) { const at = phaseAt(out, 'fault') ?? 0; bar(out, 'delay', at, at + out.injected_delay); }
      if (out.attempts.length > 1) out.attempts.forEach((one, index) => bar(out, 'attempt', one.started, one.started + one.duration, { n: index + 1, status: one.status, attempt_pod: one.pod, flags: one.flags }));
      skewed ||= callees.some(record => record.started < out.started || record.started + record.duration > out.started + endOf(out) + 1000);
    }
    for (const record of callees) inbound(record);
  }
  return { spans: list, total: Math.max(...list.map(span => span.to), 1), skewed };
}

/** Width of a folded delay, as a part of everything else. */
const FOLD = 0.12;

/** Places bars between 0 and 100; with `fold`, injected delays shrink to a fixed width. `ticks` are times with their places. */
export function layout({ spans: list, total }, fold) {
  const cuts = fold ? merged(list.filter(span => span.kind === 'delay').map(({ from, to }) => [from, to])) : [];
  const cut = cuts.reduce((sum, [from, to]) => sum + to - from, 0), width = Math.max(1, (total - cut) * FOLD);
  const place = time => {
    let moved = time;
    for (const [from, to] of cuts) {
      if (time >= to) moved += width - (to - from);
      else if (time > from) moved += ((time - from) / (to - from)) * width - (time - from);
    }
    return moved;
  };
  const whole = place(total), at = time => (place(time) / whole) * 100;
  const times = cuts.length > 0 ? [0, ...cuts.flat(), total] : [0, total / 4, total / 2, (total * 3) / 4, total];
  const ticks = [];
  for (const time of times) { const left = at(time); if (ticks.length === 0 || left - ticks.at(-1).left >= 12) ticks.push({ time, left }); else if (time === total) ticks[ticks.length - 1] = { time, left }; }
  return { ticks, bars: list.map(span => ({ ...span, left: at(span.from), width: Math.max(0.4, at(span.to) - at(span.from)) })) };
}

function merged(ranges) {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]), out = [];
  for (const [from, to] of sorted) { const last = out.at(-1); if (last && from <= last[1]) last[1] = Math.max(last[1], to); else out.push([from, to]); }
  return out;
}
