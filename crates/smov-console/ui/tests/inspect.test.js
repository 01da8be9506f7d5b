import assert from 'node:assert/strict';
import { test } from 'node:test';

import { odds, tally } from '../inspect/again.js';
import { compareCalls } from '../inspect/compare.js';
import { headline } from '../inspect/headline.js';
import { endpoints, shareRuler, splitRuler, steps } from '../inspect/steps.js';
import { calls, mainCall, ruleNumber, workloadOf } from '../inspect/story.js';
import { SLACK, rows, statusOf, verdict } from '../inspect/trace.js';
import { layout, spans } from '../inspect/waterfall.js';
import { compare, parseHeaders } from '../inspect/whatif.js';
import { lineOf } from '../inspect/yaml.js';
import english from '../i18n/inspect.en.js';
import korean from '../i18n/inspect.ko.js';

// ---------------------------------------------------------------- records as proxies write them

const origin = (n, name = '') => ({ resource: { kind: 'VirtualService', namespace: 'theater-msa', name: 'movie-service-vs', resource_version: '94' }, path: `spec.http[${n}]`, name });
const GATEWAY = 'api-gateway-84694cfbbc-gpq4n', MOVIE = 'movie-service-ctx2-6b54f8c6d6-h9bs9', INGRESS = 'cp-gateway-5cfb979b8b-lsp8h';
const attempt = more => ({ endpoint: '127.1.2.3:8082', pod: MOVIE, kube_cluster: 'ctx2', status: 200, flags: '-', reason: null, started: 161, duration: 8239, ejected: [], priority: 0, hash: null, ...more });
const splitDraw = { purpose: 'split', position: 87, total: 100, range: [30, 100], outcome: 'ctx2' };
const outbound = more => ({
  request_id: 'r', proxy: GATEWAY, cluster_of_proxy: 'ctx1', direction: 'outbound', started: 1_000_000, method: 'GET', authority: 'movie-service:8082', path: '/movies/', headers: [['x-canary', null]], snapshot: { epoch: 1, number: 5 },
  virtual_host: 'movie-service.theater-msa.svc.cluster.local:8082', rule: { index: 1, entry: 0, origin: origin(1, 'split') },
  skipped: [{ index: 0, origin: origin(0, 'canary'), mismatches: [{ on: 'header', name: 'x-canary', wanted: '= true', found: null }] }],
  draws: [splitDraw], cluster: 'outbound|8082|ctx2|movie-service.theater-msa.svc.cluster.local', attempts: [attempt()], mirrors: [], cors: null, injected_delay: 0,
  peer: { pod: MOVIE, workload: 'movie-service-ctx2', kube_cluster: 'ctx2' }, security: 'mutual_tls', peer_principal: 'spiffe://cluster.local/ns/theater-msa/sa/movie-service', status: 200, flags: '-', duration: 8432,
  phases: [['accept', 0], ['route', 3], ['split', 3], ['fault', 3], ['attempt', 3], ['limit', 3], ['balance', 3], ['connect', 176], ['observe', 8460]], source: 'recorded', ...more,
});
const inbound = more => ({ ...outbound(), proxy: MOVIE, cluster_of_proxy: 'ctx2', direction: 'inbound', started: 1_004_000, virtual_host: null, rule: null, skipped: [], draws: [], headers: [], cluster: null, attempts: [attempt({ endpoint: null, pod: null, kube_cluster: null, started: 20, duration: 2601 })], peer: { pod: GATEWAY, workload: 'api-gateway', kube_cluster: 'ctx1' }, peer_principal: 'spiffe://cluster.local/ns/theater-msa/sa/api-gateway', duration: 2640, phases: [['accept', 0], ['peer', 0], ['authorize', 0], ['forward', 20], ['observe', 2665]], ...more });
const ingress = () => outbound({ proxy: INGRESS, direction: 'ingress', started: 990_000, cluster: 'outbound|8080||api-gateway.theater-msa.svc.cluster.local', draws: [], skipped: [], attempts: [attempt({ pod: GATEWAY, kube_cluster: 'ctx1', endpoint: '127.1.1.3:8080', duration: 25_000 })], duration: 25_000, phases: [['accept', 0], ['observe', 25_100]] });
const aborted = () => outbound({ draws: [splitDraw, { purpose: 'faultAbort', position: 120_000, total: 1_000_000, range: [0, 300_000], outcome: 'abort' }], attempts: [], status: 500, flags: 'FI', peer: null, phases: [['accept', 0], ['route', 3], ['split', 3], ['fault', 3], ['observe', 40]] });

