// The steps of one call, in the order in which the data plane took them: `applied`, `skipped`, `none` (not configured), `failed`, `unknown` (nobody has a
// record). What is recorded and what is worked out from the configuration of now is told apart by `computed`. No DOM.

import { arrivedAt, calleeOf, clusterLabel, has, isComputed, isDenied, phaseAt, refOf, ruleNumber } from './story.js';

const ORDER = ['admit', 'route', 'split', 'fault', 'cors', 'attempt', 'limit', 'balance', 'connect', 'peer', 'authorize', 'forward', 'mirror', 'observe'];
const line = (key, values = {}, computed = false) => ({ key: `inspect.line.${key}`, values, computed });
/** Limits without a limit, as the model writes them. */
const UNLIMITED = 4_294_967_295;

/** Durations come as `{secs, nanos}`; in milliseconds. */
export const milliseconds = value => (value === null || value === undefined ? null : typeof value === 'number' ? value : value.secs * 1000 + value.nanos / 1e6);
/** A share in millionths as percent, without needless digits. */
export const percentOf = (part, whole) => Number(((part / whole) * 100).toFixed(4));

/** The rule of an explanation is the one that the record has, as it was then. */
const sameSnapshot = (out, now) => Boolean(now?.snapshot) && now.snapshot.epoch === out.snapshot.epoch && now.snapshot.number === out.snapshot.number;

/** The arms of a split as segments of its ruler. The record knows the range that was hit; the others' names are in the configuration. */
export function splitRuler(draw, odds) {
  let at = 0;
  const arms = (odds ?? []).map(one => { const from = at; at += one.weight; return { from, to: at, label: clusterLabel(one.cluster) }; });
  const fits = at === draw.total && arms.some(arm => arm.from === draw.range[0] && arm.to === draw.range[1] && arm.label === draw.outcome);
  const [from, to] = draw.range;
  const own = [from > 0 && { from: 0, to: from, label: null }, { from, to, label: draw.outcome }, to < draw.total && { from: to, to: draw.total, label: null }].filter(Boolean);
  const segments = (fits ? arms : own).filter(arm => arm.to > arm.from).map(arm => ({ ...arm, hit: arm.from === from && arm.to === to, tone: /ctx1|ctx2/.exec(arm.label ?? '')?.[0] ?? 'other' }));
  return { total: draw.total, at: draw.position, segments };
}

/** A percentage as a ruler: what is hit, and the rest. */
export function shareRuler(draw) {
  const hit = draw.outcome !== 'pass', edge = hit ? draw.range[1] : draw.range[0];
  const scale = value => percentOf(value, draw.total);
  const segments = [{ from: 0, to: scale(edge), label: draw.purpose === 'faultAbort' ? 'abort' : 'delay', hit, tone: draw.purpose === 'faultAbort' ? 'err' : 'warn' }];
  if (edge < draw.total) segments.push({ from: scale(edge), to: 100, label: null, hit: !hit, tone: 'rest' });
  return { total: 100, at: draw.position === null ? null : scale(draw.position), segments };
}

function route(out) {
  const lines = out.skipped.map(rule => line('skipped', { rule: ruleNumber(rule.origin) ?? rule.index + 1, mismatches: rule.mismatches }));
  const headers = (out.headers ?? []).map(([name, value]) => ({ name, value }));
  if (!out.virtual_host) return { state: 'failed', outcome: line('unknownhost'), lines: [line('unknownhost.why', { host: out.authority })], headers };
  if (!out.rule) return { state: 'failed', outcome: line('norule'), lines, headers };
  const { origin } = out.rule, number = ruleNumber(origin);
  const outcome = number === null ? line('default') : origin.name ? line('rule.named', { n: number, name: origin.name }) : line('rule', { n: number });
  return { state: 'applied', outcome, lines, headers, link: origin.resource.name && number !== null ? { ref: refOf(origin), path: origin.path, label: `${origin.resource.name} · ${origin.path}` } : null };
}

