// Writes changed values of the form into a copy of a VirtualService, and touches nothing else in it. No DOM.

import { FAULT_RULES, PROPOSED } from './sections.js';
import { readRules } from './rules.js';

const CLUSTERS = ['ctx1', 'ctx2'];

/** A copy of `object` with `edits` in it. Values of a part that cannot be shown as a form are left out. `host` is how the rules call the service. */
export function writeRules(object, edits, own, namespace) {
  const copy = structuredClone(object);
  const { values, reasons, at } = readRules(object, own, namespace);
  const rules = copy.spec?.http ?? [];
  const rule = rules[at.default] ?? null;
  const changed = key => key in edits && edits[key] !== values[key];
  const value = key => (key in edits ? edits[key] : values[key] ?? PROPOSED[key]);
  const any = prefix => Object.keys(edits).some(key => key.startsWith(prefix) && changed(key));
  const host = hostIn(object, rule);
  let canary = at.canary >= 0 ? rules[at.canary] : null;
  if (!reasons.canary && any('canary.')) canary = writeCanary(rules, canary, rule, host, changed, value);
  if (!reasons.weight && changed('weight.ctx1')) writeWeight(rule, Number(edits['weight.ctx1']));
  for (const name of FAULT_RULES) {
    const target = name === 'default' ? rule : canary;
    if (target && !reasons[`fault.${name}`]) for (const kind of ['delay', 'abort']) if (any(`fault.${name}.${kind}.`)) writeFault(target, kind, key => changed(`fault.${name}.${kind}.${key}`), key => value(`fault.${name}.${kind}.${key}`));
  }
  if (!reasons.retry) writeRetry(rule, changed, value, any);
  if (!reasons.mirror && any('mirror.')) writeMirror(rule, host, changed, value);
  return copy;
}

/** How the rules call the service: as the default rule does, else as `hosts` does. */
function hostIn(object, rule) {
  return rule?.route?.[0]?.destination?.host ?? object.spec?.hosts?.[0];
}

function writeWeight(rule, share) {
  for (const [subset, weight] of [[CLUSTERS[0], share], [CLUSTERS[1], 100 - share]]) {
    const found = rule.route.find(one => one.destination.subset === subset);
    if (found) found.weight = weight;
    else if (weight > 0) rule.route.push({ destination: { ...rule.route[0].destination, subset }, weight });
  }
}

function writeCanary(rules, canary, rule, host, changed, value) {
  if (value('canary.on') !== true) {
    if (canary) rules.splice(rules.indexOf(canary), 1);
    return null;
  }
  const test = () => ({ [value('canary.header')]: { [value('canary.kind')]: value('canary.value') } });
  if (!canary) {
    const named = rule?.name && !rules.some(one => one.name === 'canary') ? { name: 'canary' } : {};
    const made = { ...named, match: [{ headers: test() }], route: [{ destination: { host, subset: value('canary.target') } }] };
    rules.unshift(made);
    return made;
  }
  if (['header', 'kind', 'value'].some(key => changed(`canary.${key}`))) canary.match[0].headers = test();
  if (changed('canary.target')) canary.route[0].destination.subset = value('canary.target');
  return canary;
}

function writeFault(rule, kind, changed, value) {
  if (value('on') !== true) {
    if (!rule.fault) return;
    delete rule.fault[kind];
    if (Object.keys(rule.fault).length === 0) delete rule.fault;
    return;
  }
  rule.fault ??= {};
  const fresh = !rule.fault[kind];
  const part = (rule.fault[kind] ??= {});
  if (fresh || changed('percent')) part.percentage = { ...part.percentage, value: Number(value('percent')) };
  if (kind === 'delay' && (fresh || changed('time'))) part.fixedDelay = String(value('time'));
  if (kind === 'abort' && (fresh || changed('status'))) part.httpStatus = Number(value('status'));
}

function writeRetry(rule, changed, value, any) {
  if (changed('timeout.value')) { if (value('timeout.value')) rule.timeout = value('timeout.value'); else delete rule.timeout; }
  if (!any('retry.')) return;
  const mode = value('retry.mode');
  if (mode === 'istio') { delete rule.retries; return; }
  if (mode === 'off') { rule.retries = { attempts: 0 }; return; }
  const fresh = changed('retry.mode');
  const retries = (rule.retries ??= {});
  if (fresh || changed('retry.attempts')) retries.attempts = Number(value('retry.attempts'));
  for (const [key, field] of [['retry.perTry', 'perTryTimeout'], ['retry.on', 'retryOn']]) {
    if (!fresh && !changed(key)) continue;
    if (value(key)) retries[field] = value(key); else delete retries[field];
  }
}

/** `ctx2` is a subset of the service itself, `other/v1` another host's. */
function destinationOf(target, host, subsets) {
  const cut = target.indexOf('/');
  if (cut > 0) return { host: target.slice(0, cut), subset: target.slice(cut + 1) };
  return subsets.includes(target) ? { host, subset: target } : target ? { host: target } : { host };
}

function writeMirror(rule, host, changed, value) {
  if (value('mirror.on') !== true) { delete rule.mirror; delete rule.mirrorPercentage; return; }
  const fresh = !rule.mirror;
  if (fresh || changed('mirror.target')) rule.mirror = destinationOf(value('mirror.target') || CLUSTERS[1], host, [...CLUSTERS, ...(rule.route ?? []).map(one => one.destination?.subset)]);
  if (fresh || changed('mirror.percent')) rule.mirrorPercentage = { ...rule.mirrorPercentage, value: Number(value('mirror.percent')) };
}
