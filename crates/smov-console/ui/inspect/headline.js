// Why did it go there? One sentence, put together from the same records that the steps show, by a template per language. No DOM.

import { arrivedAt, calleeOf, clusterLabel, clusterParts, has, isComputed, isDenied, ruleNumber } from './story.js';

const part = (key, values = {}) => ({ key: `inspect.head.${key}`, values });
/** Flags that say by themselves why no pod's answer came back. */
const ENDS = ['NR', 'NC', 'UH', 'UO', 'UT', 'UF', 'UC', 'DC'];

function rulePart(out) {
  if (!out.virtual_host) return part('unknownhost', { host: out.authority });
  if (!out.rule) return part('norule', { host: out.authority });
  const number = ruleNumber(out.rule.origin);
  if (number === null) return part('default', { host: clusterParts(out.cluster).service || out.authority });
  if (out.skipped.length === 0) return part('first', { rule: number });
  const header = out.skipped.flatMap(rule => rule.mismatches).find(mismatch => mismatch.on === 'header');
  if (out.skipped.length === 1 && header?.found === null) return part(header.name === 'x-canary' ? 'nocanary' : 'noheader', { header: header.name, rule: number });
  return part('skipped', { n: out.skipped.length, rule: number });
}

function splitPart(out) {
  const draw = out.draws.find(({ purpose }) => purpose === 'split');
  if (!draw) return out.cluster ? part('single', { where: clusterLabel(out.cluster) }) : null;
  const values = { where: draw.outcome, from: draw.range[0], to: draw.range[1] - 1, last: draw.total - 1 };
  return draw.position === null ? part('range', values) : part('draw', { ...values, position: draw.position });
}

function deniedPart(record) {
  const { verdict, rule } = record.authorization.decision;
  return rule && verdict === 'denied' ? part('denied', { policy: rule.resource.name, status: record.status }) : part(verdict === 'denied' ? 'denied.unsaid' : 'notallowed', { status: record.status });
}

/**
 * The headline of a call: the question, and the parts of the answer, each a key of the dictionary with its values. `where` is the cluster whose pod answered.
 */
export function headline(call, time = value => value) {
  const { out } = call, where = arrivedAt(call), aborted = has(out, 'FI'), callee = calleeOf(call);
  if (isDenied(out)) return { where: null, question: part('why.not'), parts: [deniedPart(out)], computed: isComputed(out) };
  const parts = [rulePart(out)];
  if (!aborted && out.rule) parts.push(splitPart(out));
  if (out.injected_delay > 0) parts.push(part('delay', { time: time(out.injected_delay / 1000) }));
  if (aborted) parts.push(part('abort', { status: out.status }));
  const flag = ENDS.find(name => has(out, name));
  if (out.attempts.length > 1) parts.push(part(has(out, 'URX') ? 'exhausted' : 'retried', { n: out.attempts.length, more: out.attempts.length - 1, status: out.status }));
  if (isDenied(callee)) parts.push(deniedPart(callee));
  else if (flag) parts.push(part(`flag.${flag}`, { status: out.status }));
  else if (where && out.status >= 500) parts.push(part('failed', { status: out.status, where }));
  else if (!where && callee && callee.flags !== '-') parts.push(part('appgone', { status: out.status, flag: callee.flags }));
  const question = where ? part('why', { where }) : part('why.not');
  return { where, question, parts: parts.filter(Boolean), computed: isComputed(out) };
}