const explanation = more => ({ snapshot: { epoch: 1, number: 5 }, chances: [{ percent: 30, end: { kind: 'cluster', cluster: 'outbound|8082|ctx1|m', kubeClusters: ['ctx1'] } }, { percent: 70, end: { kind: 'cluster', cluster: 'outbound|8082|ctx2|m', kubeClusters: ['ctx2'] } }], mtls: [],
  explanation: { virtualHost: 'm:8082', rule: { index: 1, entry: 0, origin: origin(1, 'split') }, skipped: [], outcome: { kind: 'forward', odds: [arm('ctx1', 30, '127.1.1.5:8082'), arm('ctx2', 70, '127.1.2.3:8082', '127.1.2.4:8082')] }, policy: { timeout: null, retry: null, fault: null, mirrors: [], ...more } } });
const arm = (subset, weight, ...addresses) => ({ cluster: `outbound|8082|${subset}|movie-service.theater-msa.svc.cluster.local`, weight, total: 100, endpoints: addresses.map(address => ({ address, pod: `movie-service-${subset}-a-b`, kubeCluster: subset, ejected: address.endsWith('4:8082') })), policy: { loadBalancer: 'ROUND_ROBIN', outlier: null, limits: { max_connections: 4294967295, max_pending_requests: 1, max_requests: 4294967295 } } });

const step = (list, name) => list.find(one => one.name === name);

// ---------------------------------------------------------------- story and headline

test('records become calls, each with the record of the proxy that answered', () => {
  const list = calls([inbound(), ingress(), outbound()]);
  assert.deepEqual(list.map(({ out, inbound: callees }) => [workloadOf(out.proxy), callees.map(one => workloadOf(one.proxy))]), [['cp-gateway', []], ['api-gateway', ['movie-service-ctx2']]]);
  assert.equal(mainCall(list, { svc: 'movie' }), 1);
  assert.deepEqual(calls([inbound()]).map(({ out }) => out), [null]);
});

test('rules are counted as people count', () => assert.deepEqual([ruleNumber(origin(1)), ruleNumber({ path: '' })], [2, null]));

test('the headline says rule, draw and range of the record, and the cluster that answered', () => {
  const { where, question, parts } = headline({ out: outbound(), inbound: [inbound()] });
  assert.equal(where, 'ctx2');
  assert.deepEqual(question, { key: 'inspect.head.why', values: { where: 'ctx2' } });
  assert.deepEqual(parts.map(part => part.key), ['inspect.head.nocanary', 'inspect.head.draw']);
  assert.deepEqual(parts[1].values, { where: 'ctx2', from: 30, to: 99, last: 99, position: 87 });
});

test('a request that an abort ended went nowhere, and its draw is not told', () => {
  const { where, parts } = headline({ out: aborted(), inbound: [] });
  assert.equal(where, null);
  assert.deepEqual(parts.map(part => part.key), ['inspect.head.nocanary', 'inspect.head.abort']);
});