function split(out, now) {
  const draw = out.draws.find(({ purpose }) => purpose === 'split'), aborted = has(out, 'FI');
  if (!out.rule) return { state: 'skipped', outcome: line('notcome'), lines: [] };
  const odds = now?.explanation?.outcome?.odds;
  const ruler = draw ? splitRuler(draw, odds) : null;
  if (aborted) return { state: 'skipped', outcome: line('notused'), lines: [line('split.aborted')], ruler };
  if (!draw) return { state: 'none', outcome: line('single', { where: clusterLabel(out.cluster) }), lines: [line(out.cluster ? 'split.single' : 'split.nowhere')] };
  return { state: 'applied', outcome: { text: draw.outcome, cluster: draw.outcome }, ruler, lines: [line(draw.position === null ? 'split.range' : 'split.draw', { position: draw.position, from: draw.range[0], to: draw.range[1] - 1, where: draw.outcome, total: draw.total }, draw.position === null)] };
}

function fault(out) {
  const draws = out.draws.filter(({ purpose }) => purpose === 'faultDelay' || purpose === 'faultAbort');
  const delayed = out.injected_delay > 0, aborted = has(out, 'FI');
  if (draws.length === 0 && !delayed && !aborted) return { state: out.rule ? 'none' : 'skipped', outcome: line(out.rule ? 'notset' : 'notcome'), lines: [] };
  const lines = draws.map(draw => { const share = percentOf(draw.outcome === 'pass' ? draw.range[0] : draw.range[1], draw.total); return line(`fault.${draw.purpose === 'faultAbort' ? 'abort' : 'delay'}.${draw.outcome === 'pass' ? 'missed' : 'hit'}`, { at: draw.position === null ? '?' : percentOf(draw.position, draw.total), share, time: out.injected_delay / 1000, status: out.status }, draw.position === null); });
  const outcome = aborted ? line('fault.aborted', { status: out.status }) : delayed ? line('fault.delayed', { time: out.injected_delay / 1000 }) : line('fault.missed');
  return { state: delayed || aborted ? 'applied' : 'skipped', tone: aborted ? 'err' : delayed ? 'warn' : '', outcome, lines, rulers: draws.map(shareRuler) };
}

function attempt(out, now) {
  const policy = now?.explanation?.policy, lines = [];
  if (policy) {
    const timeout = milliseconds(policy.timeout), retry = policy.retry;
    lines.push(timeout === null ? line('timeout.none', {}, true) : line('timeout', { time: timeout }, true));
    lines.push(retry ? line('retry.policy', { n: retry.attempts, on: retryWords(retry.on) }, true) : line('retry.none', {}, true));
    if (policy.fault && retry) lines.push(line('retry.withfault', {}, true));
  }
  const tries = out.attempts.length;
  const table = out.attempts.map((one, index) => ({ n: index + 1, pod: one.pod, endpoint: one.endpoint, cluster: one.kube_cluster, status: one.status, flags: one.flags, reason: one.reason, ms: one.duration / 1000, at: one.started / 1000, used: index === tries - 1 }));
  if (has(out, 'FI')) return { state: 'skipped', outcome: line('notused'), lines: [line('retry.aborted'), ...lines] };
  if (tries === 0) return { state: 'skipped', outcome: line('notcome'), lines };
  if (has(out, 'UT') || has(out, 'URX')) return { state: 'failed', outcome: line(has(out, 'UT') ? 'timedout' : 'exhausted', { n: tries }), lines, attempts: table };
  if (tries > 1) return { state: 'applied', outcome: line('retried', { n: tries - 1 }), lines: [line('retry.took', { n: tries, status: out.status }), ...lines], attempts: table };
  return { state: policy && !policy.retry ? 'none' : 'skipped', outcome: line('notused'), lines: [line('retry.first', { status: out.attempts[0].status || '–' }), ...lines], attempts: table };
}

/** The words of Istio's `retryOn` for a policy's conditions. */
export function retryWords(on) {
  if (!on) return '–';
  const words = Object.entries(on).filter(([, value]) => value === true).map(([name]) => (name === 'any_5xx' ? '5xx' : name.replaceAll('_', '-')));
  return [...words, ...(on.status_codes ?? [])].join(', ') || '–';
}

const armOf = (out, now) => now?.explanation?.outcome?.odds?.find(one => one.cluster === out.cluster) ?? null;

