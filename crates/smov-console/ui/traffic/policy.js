// Reads connection pool and outlier detection of a DestinationRule as the form sees them, and writes changed values into a copy. No DOM.

import { OUTLIER, POOL, PROPOSED } from './sections.js';

const FIELDS = { pool: POOL, outlier: OUTLIER };
const BLOCKS = { pool: 'connectionPool', outlier: 'outlierDetection' };

const at = (object, path) => path.reduce((inner, key) => inner?.[key], object);

/** Why a block cannot be edited in the top-level policy: something narrower replaces it as a whole. */
function hiddenBy(spec, part) {
  if (spec.trafficPolicy?.portLevelSettings?.length > 0) return { code: 'port-level', data: {} };
  const narrower = (spec.subsets ?? []).filter(subset => subset.trafficPolicy?.[BLOCKS[part]] || subset.trafficPolicy?.portLevelSettings?.length > 0).map(subset => subset.name);
  return narrower.length > 0 ? { code: 'subset-block', data: { names: narrower.join(', '), block: BLOCKS[part] } } : null;
}

/** The values of a DestinationRule, and per part the reason why it cannot be shown as a form. */
export function readPolicy(object) {
  const values = {}, reasons = {};
  const policy = object.spec?.trafficPolicy ?? {};
  for (const part of ['pool', 'outlier']) {
    const reason = hiddenBy(object.spec ?? {}, part);
    if (reason) { reasons[part] = reason; continue; }
    const block = policy[BLOCKS[part]];
    if (block?.consecutiveErrors !== undefined) { reasons[part] = { code: 'old-field', data: { field: 'consecutiveErrors' } }; continue; }
    if (part === 'outlier') values['outlier.on'] = Boolean(block);
    for (const field of FIELDS[part]) values[`${part}.${field.key}`] = at(block, field.path) ?? null;
  }
  return { values, reasons };
}

/** A copy of `object` with `edits` in it; an empty value takes the field out. */
export function writePolicy(object, edits) {
  const copy = structuredClone(object), { values, reasons } = readPolicy(object);
  const changed = key => key in edits && (edits[key] === '' ? null : edits[key]) !== values[key];
  for (const part of ['pool', 'outlier']) {
    if (reasons[part]) continue;
    const on = part === 'pool' || (edits['outlier.on'] ?? values['outlier.on']);
    const fresh = part === 'outlier' && on && !values['outlier.on'];
    if (!on) { if (values['outlier.on']) removeBlock(copy, part); continue; }
    const given = field => { const key = `${part}.${field.key}`; return key in edits ? edits[key] : fresh ? PROPOSED[key] : undefined; };
    for (const field of FIELDS[part]) if (changed(`${part}.${field.key}`) || (fresh && given(field) !== undefined)) put(copy, part, field, given(field));
    // Switched on with every field at Istio's default: the block itself is what switches it on.
    if (fresh && !copy.spec.trafficPolicy?.outlierDetection) (copy.spec.trafficPolicy ??= {}).outlierDetection = {};
  }
  return copy;
}

function put(copy, part, field, value) {
  const path = [BLOCKS[part], ...field.path];
  if (value === '' || value === null || value === undefined) { take(copy.spec.trafficPolicy, path); tidy(copy); return; }
  const typed = field.kind === 'count' || field.kind === 'share' ? Number(value) : field.kind === 'flag' ? value === true : String(value);
  let inner = (copy.spec.trafficPolicy ??= {});
  for (const key of path.slice(0, -1)) inner = (inner[key] ??= {});
  inner[path.at(-1)] = typed;
}

/** Takes a field out, and with it what it leaves empty: Istio refuses an empty block. Outlier detection may be empty: its defaults then hold. */
function take(object, [key, ...rest]) {
  if (!object || !(key in object)) return;
  if (rest.length === 0) { delete object[key]; return; }
  take(object[key], rest);
  if (key !== 'outlierDetection' && Object.keys(object[key]).length === 0) delete object[key];
}

function removeBlock(copy, part) {
  delete copy.spec.trafficPolicy[BLOCKS[part]];
  tidy(copy);
}

function tidy(copy) { if (copy.spec.trafficPolicy && Object.keys(copy.spec.trafficPolicy).length === 0) delete copy.spec.trafficPolicy; }