test('delays, retries and flags are told', () => {
  const keys = more => headline({ out: outbound(more), inbound: [] }).parts.map(part => part.key.slice('inspect.head.'.length));
  assert.deepEqual(keys({ injected_delay: 3_000_000, flags: 'DI' }), ['nocanary', 'draw', 'delay']);
  assert.deepEqual(keys({ attempts: [attempt({ status: 503 }), attempt()] }), ['nocanary', 'draw', 'retried']);
  assert.deepEqual(keys({ attempts: [attempt({ endpoint: null, pod: null, kube_cluster: null, status: 0 })], flags: 'UH', status: 503, peer: null }), ['nocanary', 'draw', 'flag.UH']);
  assert.deepEqual(keys({ rule: null, draws: [], cluster: null, attempts: [], status: 404, flags: 'NR' }), ['norule', 'flag.NR']);
  assert.deepEqual(keys({ draws: [{ ...splitDraw, position: null }], source: 'computed' }), ['nocanary', 'range']);
});

test('every key of steps and headlines is in the dictionaries', () => {
  const records = [outbound(), aborted(), outbound({ flags: 'UO', attempts: [], status: 503 }), outbound({ flags: 'UF,URX', attempts: [attempt({ status: 0 }), attempt({ status: 0 })] }), outbound({ rule: null, virtual_host: null, cluster: null, draws: [], attempts: [] }), outbound({ security: 'none' })];
  for (const out of records) for (const now of [null, explanation({ retry: { attempts: 2, on: { any_5xx: true, status_codes: [] } }, timeout: { secs: 1, nanos: 5e8 }, fault: {} })]) {
    const found = [...steps({ out, inbound: [inbound()] }, now).flatMap(one => [one.outcome, ...one.lines]), ...headline({ out, inbound: [] }).parts, headline({ out, inbound: [] }).question];
    for (const { key } of found) if (key) assert.ok(key in korean && key in english, key);
    for (const one of steps({ out, inbound: [] }, now)) for (const key of [`inspect.step.${one.name}`, `inspect.state.${one.state}`]) assert.ok(key in korean, key);
  }
});

test('a policy of the receiver that refuses is named, and the request came to no app', () => {
  const rule = { resource: { kind: 'AuthorizationPolicy', namespace: 'theater-msa', name: 'lock', resource_version: '9' }, path: 'spec.rules[0]', name: '' };
  const told = decision => ({ decision: { rule: null, policies: [], ...decision }, audit: null, dryRun: null });
  const call = decision => ({ out: outbound({ status: 403, attempts: [attempt({ status: 403 })] }), inbound: [inbound({ status: 403, attempts: [], authorization: told(decision) })] });
  const denied = call({ verdict: 'denied', rule });
  assert.equal(headline(denied).where, null);
  assert.deepEqual(headline(denied).parts.at(-1), { key: 'inspect.head.denied', values: { policy: 'lock', status: 403 } });
  const list = steps(denied);
  assert.deepEqual([step(list, 'authorize').state, step(list, 'authorize').outcome.text, step(list, 'forward').state, step(list, 'authorize').link.ref], ['failed', 'DENY', 'skipped', 'AuthorizationPolicy/theater-msa/lock']);
  assert.equal(headline(call({ verdict: 'notAllowed', policies: [rule.resource] })).parts.at(-1).key, 'inspect.head.notallowed');
  const open = call({ verdict: 'allowed', rule });
  assert.deepEqual([headline(open).where, step(steps(open), 'authorize').state], ['ctx2', 'applied']);
});

test('a pod whose app is gone answered by its proxy only', () => {
  const call = { out: outbound({ status: 503, attempts: [attempt({ status: 503 })] }), inbound: [inbound({ status: 503, flags: 'UF', attempts: [attempt({ endpoint: null, pod: null, kube_cluster: null, status: 0 })] })] };
  assert.deepEqual([headline(call).where, headline(call).parts.at(-1).key], [null, 'inspect.head.appgone']);
});

// ---------------------------------------------------------------- steps