function limit(out, now) {
  const limits = armOf(out, now)?.policy?.limits;
  const values = limits && Object.fromEntries(['max_connections', 'max_pending_requests', 'max_requests'].map(name => [name, limits[name]]));
  const bound = values ? Object.entries(values).filter(([, value]) => value < UNLIMITED) : [];
  const lines = values ? [bound.length > 0 ? line('limits', { list: bound.map(([name, value]) => `${name} ${value}`).join(', ') }, true) : line('limits.none', {}, true)] : [];
  if (has(out, 'UO')) return { state: 'failed', outcome: line('limit.over'), lines };
  if (phaseAt(out, 'limit') === null && out.attempts.length === 0) return { state: 'skipped', outcome: line('notcome'), lines };
  return { state: values && bound.length === 0 ? 'none' : 'applied', outcome: line(values && bound.length === 0 ? 'notset' : 'limit.fine'), lines };
}

/** The endpoints of the call: those that the record names, and the others that the caller's proxy has now (worked out). */
export function endpoints(out, now) {
  const found = new Map();
  const last = out.attempts.at(-1);
  for (const one of out.attempts) {
    for (const address of one.ejected) if (!found.has(address)) found.set(address, { address, ejected: true });
    if (one.endpoint) found.set(one.endpoint, { address: one.endpoint, pod: one.pod, cluster: one.kube_cluster, picked: one === last, tried: true });
  }
  for (const candidate of armOf(out, now)?.endpoints ?? []) {
    const known = found.get(candidate.address);
    if (known) { known.pod ??= candidate.pod; known.cluster ??= candidate.kubeCluster; known.ejectedNow = candidate.ejected; }
    else found.set(candidate.address, { address: candidate.address, pod: candidate.pod, cluster: candidate.kubeCluster, ejectedNow: candidate.ejected, computed: true });
  }
  return [...found.values()];
}

function balance(out, now) {
  const arm = armOf(out, now), list = endpoints(out, now), lines = [];
  const algorithm = arm?.policy?.loadBalancer;
  const name = typeof algorithm === 'string' ? algorithm : algorithm ? Object.keys(algorithm)[0] : null;
  const ejected = out.attempts.flatMap(one => one.ejected);
  if (ejected.length > 0) lines.push(line('ejected', { n: new Set(ejected).size }));
  if (arm?.policy) lines.push(arm.policy.outlier ? line('outlier', { n: arm.policy.outlier.consecutive_5xx, time: milliseconds(arm.policy.outlier.base_ejection_time) }, true) : line('outlier.none', {}, true));
  if (has(out, 'UH')) return { state: 'failed', outcome: line('balance.none'), lines, endpoints: list };
  const last = out.attempts.at(-1);
  if (!last?.endpoint) return { state: 'skipped', outcome: line('notcome'), lines, endpoints: [] };
  const draws = out.draws.filter(({ purpose }) => purpose === 'balanceFirst' || purpose === 'balanceSecond');
  if (draws.length > 0) lines.unshift(line('balance.candidates', { list: draws.map(draw => `${draw.outcome.split('-').at(-1)}(${draw.position ?? '?'}/${draw.total})`).join(' · ') }));
  return { state: 'applied', outcome: name ? { text: name, computed: true } : line('balance.chosen'), lines, endpoints: list };
}

function connect(out, now) {
  const last = out.attempts.at(-1);
  if (!last?.endpoint) return { state: 'skipped', outcome: line('notcome'), lines: [] };
  const told = now?.mtls?.find(one => one.cluster === out.cluster);
  const identities = { from: told?.identity ?? null, to: out.peer_principal };
  const lines = [];
  const server = told?.servers?.find(one => one.address === last.endpoint);
  if (server?.mode) lines.push(server.origin ? line('mtls.mode', { mode: server.mode, by: `${server.origin.resource.kind} ${server.origin.resource.name}` }, true) : line('mtls.default', { mode: server.mode }, true));
  if (has(out, 'UF') || has(out, 'UC')) return { state: 'failed', outcome: line('connect.failed'), lines: [...(last.reason ? [line('reason', { reason: last.reason })] : []), ...lines], identities };
  if (out.security === 'mutual_tls') return { state: 'applied', outcome: line('mtls'), lines, identities };
  return out.security === 'none' ? { state: 'none', outcome: line('plaintext'), lines: [line('plaintext.why'), ...lines] } : { state: 'unknown', outcome: line('mtls.unknown'), lines };
}

const nameOf = origin => `${origin.resource.name} ${origin.path}`.trim();

