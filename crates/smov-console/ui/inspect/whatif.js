// What a decision would be, as rows that can be compared: before and after a change of headers or YAML. No DOM.

import { clusterLabel, ruleNumber } from './story.js';
import { milliseconds, percentOf, retryWords } from './steps.js';

const ms = value => (value === null ? '–' : value >= 1000 ? `${Number((value / 1000).toFixed(3))} s` : `${Number(value.toFixed(3))} ms`);
const share = percent => `${Number(percent.toFixed(4))} %`;

/** An end of a request: `ctx2`, `503 UH`, `passthrough`. */
export function endLabel(end) {
  if (end.kind === 'cluster') return clusterLabel(end.cluster);
  if (end.kind === 'status') return `${end.status}${end.flag ? ` ${end.flag}` : ''}`;
  return 'passthrough';
}

/** The decisions of one explanation in the order of the walk, as texts without a language: `[key, text]`. */
export function decisions(told) {
  const { explanation, chances } = told, policy = explanation.policy;
  const rule = explanation.rule?.origin, number = ruleNumber(rule);
  const odds = explanation.outcome.odds ?? [];
  const fault = policy?.fault;
  const millionths = value => percentOf(value, 1_000_000);
  return [
    ['host', explanation.virtualHost ?? '–'],
    ['rule', rule ? (number === null ? '–' : `${rule.resource.name} ${rule.path}${rule.name ? ` (${rule.name})` : ''}`) : '–'],
    ['split', odds.length > 0 ? odds.map(one => `${clusterLabel(one.cluster)} ${share((100 * one.weight) / Math.max(1, one.total))}`).join(' · ') : explanation.outcome.kind],
    ['delay', fault?.delay ? `${share(millionths(fault.delay[0]))} · ${ms(milliseconds(fault.delay[1]))}` : '–'],
    ['abort', fault?.abort ? `${share(millionths(fault.abort[0]))} · ${Object.values(fault.abort[1])[0]}` : '–'],
    ['timeout', ms(milliseconds(policy?.timeout))],
    ['retries', policy?.retry ? `${policy.retry.attempts} · ${retryWords(policy.retry.on)}` : '–'],
    ['mirror', (policy?.mirrors ?? []).map(one => `${clusterLabel(one.cluster)} ${share(millionths(one.share))}`).join(' · ') || '–'],
    ['endpoints', odds.map(one => `${clusterLabel(one.cluster)} ${one.endpoints ? one.endpoints.length : '✕'}`).join(' · ') || '–'],
    ['ends', chances.map(({ percent, end }) => `${endLabel(end)} ${share(percent)}`).join(' · ')],
  ];
}

/** Rows `{ key, before, after, changed }`. */
export function compare(before, after) {
  const old = new Map(decisions(before));
  return decisions(after).map(([key, text]) => ({ key, before: old.get(key), after: text, changed: old.get(key) !== text }));
}

/** `Name: value` lines to an object; `{ headers, bad }` with the first line that is none. */
export function parseHeaders(text) {
  const headers = {};
  for (const line of text.split('\n').map(one => one.trim()).filter(Boolean)) {
    const cut = line.indexOf(':');
    if (cut <= 0 || /[^\w!#$%&'*+.^`|~-]/.test(line.slice(0, cut))) return { headers, bad: line };
    headers[line.slice(0, cut).toLowerCase()] = line.slice(cut + 1).trim();
  }
  return { headers, bad: null };
}