test('steps stand in the order in which the data plane takes them', () => {
  const list = steps({ out: outbound(), inbound: [inbound()] });
  assert.deepEqual(list.map(one => one.name), ['route', 'split', 'fault', 'attempt', 'limit', 'balance', 'connect', 'peer', 'authorize', 'forward', 'observe']);
  assert.deepEqual(list.map(one => one.state), ['applied', 'applied', 'none', 'skipped', 'applied', 'applied', 'applied', 'applied', 'none', 'applied', 'applied']);
});

test("an aborted request's weight step is not used, and what came after is not come to", () => {
  const list = steps({ out: aborted(), inbound: [] }, explanation());
  assert.deepEqual([step(list, 'split').state, step(list, 'split').outcome.key], ['skipped', 'inspect.line.notused']);
  assert.deepEqual([step(list, 'fault').state, step(list, 'fault').tone], ['applied', 'err']);
  assert.deepEqual(['attempt', 'limit', 'balance', 'connect', 'forward'].map(name => step(list, name).state), ['skipped', 'skipped', 'skipped', 'skipped', 'skipped']);
});

test('a fault on a route leaves retries and timeouts on, and the step says so', () => {
  const retry = { attempts: 2, on: { connect_failure: true, refused_stream: true, any_5xx: false, status_codes: [503] } };
  const list = steps({ out: outbound(), inbound: [] }, explanation({ retry, fault: { delay: [300000, { secs: 3, nanos: 0 }] } }));
  const lines = step(list, 'attempt').lines;
  assert.ok(lines.some(line => line.key === 'inspect.line.retry.withfault' && line.computed));
  assert.equal(lines.find(line => line.key === 'inspect.line.retry.policy').values.on, 'connect-failure, refused-stream, 503');
});

test('what is worked out is marked, what is recorded is not', () => {
  const list = steps({ out: outbound(), inbound: [inbound()] }, explanation());
  assert.ok(step(list, 'limit').lines.every(line => line.computed));
  assert.ok(step(list, 'split').lines.every(line => !line.computed) && !step(list, 'split').computed);
  assert.ok(steps({ out: outbound({ source: 'computed' }), inbound: [] }).every(one => one.computed));
});

test('endpoints: the one chosen, those passed over, and those that the proxy has now', () => {
  const list = endpoints(outbound({ attempts: [attempt({ ejected: ['127.1.2.9:8082'] })] }), explanation());
  assert.deepEqual(list.map(one => [one.address, Boolean(one.picked), Boolean(one.ejected), Boolean(one.computed), one.ejectedNow ?? null]), [['127.1.2.9:8082', false, true, false, null], ['127.1.2.3:8082', true, false, false, false], ['127.1.2.4:8082', false, false, true, true]]);
});

// ---------------------------------------------------------------- rulers

test('a ruler has all arms where the configuration still fits the draw, else only what the record says', () => {
  const named = splitRuler(splitDraw, explanation().explanation.outcome.odds);
  assert.deepEqual(named.segments.map(one => [one.from, one.to, one.label, one.hit, one.tone]), [[0, 30, 'ctx1', false, 'ctx1'], [30, 100, 'ctx2', true, 'ctx2']]);
  const changed = splitRuler({ ...splitDraw, range: [50, 100] }, explanation().explanation.outcome.odds);
  assert.deepEqual(changed.segments.map(one => one.label), [null, 'ctx2']);
  assert.ok(named.at >= 30 && named.at < 100);
});

test('a fault ruler is in percent, hit or missed', () => {
  const hit = shareRuler({ purpose: 'faultDelay', position: 128_000, total: 1_000_000, range: [0, 300_000], outcome: 'delay' });
  assert.deepEqual([hit.at, hit.segments.map(one => [one.from, one.to, one.hit])], [12.8, [[0, 30, true], [30, 100, false]]]);
  const missed = shareRuler({ purpose: 'faultDelay', position: 900_000, total: 1_000_000, range: [300_000, 1_000_000], outcome: 'pass' });
  assert.deepEqual([missed.at, missed.segments.map(one => one.hit)], [90, [false, true]]);
});

