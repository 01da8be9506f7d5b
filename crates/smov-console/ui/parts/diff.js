// A diff that can be read without colour: a sign in front of every line, its number, and a sentence for those who hear it. Style: parts/diff.css.

import { h, t } from '../dom.js';
import { counts } from './lines.js';

const SIGN = { '+': '+', '-': '−', ' ': '', '@': '⋯' };
const CLASS = { '+': 'add', '-': 'del', ' ': '', '@': 'hunk' };

/**
 * Shows lines as the server's checks and `diffLines` give them. `label` names it (a cluster, two versions); a scroll region that the keyboard reaches.
 * Words: `diff.same`, `diff.label` of the view's dictionary, given by the caller as `words`.
 */
export function diffView(lines, { label, words }) {
  if (lines.length === 0) return h('p', { class: 'muted s diff-same' }, words.same);
  const { added, removed } = counts(lines);
  const row = line => h('div', { class: CLASS[line.op] || null }, h('span', { 'aria-hidden': 'true' }, String(line.op === '-' ? line.old ?? '' : line.op === '@' ? '' : line.new ?? '')),
    h('span', null, SIGN[line.op]), h('span', null, line.op === '@' ? t(words.gap, { n: line.new }) : line.text));
  return h('div', { class: 'diff', tabindex: '0', role: 'region', 'aria-label': `${label}. ${t(words.count, { added, removed })}` }, ...lines.map(row));
}
