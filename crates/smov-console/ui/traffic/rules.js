// Reads a VirtualService as the form sees it. What the form cannot say is named with a reason, and then nothing of it is ever written. No DOM.

import { FAULT_RULES } from './sections.js';
import { fullName } from './find.js';

const CLUSTERS = ['ctx1', 'ctx2'];
const HARMLESS = new Set(['name', 'statPrefix', 'ignoreUriCase']);

/** Whether an entry of `match` takes every request. */
function takesAll(entry) {
  return Object.entries(entry ?? {}).every(([key, value]) => HARMLESS.has(key) || (key === 'uri' && (value?.prefix === '/' || value?.regex === '.*')));
}

/** Whether a rule takes every request: no condition, or one that holds for all. Rules behind it are never reached. */
export const isCatchAll = rule => !rule.match || rule.match.length === 0 || rule.match.some(takesAll);

const conditions = entry => Object.keys(entry ?? {}).filter(key => key !== 'name' && key !== 'statPrefix');
/** Whether a rule looks at headers only: what a canary rule does. */
const looksAtHeaders = rule => (rule.match ?? []).some(entry => { const keys = conditions(entry); return keys.length > 0 && keys.every(key => key === 'headers'); });

/** Places of the rules that the form is about; -1 for none. */
export function places(object) {
  const rules = object.spec?.http ?? [];
  const last = rules.findIndex(isCatchAll);
  const before = last < 0 ? rules : rules.slice(0, last);
  return { default: last, canary: before.findIndex(looksAtHeaders), canaries: before.filter(looksAtHeaders).length, total: rules.length, unreached: last < 0 ? 0 : rules.length - last - 1 };
}

const nowhere = rule => ['redirect', 'directResponse', 'delegate'].find(key => rule[key]);

/** The values of a VirtualService, and per part the reason why it cannot be shown as a form. `own` is the service's full name. */
export function readRules(object, own, namespace) {
  const values = {}, reasons = {}, at = places(object), rules = object.spec?.http ?? [];
  const refuse = (part, code, data = {}) => { reasons[part] = { code, data }; };
  const isOwn = host => fullName(host ?? '', namespace) === own;
  const rule = rules[at.default] ?? null, odd = rule && nowhere(rule);
  const missing = rules.length === 0 ? ['no-http', {}] : !rule ? ['no-default', {}] : null;
  for (const part of ['weight', 'fault.default', 'retry', 'mirror']) if (missing) refuse(part, ...missing); else if (odd) refuse(part, 'elsewhere', { field: odd });
  if (rules.length === 0) refuse('canary', 'no-http');
  if (!reasons.weight) readWeight(rule, values, isOwn, (code, data) => refuse('weight', code, data));
  if (!reasons.retry) readRetry(rule, values);
  if (!reasons.mirror) readMirror(rule, values, isOwn, (code, data) => refuse('mirror', code, data));
  if (!reasons.canary) readCanary(rules, at, values, isOwn, (code, data) => refuse('canary', code, data));
  const of = { default: reasons['fault.default'] ? null : rule, canary: reasons.canary || at.canary < 0 ? null : rules[at.canary] };
  for (const name of FAULT_RULES) if (of[name]) readFault(name, of[name], values, (code, data) => refuse(`fault.${name}`, code, data));
  if (reasons.canary) refuse('fault.canary', reasons.canary.code, reasons.canary.data);
  return { values, reasons, at, weights: reasons.weight ? null : weightsOf(rule) };
}

/** Shares of ctx1 and ctx2 as they are written, for showing. */
const weightsOf = rule => CLUSTERS.map(subset => { const found = (rule.route ?? []).find(one => one.destination?.subset === subset); return found ? (rule.route.length === 1 ? 100 : found.weight ?? 0) : 0; });