// ---------------------------------------------------------------- waterfall

test('bars lie on one clock and an injected delay is a bar of its own', () => {
  const all = spans([ingress(), outbound({ injected_delay: 3_000_000, duration: 3_008_000, phases: [['accept', 0], ['fault', 3], ['observe', 3_008_500]] }), inbound({ started: 4_004_000 })]);
  assert.equal(all.total, 3_018_500);
  assert.deepEqual(all.spans.map(span => span.kind), ['proxy', 'proxy', 'delay', 'proxy', 'app']);
  const real = layout(all, false), folded = layout(all, true);
  const share = placed => placed.bars.find(bar => bar.kind === 'delay').width;
  assert.ok(share(real) > 95 && share(folded) < 15, `${share(real)} ${share(folded)}`);
  for (const placed of [real, folded]) for (const bar of placed.bars) assert.ok(bar.left >= 0 && bar.left + bar.width <= 100.5, JSON.stringify(bar));
});

test('clocks that differ are told', () => {
  assert.equal(spans([outbound(), inbound()]).skewed, false);
  assert.equal(spans([outbound(), inbound({ started: 999_000 })]).skewed, true);
});

// ---------------------------------------------------------------- tools

test('requests that were sent again are held against the odds', () => {
  const ids = Array.from({ length: 10 }, (_, i) => `a${i}`), rows = ids.slice(0, 8).map((id, i) => ({ id, cluster: i < 2 ? 'ctx1' : 'ctx2' }));
  const sum = tally(ids, [...rows, { id: 'other', cluster: 'ctx1' }], explanation().chances);
  assert.deepEqual([sum.done, sum.missing, sum.lines.map(line => line.count)], [8, 2, [2, 6, 0]]);
  assert.deepEqual(sum.lines[1].range, [3, 8]);
  assert.equal(sum.lines[1].inside, true);
  assert.equal(odds([{ percent: 100, end: { kind: 'cluster', cluster: 'a', kubeClusters: ['ctx1', 'ctx2'] } }]), null);
  assert.equal(tally(ids, rows, null).lines[0].inside, null);
});

test('two requests are held side by side, and only what was decided counts', () => {
  const other = outbound({ draws: [{ ...splitDraw, position: 3, range: [0, 30], outcome: 'ctx1' }], duration: 99, started: 5 });
  const rows = compareCalls({ out: outbound(), inbound: [inbound()] }, { out: other, inbound: [] });
  assert.deepEqual(rows.filter(row => !row.same).map(row => row.name), ['split', 'peer', 'authorize', 'forward']);
  assert.ok(compareCalls({ out: outbound(), inbound: [] }, { out: outbound({ duration: 1 }), inbound: [] }).every(row => row.same));
});

test('what if compares decision by decision', () => {
  const before = explanation(), after = explanation({ fault: { abort: [500_000, { http: 503 }], delay: null } });
  const changed = compare(before, after).filter(row => row.changed);
  assert.deepEqual(changed.map(row => [row.key, row.before, row.after]), [['abort', '–', '50 % · 503']]);
  assert.deepEqual(parseHeaders('X-Canary: true\n\n a:b '), { headers: { 'x-canary': 'true', a: 'b' }, bad: null });
  assert.equal(parseHeaders('no colon').bad, 'no colon');
});

test('a field is found in YAML as the API writes it', () => {
  const yaml = ['apiVersion: networking.istio.io/v1', 'kind: VirtualService', 'spec:', '  hosts:', '  - movie-service', '  http:', '  - match:', '    - headers:', '        x-canary:', '          exact: "true"', '    name: canary', '  - name: split', '    route:', '    - destination:', '        host: a', '      weight: 30', '    - destination:', '        host: b', '      weight: 70'].join('\n');
  assert.deepEqual(['spec.http', 'spec.http[0]', 'spec.http[1]', 'spec.http[1].route[1]', 'spec.http[1].route[1].weight', 'spec.http[1].timeout', 'spec.tls'].map(path => lineOf(yaml, path)), [6, 7, 12, 17, 19, 12, 3]);
  assert.equal(lineOf('', 'spec'), null);
});

