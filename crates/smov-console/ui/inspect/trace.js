// Spans of a trace as rows of a waterfall: who is part of whom, where bars begin and end, and what may be said where there is no span. No DOM.

/** A request that began so long after the oldest kept trace had ended cannot have been pushed out before it, in microseconds. */
export const SLACK = 5_000_000;

/** `traced`, `unasked` (a control plane did not answer), `unsampled`, or `unknown` (not sampled, or no longer kept). `first` is the record of the request's first proxy. */
export function verdict({ traces, unasked, kept_since: kept }, first) {
  if (traces.length > 0) return 'traced';
  if (unasked.length > 0) return 'unasked';
  // Its first proxy would have told the control plane of its own cluster.
  const since = first ? kept[first.cluster_of_proxy] : undefined;
  return since !== undefined && first.started > since + SLACK ? 'unsampled' : 'unknown';
}

/** What a span stands for: `proxy.client`, `app.server`, `store.client`; by its kind alone where its maker does not say what it is. */
export function roleOf({ kind, tags = {} }) {
  return ['proxy', 'app', 'store'].includes(tags.component) ? `${tags.component}.${kind}` : kind;
}

/** Status as told: a number, with flags if there are any; `error`, or null where nothing is told. */
export function statusOf({ tags = {} }) {
  const status = tags['http.status_code'] ?? tags['grpc.status_code'] ?? null, flags = tags.response_flags;
  const told = [status, flags && flags !== '-' ? flags : null].filter(one => one !== null).join(' ');
  return told !== '' ? told : tags.error === 'true' ? 'error' : null;
}

/** Rows in the order of a tree: children below their parent, by start. `orphan`: its parent is named and not known. Times in microseconds from the first start, places in percent. */
export function rows(spans) {
  if (spans.length === 0) return { rows: [], total: 0, orphans: 0, roots: 0 };
  const byStart = [...spans].sort((a, b) => a.start - b.start || b.duration - a.duration);
  const known = new Set(byStart.map(span => span.id)), below = new Map();
  for (const span of byStart) if (span.parentId && known.has(span.parentId)) below.set(span.parentId, [...below.get(span.parentId) ?? [], span]);
  const zero = byStart[0].start, total = Math.max(1, ...byStart.map(span => span.start + span.duration - zero));
  const list = [], done = new Set();
  const add = (span, depth, orphan) => {
    // A ring of parents, or an id that is there twice, must not go round for ever.
    if (done.has(span)) return;
    done.add(span);
    const from = span.start - zero, left = Math.min(99.6, (from / total) * 100);
    list.push({ span, depth, orphan, from, duration: span.duration, left, width: Math.max(0.4, Math.min(100 - left, (span.duration / total) * 100)), error: span.tags?.error === 'true', role: roleOf(span), status: statusOf(span), service: (span.service ?? '').split('.')[0], cluster: span.cluster || null });
    for (const child of below.get(span.id) ?? []) add(child, depth + 1, false);
  };
  for (const span of byStart) if (!span.parentId || !known.has(span.parentId)) add(span, 0, Boolean(span.parentId));
  // What is left is below itself: nobody's child that could be shown as such.
  for (const span of byStart) add(span, 0, true);
  return { rows: list, total, orphans: list.filter(row => row.orphan).length, roots: list.filter(row => !row.span.parentId).length };
}
