// A draw of the dice on a ruler: the ranges, what each stands for, and where the draw fell. The picture has a sentence for those who do not see it.

import { h } from '../dom.js';

/**
 * `{ total, at, segments: [{ from, to, label, hit, tone }] }`; `tone` is `ctx1`, `ctx2`, `other`, `warn`, `err` or `rest`; `at` is null where the data plane does not
 * say where in its range the draw fell. `label` turns a segment's name into words.
 */
export function ruler({ total, at, segments }, sentence, label = name => name) {
  const bar = h('div', { class: 'rul-bar' }), axis = h('div', { class: 'rul-ax', 'aria-hidden': 'true' });
  for (const segment of segments) {
    const part = h('i', { class: `rul-${segment.tone}${segment.hit ? ' hit' : ''}` });
    part.style.flexGrow = String(segment.to - segment.from);
    bar.append(part);
    const name = h('span', { class: 'rul-n' }, segment.label ? label(segment.label) : '');
    name.style.flexGrow = String(segment.to - segment.from);
    axis.append(name);
  }
  const node = h('div', { class: 'rul', role: 'img', 'aria-label': sentence }, bar);
  if (at !== null) {
    // A draw of whole numbers stands for the whole unit that it names.
    const middle = Number.isInteger(at) && total <= 1000 ? at + 0.5 : at, needle = h('b', { class: 'rul-at', 'aria-hidden': 'true' }, h('span', null, String(at)));
    needle.style.left = `${Math.min(99.6, (middle / total) * 100)}%`;
    if (middle / total > 0.85) needle.classList.add('end');
    node.append(needle);
  }
  const edges = h('div', { class: 'rul-ed', 'aria-hidden': 'true' });
  for (const edge of [0, ...segments.slice(0, -1).map(segment => segment.to), total]) {
    const mark = h('span', { class: edge === 0 ? 'first' : edge === total ? 'last' : '' }, String(edge));
    mark.style.left = `${(edge / total) * 100}%`;
    edges.append(mark);
  }
  node.append(edges, axis);
  return node;
}