// ---------------------------------------------------------------- traces

const traced = (id, parentId, start, duration, more = {}) => ({ id, ...(parentId ? { parentId } : {}), start, duration, kind: 'server', name: id, service: `${id}-service.t`, cluster: 'ctx1', tags: { component: 'proxy' }, ...more });

test('spans are a tree: children below their parent by start, bars on one scale', () => {
  const told = rows([traced('c', 'a', 1_600, 400, { cluster: 'ctx2', kind: 'client' }), traced('b', 'a', 1_100, 300), traced('a', null, 1_000, 1_000), traced('d', 'b', 1_200, 100, { tags: { component: 'store' }, kind: 'client' })]);
  assert.deepEqual(told.rows.map(row => [row.span.id, row.depth, row.from, row.left, row.width]), [['a', 0, 0, 0, 100], ['b', 1, 100, 10, 30], ['d', 2, 200, 20, 10], ['c', 1, 600, 60, 40]]);
  assert.deepEqual([told.total, told.orphans, told.roots], [1_000, 0, 1]);
  assert.deepEqual(told.rows.map(row => [row.role, row.service, row.cluster]).at(2), ['store.client', 'd-service', 'ctx1']);
});

test('a span whose parent is not known is an orphan with its own children; a ring of parents ends', () => {
  const told = rows([traced('a', null, 0, 9), traced('x', 'lost', 4, 3), traced('y', 'x', 5, 1)]);
  assert.deepEqual(told.rows.map(row => [row.span.id, row.depth, row.orphan]), [['a', 0, false], ['x', 0, true], ['y', 1, false]]);
  assert.deepEqual([told.orphans, told.roots, rows([traced('y', 'x', 5, 1)]).roots], [1, 1, 0]);
  assert.deepEqual(rows([traced('p', 'q', 0, 2), traced('q', 'p', 1, 1)]).rows.map(row => [row.span.id, row.depth, row.orphan]), [['p', 0, true], ['q', 1, false]]);
  assert.deepEqual(rows([]).rows, []);
  assert.ok(rows([traced('z', null, 7, 0)]).rows[0].width > 0);
});

test('a status is what the span tells', () => {
  const of = tags => statusOf({ tags });
  assert.deepEqual([of({ 'http.status_code': '503', response_flags: 'UF' }), of({ 'http.status_code': '200', response_flags: '-' }), of({ error: 'true' }), of({})], ['503 UF', '200', 'error', null]);
});

test('not sampled is told apart from not kept and from not asked', () => {
  const first = { cluster_of_proxy: 'ctx1', started: 10 * SLACK }, none = { traces: [], unasked: [], kept_since: { ctx1: SLACK } };
  assert.equal(verdict(none, first), 'unsampled');
  assert.equal(verdict({ ...none, kept_since: { ctx1: 10 * SLACK } }, first), 'unknown');
  assert.equal(verdict({ ...none, kept_since: { ctx2: 0 } }, first), 'unknown');
  assert.equal(verdict(none, null), 'unknown');
  assert.equal(verdict({ ...none, unasked: [{ cluster: 'ctx2', reason: 'away' }] }, first), 'unasked');
  assert.equal(verdict({ ...none, traces: [{}], unasked: [{}] }, first), 'traced');
});

test('every role and kind of a span has a word in both languages', () => {
  for (const kind of ['client', 'server', 'internal']) for (const component of [undefined, 'proxy', 'app', 'store', 'other']) {
    const [row] = rows([traced('a', null, 0, 1, { kind, tags: { component } })]).rows;
    for (const key of [`inspect.tr.role.${row.role}`, `inspect.tr.kind.${kind}`]) assert.ok(key in korean && key in english, key);
  }
});
