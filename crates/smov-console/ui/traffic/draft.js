// A draft: values that someone changed, on top of the rules as they were when the change began. Nothing is lost by a view change, a reload or a conflict. No DOM.

import { clusterOfSubset, destinationRules, fullName, steering, subsetLabels, subsetNames, virtualServices } from './find.js';
import { readPolicy, writePolicy } from './policy.js';
import { writeRules } from './rewrite.js';
import { readRules } from './rules.js';
import { PROPOSED, SECTIONS, sectionOf } from './sections.js';

export const CLUSTERS = ['ctx1', 'ctx2'];
export const NAMESPACE = 'theater-msa';
const KINDS = ['VirtualService', 'DestinationRule'];

/** What one cluster says about a service. `base` puts a draft's own starting points in place of the live objects. */
export function readCluster(resources, cluster, host, base = {}) {
  const own = fullName(host, NAMESPACE);
  const services = virtualServices(resources, cluster, host, NAMESPACE), rules = destinationRules(resources, cluster, host, NAMESPACE);
  const items = { VirtualService: base[`${cluster}/VirtualService`] ?? services[0] ?? null, DestinationRule: base[`${cluster}/DestinationRule`] ?? steering(rules) };
  const vs = items.VirtualService ? readRules(items.VirtualService.object, own, items.VirtualService.namespace) : { values: {}, reasons: noRule(['weight', 'canary', 'fault.default', 'fault.canary', 'retry', 'mirror'], 'VirtualService'), at: null, weights: null };
  const dr = items.DestinationRule ? readPolicy(items.DestinationRule.object) : { values: {}, reasons: noRule(['pool', 'outlier'], 'DestinationRule') };
  return { cluster, own, items, live: { VirtualService: services[0] ?? null, DestinationRule: steering(rules) }, ignored: { VirtualService: services.slice(1), DestinationRule: rules.filter(item => item !== steering(rules)) }, rules, subsets: subsetNames(rules), values: { ...vs.values, ...dr.values }, reasons: { ...vs.reasons, ...dr.reasons }, at: vs.at, weights: vs.weights };
}

const noRule = (parts, kind) => Object.fromEntries(parts.map(part => [part, { code: 'no-rule', data: { kind } }]));

/** The cluster whose pods a subset has, by the labels of the rule that holds. */
export const homeOf = (picture, subset) => clusterOfSubset(picture.rules, subset);
export { subsetLabels };

/** An empty draft. */
export const emptyDraft = () => ({ target: 'both', edits: {}, base: {} });

/** The clusters that a draft is for, of those that can be read. */
export const targets = (draft, readable) => (draft.target === 'both' ? CLUSTERS : [draft.target]).filter(cluster => readable.includes(cluster));

/** A draft with `value` for `key`; a value that every target has already is no edit, unless `keep` says that the pictures are about to change. `live` are the clusters' pictures. */
export function edit(draft, live, key, value, keep = false) {
  const base = { ...draft.base };
  if (Object.keys(draft.edits).length === 0) for (const picture of live) for (const kind of KINDS) { const item = picture.items[kind]; if (item) base[`${picture.cluster}/${kind}`] = startOf(item); }
  const edits = { ...draft.edits };
  const wanted = draft.target === 'both' ? live : live.filter(picture => picture.cluster === draft.target);
  const same = wanted.length > 0 && wanted.every(picture => equal(picture.values[key], value));
  if (same && !keep) delete edits[key]; else edits[key] = value;
  return { ...draft, edits, base: Object.keys(edits).length === 0 ? {} : base };
}

const startOf = ({ cluster, kind, namespace, name, resource_version, object, created }) => ({ cluster, kind, namespace, name, resource_version, object, created });
export const equal = (a, b) => (a === '' || a === undefined ? null : a) === (b === '' || b === undefined ? null : b);

/** Takes back what a part changed. */
export function withoutSection(draft, section) {
  const edits = Object.fromEntries(Object.entries(draft.edits).filter(([key]) => sectionOf(key) !== section));
  return { ...draft, edits, base: Object.keys(edits).length === 0 ? {} : draft.base };
}

/** The edits that are news in this cluster. */
export const newsIn = (draft, picture) => Object.keys(draft.edits).filter(key => !picture.reasons[key.startsWith('fault.') ? key.split('.').slice(0, 2).join('.') : sectionOf(key)] && !equal(picture.values[key], draft.edits[key]));

/** The objects that a draft makes, for those clusters and kinds where it changes something. */
export function changes(draft, pictures) {
  const made = [];
  for (const picture of pictures) for (const kind of KINDS) {
    const keys = newsIn(draft, picture).filter(key => SECTIONS[sectionOf(key)] === kind), item = picture.items[kind];
    if (keys.length === 0 || !item) continue;
    const object = kind === 'VirtualService' ? writeRules(item.object, draft.edits, picture.own, item.namespace) : writePolicy(item.object, draft.edits);
    if (JSON.stringify(object) === JSON.stringify(item.object)) continue;
    made.push({ cluster: picture.cluster, ref: `${kind}/${item.namespace}/${item.name}`, object, resource_version: item.resource_version, keys });
  }
  return made;
}

/** Rules that someone else changed since the draft began: `cluster/Kind/namespace/name`. */
export const overtaken = (draft, pictures) => pictures.flatMap(picture => KINDS.flatMap(kind => {
  const start = draft.base[`${picture.cluster}/${kind}`], now = picture.live[kind];
  return start && now && now.name === start.name && now.resource_version !== start.resource_version ? [`${picture.cluster}/${kind}/${now.namespace}/${now.name}`] : [];
}));

/** The draft on top of the rules as they are now. Values that hold already are no edits any more. */
export function rebase(draft, live) {
  let fresh = { ...draft, edits: {}, base: {} };
  for (const [key, value] of Object.entries(draft.edits)) fresh = edit(fresh, live, key, value);
  return fresh;
}

/** What the form shows for a key: the edit, else what is live, else what the part proposes. */
export const shown = (draft, picture, key) => (key in draft.edits ? draft.edits[key] : picture.values[key] ?? PROPOSED[key] ?? null);

/** A draft from storage, or an empty one. */
export function fromText(text) {
  try {
    const { target, edits, base } = JSON.parse(text);
    if (!['both', ...CLUSTERS].includes(target) || typeof edits !== 'object' || typeof base !== 'object') return emptyDraft();
    return { target, edits: edits ?? {}, base: base ?? {} };
  } catch { return emptyDraft(); }
}