/** What the AuthorizationPolicies of a proxy said. */
function authorize(record) {
  const told = record.authorization;
  if (!told) return { state: 'none', outcome: line('notset'), lines: [line('authorize.none')] };
  const { verdict, rule, policies } = told.decision, lines = [];
  if (rule) lines.push(line(verdict === 'denied' ? 'authorize.denied' : 'authorize.allowed', { rule: nameOf(rule) }));
  else if (verdict === 'notAllowed') lines.push(line('authorize.notallowed', { list: (policies ?? []).map(one => one.name).join(', ') || '–' }));
  else if (verdict === 'open') lines.push(line('authorize.open'));
  if (told.audit) lines.push(line('authorize.audit', { rule: nameOf(told.audit) }));
  if (told.dryRun) lines.push(line(`authorize.dryrun.${told.dryRun.verdict === 'denied' || told.dryRun.verdict === 'notAllowed' ? 'no' : 'yes'}`, { rule: told.dryRun.rule ? nameOf(told.dryRun.rule) : '–' }));
  const refused = isDenied(record);
  const link = rule?.resource.name ? { ref: refOf(rule), path: rule.path, label: nameOf(rule) } : null;
  return { state: refused ? 'failed' : 'applied', outcome: { text: refused ? 'DENY' : 'ALLOW' }, lines, link };
}

function inboundSteps(call, out) {
  const last = out.attempts.at(-1), record = calleeOf(call);
  if (!last?.endpoint) return ['peer', 'authorize', 'forward'].map(name => ({ name, state: 'skipped', outcome: line('notcome'), lines: [] }));
  if (!record) return [{ name: 'peer', state: 'unknown', outcome: line('norecord'), lines: [line('norecord.why', { pod: last.pod ?? last.endpoint })] }];
  const at = record.proxy, computed = isComputed(record);
  const peer = { name: 'peer', at, computed, state: record.peer_principal ? 'applied' : 'none', outcome: record.peer_principal ? line('peer.known') : line('peer.none'), lines: record.peer ? [line('peer', { pod: record.peer.pod, cluster: record.peer.kube_cluster })] : [], identities: record.peer_principal ? { from: record.peer_principal, to: null } : null };
  const app = record.attempts.at(-1), failed = record.flags !== '-';
  const forward = isDenied(record)
    ? { state: 'skipped', outcome: line('notcome'), lines: [line('forward.denied')] }
    : { state: failed ? 'failed' : 'applied', outcome: failed ? { text: `${record.status} ${record.flags}` } : { text: String(app?.status ?? record.status) }, lines: [line(failed ? 'forward.failed' : 'forward', { time: (app?.duration ?? record.duration) / 1000 })], flags: failed ? record.flags : null };
  return [peer, { name: 'authorize', at, computed, ...authorize(record) }, { name: 'forward', at, computed, ...forward }];
}

function observe(call, out) {
  const where = arrivedAt(call), callee = calleeOf(call);
  const bad = out.status === 0 || out.status >= 500;
  const said = where ? line('answered', { time: out.duration / 1000, where }) : line(callee ? 'answered.callee' : 'answered.proxy', { time: out.duration / 1000 });
  return { state: bad ? 'failed' : 'applied', outcome: out.status === 0 ? line('noanswer') : { text: String(out.status) }, lines: [said], flags: out.flags };
}

/** All steps of a call; `now` is what was worked out for the same request (`POST /api/v1/explain`), or null. */
export function steps(call, now = null) {
  const { out } = call;
  const common = { route: route(out), split: split(out, now), fault: fault(out), attempt: attempt(out, now), limit: limit(out, now), balance: balance(out, now), connect: connect(out, now), observe: observe(call, out) };
  if (out.authorization) common.admit = authorize(out);
  if (out.cors) common.cors = { state: 'applied', outcome: { text: String(out.cors) }, lines: [] };
  const mirrors = now?.explanation?.policy?.mirrors ?? [];
  if (out.mirrors.length > 0) common.mirror = { state: 'applied', outcome: line('mirrored', { n: out.mirrors.length }), lines: out.mirrors.map(name => line('mirror', { where: clusterLabel(name) })) };
  else if (mirrors.length > 0) common.mirror = { state: 'skipped', outcome: line('mirror.missed'), lines: [] };
  const list = [...Object.entries(common).map(([name, step]) => ({ name, ...step })), ...inboundSteps(call, out)];
  return list.sort((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name)).map(step => ({ at: out.proxy, computed: isComputed(out), ...step }));
}

/** Has the configuration changed since the request? Then what is worked out now may differ from what acted then. */
export const isOutdated = (out, now) => Boolean(now) && !sameSnapshot(out, now);
