// What is wrong with a value before anyone is asked. A code that the dictionaries explain, or null. No DOM.

import { OUTLIER, POOL } from './sections.js';
import { countProblem, durationProblem, headerProblem, percentProblem, retryOnProblem } from './values.js';

const BY_KIND = {
  count: value => countProblem(value),
  share: value => countProblem(value, 0, 100) && 'percent.whole',
  duration: durationProblem,
  flag: value => (typeof value === 'boolean' ? null : 'flag'),
};
const FIELDS = Object.fromEntries([...POOL.map(field => [`pool.${field.key}`, field]), ...OUTLIER.map(field => [`outlier.${field.key}`, field])]);
const empty = value => value === null || value === undefined || value === '';

/** The problem of one value; `get` gives the form's other values. A value that a switch makes meaningless has none. */
export function problemOf(key, value, get) {
  if (FIELDS[key]) return empty(value) || (key.startsWith('outlier.') && !get('outlier.on')) ? null : BY_KIND[FIELDS[key].kind](value);
  const [part, rule, kind, name] = key.split('.');
  if (part === 'fault') {
    if (name === 'on' || !get(`fault.${rule}.${kind}.on`)) return null;
    if (name === 'time') return durationProblem(value ?? '');
    return name === 'percent' ? percentProblem(value) : countProblem(value, 200, 599) && 'status';
  }
  switch (key) {
    case 'weight.ctx1': return countProblem(value, 0, 100) && 'percent.whole';
    case 'canary.header': return get('canary.on') ? headerProblem(value ?? '') : null;
    case 'canary.value': return get('canary.on') && empty(value) ? 'empty' : null;
    case 'retry.attempts': return get('retry.mode') === 'custom' && countProblem(value, 1, 100) ? 'attempts' : null;
    case 'retry.perTry': return get('retry.mode') !== 'custom' || empty(value) ? null : durationProblem(value);
    case 'retry.on': return get('retry.mode') !== 'custom' || empty(value) ? null : retryOnProblem(value);
    case 'timeout.value': return empty(value) ? null : durationProblem(value);
    case 'mirror.percent': return get('mirror.on') ? percentProblem(value) : null;
    default: return null;
  }
}

/** Numbers stay numbers where the text is one; anything else stays as it was typed, so that nothing is lost. */
export function typed(key, text) {
  const trimmed = text.trim();
  const numeric = /percent$|status$|attempts$|^weight\./.test(key) || ['count', 'share'].includes(FIELDS[key]?.kind);
  if (trimmed === '') return FIELDS[key] ? null : '';
  return numeric && /^\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
}
