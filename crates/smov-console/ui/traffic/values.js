// Values as Istio writes them: durations, percentages, counts. No DOM, no words: a problem is a code that the dictionaries explain.

const UNITS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** Milliseconds of `3s`, `1.5s`, `1m30s`, `250ms`; null for anything that Istio does not take (no unit, finer than a millisecond, nothing at all). */
export function milliseconds(text) {
  if (typeof text !== 'string' || !/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(text)) return null;
  let sum = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|h|m|s)/g)) sum += Number(amount) * UNITS[unit];
  const whole = Math.round(sum);
  return Math.abs(sum - whole) < 1e-6 ? whole : null;
}

/** `3s`, `2.5s`, `250ms`: the shortest that says the same. */
export function durationText(ms) { return ms % 1000 === 0 || ms > 1000 ? `${ms / 1000}s` : `${ms}ms`; }

/** What is wrong with a duration that must be at least a millisecond; null for nothing. */
export function durationProblem(text) {
  const ms = milliseconds(String(text).trim());
  if (ms === null) return 'duration';
  return ms < 1 ? 'duration.zero' : null;
}

/** What is wrong with a percentage: 0, or 0.0001 to 100 in steps of a ten-thousandth. */
export function percentProblem(value) {
  const number = numberOf(value);
  if (number === null || number < 0 || number > 100) return 'percent';
  return Math.abs(number * 10_000 - Math.round(number * 10_000)) > 1e-6 ? 'percent.fine' : null;
}

/** What is wrong with a count between `low` and `high`. */
export function countProblem(value, low = 0, high = 4_294_967_295) {
  const number = numberOf(value);
  return number === null || !Number.isInteger(number) || number < low || number > high ? 'count' : null;
}

/** The number in what someone typed; null when it is none. */
export function numberOf(value) {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  const text = String(value ?? '').trim();
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : null;
}

/** What is wrong with the name of a header: lower case, as HTTP/2 has it. */
export function headerProblem(name) { return /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) ? null : 'header'; }

/** Conditions that Istio knows for retries, next to plain status codes. */
export const RETRY_ON = ['5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'envoy-ratelimited', 'retriable-4xx', 'refused-stream', 'retriable-status-codes', 'retriable-headers', 'http3-post-connect-failure', 'cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'];

/** What is wrong with a `retryOn` list: no spaces, only known conditions and status codes. */
export function retryOnProblem(text) {
  if (/\s/.test(text)) return 'retryon.space';
  return text.split(',').every(part => RETRY_ON.includes(part) || /^[1-5]\d\d$/.test(part)) ? null : 'retryon';
}