function readWeight(rule, values, isOwn, refuse) {
  const routes = rule.route ?? [];
  if (routes.length === 0) { refuse('no-route'); return; }
  const foreign = routes.find(one => !isOwn(one.destination?.host));
  if (foreign) { refuse('other-host', { host: foreign.destination?.host ?? '?' }); return; }
  const subsets = routes.map(one => one.destination.subset ?? '–');
  if (subsets.some(name => !CLUSTERS.includes(name)) || new Set(subsets).size !== subsets.length) { refuse('other-subsets', { names: subsets.join(', ') }); return; }
  const [first, second] = weightsOf(rule);
  if (first + second === 0) { refuse('no-weight'); return; }
  const rounded = Math.round((first / (first + second)) * 100);
  values['weight.ctx1'] = Math.min(second > 0 ? 99 : 100, Math.max(first > 0 ? 1 : 0, rounded));
}

function readCanary(rules, at, values, isOwn, refuse) {
  values['canary.on'] = at.canary >= 0;
  if (at.canary < 0) return;
  if (at.canaries > 1) { refuse('several-rules', { n: at.canaries }); return; }
  const rule = rules[at.canary], place = at.canary + 1, odd = nowhere(rule);
  if (odd) { refuse('elsewhere', { field: odd }); return; }
  if (rule.match.length !== 1) { refuse('several-conditions', { place }); return; }
  const headers = Object.entries(rule.match[0].headers);
  if (headers.length !== 1) { refuse('several-headers', { place }); return; }
  const [[header, test]] = headers, kinds = Object.keys(test ?? {});
  if (kinds.length !== 1 || !['exact', 'prefix'].includes(kinds[0]) || typeof test[kinds[0]] !== 'string') { refuse('header-test', { header, test: kinds.join(', ') || '{}' }); return; }
  if ((rule.route ?? []).length !== 1) { refuse('several-targets', { place }); return; }
  const { destination } = rule.route[0];
  if (!isOwn(destination?.host)) { refuse('other-host', { host: destination?.host ?? '?' }); return; }
  if (!destination.subset) { refuse('no-subset', { place }); return; }
  Object.assign(values, { 'canary.header': header, 'canary.kind': kinds[0], 'canary.value': test[kinds[0]], 'canary.target': destination.subset });
}

const shareOf = part => part.percentage?.value ?? 0;

function readFault(name, rule, values, refuse) {
  const { delay, abort } = rule.fault ?? {};
  const odd = Object.keys(delay ?? {}).find(key => !['percentage', 'fixedDelay'].includes(key)) ?? Object.keys(abort ?? {}).find(key => !['percentage', 'httpStatus'].includes(key));
  if (odd) { refuse('fault-field', { field: odd }); return; }
  values[`fault.${name}.delay.on`] = Boolean(delay);
  values[`fault.${name}.abort.on`] = Boolean(abort);
  if (delay) Object.assign(values, { [`fault.${name}.delay.time`]: delay.fixedDelay ?? '', [`fault.${name}.delay.percent`]: shareOf(delay) });
  if (abort) Object.assign(values, { [`fault.${name}.abort.status`]: abort.httpStatus ?? null, [`fault.${name}.abort.percent`]: shareOf(abort) });
}

function readRetry(rule, values) {
  const { retries } = rule;
  values['timeout.value'] = rule.timeout ?? '';
  values['retry.mode'] = !retries ? 'istio' : (retries.attempts ?? 0) === 0 ? 'off' : 'custom';
  if (values['retry.mode'] === 'custom') Object.assign(values, { 'retry.attempts': retries.attempts, 'retry.perTry': retries.perTryTimeout ?? '', 'retry.on': retries.retryOn ?? '' });
}

function readMirror(rule, values, isOwn, refuse) {
  const odd = ['mirrors', 'mirrorPercent', 'mirror_percent'].find(key => rule[key] !== undefined);
  if (odd) { refuse('mirror-field', { field: odd }); return; }
  values['mirror.on'] = Boolean(rule.mirror);
  if (!rule.mirror) return;
  const { host, subset } = rule.mirror;
  values['mirror.target'] = isOwn(host) ? subset ?? '' : subset ? `${host}/${subset}` : host;
  values['mirror.percent'] = rule.mirrorPercentage?.value ?? 100;
}
