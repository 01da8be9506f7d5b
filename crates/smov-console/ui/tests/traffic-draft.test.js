import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changes, edit, emptyDraft, fromText, newsIn, overtaken, readCluster, rebase, withoutSection } from '../traffic/draft.js';
import { ejectable, ejectionTimes, ejectionWarnings, endpointStates, sightingOf } from '../traffic/ejection.js';
import { clusterOfSubset, destinationRules, steering, virtualServices } from '../traffic/find.js';
import { Form } from '../traffic/form.js';
import { readPolicy, writePolicy } from '../traffic/policy.js';
import { counted, judge, predictions } from '../traffic/predict.js';
import { typed, problemOf } from '../traffic/validate.js';
import { durationProblem, milliseconds, percentProblem, retryOnProblem } from '../traffic/values.js';

const NAMESPACE = 'theater-msa', HOST = 'user-service';
const item = (cluster, object, version = '7', created = '2026-01-01T00:00:00Z') => ({ cluster, kind: object.kind, namespace: object.metadata.namespace, name: object.metadata.name, resource_version: version, created, yaml: '', object });
const vs = (first, second, name = 'user-service-vs') => ({ kind: 'VirtualService', metadata: { name, namespace: NAMESPACE }, spec: { hosts: [HOST], http: [{ route: [{ destination: { host: HOST, subset: 'ctx1' }, weight: first }, { destination: { host: HOST, subset: 'ctx2' }, weight: second }] }] } });
const dr = (policy, more = {}, name = 'user-service-dr') => ({ kind: 'DestinationRule', metadata: { name, namespace: NAMESPACE }, spec: { host: HOST, ...(policy ? { trafficPolicy: policy } : {}), subsets: [{ name: 'ctx1', labels: { cluster: 'ctx1' } }, { name: 'ctx2', labels: { cluster: 'ctx2' } }], ...more } });
const round = { loadBalancer: { simple: 'ROUND_ROBIN' } };
const world = (first = vs(70, 30), second = vs(70, 30), policy = round) => [item('ctx1', first), item('ctx2', second), item('ctx1', dr(policy)), item('ctx2', dr(policy))];
const pictures = resources => ['ctx1', 'ctx2'].map(cluster => readCluster(resources, cluster, HOST));

// ---------------------------------------------------------------- values

test('durations as Istio takes them', () => {
  assert.deepEqual(['3s', '1.5s', '250ms', '1m30s', '1h'].map(milliseconds), [3000, 1500, 250, 90_000, 3_600_000]);
  assert.deepEqual(['3', '', 's', '1.5ms', '-1s', '3 s', null].map(milliseconds), Array(7).fill(null));
  assert.equal(durationProblem('0s'), 'duration.zero');
  assert.equal(durationProblem('3'), 'duration');
});

test('percentages and retry conditions', () => {
  assert.deepEqual([0, 30, 0.0001, 100].map(percentProblem), [null, null, null, null]);
  assert.deepEqual([-1, 101, 'x', ''].map(percentProblem), Array(4).fill('percent'));
  assert.equal(percentProblem('0.00001'), 'percent.fine');
  assert.equal(retryOnProblem('5xx,reset,503'), null);
  assert.equal(retryOnProblem('5xx, reset'), 'retryon.space');
  assert.equal(retryOnProblem('5xx,often'), 'retryon');
});

test('what was typed stays as it is when it is no number', () => {
  assert.equal(typed('pool.maxConnections', ' 12 '), 12);
  assert.equal(typed('pool.maxConnections', '12x'), '12x');
  assert.equal(typed('pool.maxConnections', ''), null);
  assert.equal(typed('canary.value', '5'), '5');
  assert.equal(problemOf('fault.default.abort.status', 99, () => true), 'status');
  assert.equal(problemOf('fault.default.abort.status', 99, () => false), null, 'switched off');
});

// ---------------------------------------------------------------- which rules hold

test('the oldest VirtualService owns a host; one of a gateway does not count', () => {
  const gateway = { ...vs(1, 1, 'door'), spec: { ...vs(1, 1).spec, gateways: ['istio-system/theater'] } };
  const found = virtualServices([item('ctx1', vs(1, 1, 'b'), '1', '2026-01-02T00:00:00Z'), item('ctx1', vs(1, 1, 'a'), '1', '2026-01-03T00:00:00Z'), item('ctx1', gateway, '1', '2025-01-01T00:00:00Z'), item('ctx2', vs(1, 1, 'c'))], 'ctx1', HOST, NAMESPACE);
  assert.deepEqual(found.map(one => one.name), ['b', 'a']);
});

test('the policy that holds is that of the first DestinationRule that has one, subsets are united', () => {
  const rules = destinationRules([item('ctx1', dr(null, { subsets: [{ name: 'ctx1', labels: { cluster: 'ctx1' } }] }, 'old')), item('ctx1', dr(round, {}, 'young'), '1', '2026-05-01T00:00:00Z')], 'ctx1', HOST, NAMESPACE);
  assert.equal(steering(rules).name, 'young');
  assert.equal(clusterOfSubset(rules, 'ctx2'), 'ctx2');
  assert.equal(clusterOfSubset(rules, 'v9'), null);
});

// ---------------------------------------------------------------- DestinationRule

const broken = { ...round, connectionPool: { tcp: { maxConnections: 8, tcpKeepalive: { time: '60s' } }, http: { http2MaxRequests: 50 } }, outlierDetection: { consecutive5xxErrors: 2, interval: '20s', baseEjectionTime: '20s', maxEjectionPercent: 70 } };

test('a policy read and written back is the same', () => {
  for (const object of [dr(round), dr(broken), dr(null), dr({ outlierDetection: {} })]) {
    assert.deepEqual(writePolicy(object, {}), object);
    assert.deepEqual(writePolicy(object, readPolicy(object).values), object);
  }
});

test('a limit changes one field; emptied it takes its block along', () => {
  assert.deepEqual(writePolicy(dr(broken), { 'pool.maxConnections': 3 }).spec.trafficPolicy.connectionPool.tcp, { maxConnections: 3, tcpKeepalive: { time: '60s' } });
  assert.deepEqual(writePolicy(dr(broken), { 'pool.http2MaxRequests': null }).spec.trafficPolicy.connectionPool, { tcp: broken.connectionPool.tcp });
  assert.deepEqual(writePolicy(dr(round), { 'pool.maxConnections': '4' }).spec.trafficPolicy, { ...round, connectionPool: { tcp: { maxConnections: 4 } } });
  assert.equal(writePolicy(dr({ connectionPool: { tcp: { maxConnections: 1 } } }), { 'pool.maxConnections': '' }).spec.trafficPolicy, undefined, 'Istio refuses an empty policy');
});

test('outlier detection goes on with a proposal, and off as a whole', () => {
  assert.deepEqual(writePolicy(dr(round), { 'outlier.on': true }).spec.trafficPolicy, { ...round, outlierDetection: { consecutive5xxErrors: 2, interval: '5s', baseEjectionTime: '20s', maxEjectionPercent: 100 } });
  assert.deepEqual(writePolicy(dr(broken), { 'outlier.on': false }).spec.trafficPolicy, { loadBalancer: round.loadBalancer, connectionPool: broken.connectionPool });
  assert.deepEqual(writePolicy(dr(broken), { 'outlier.maxEjectionPercent': 100 }).spec.trafficPolicy.outlierDetection, { ...broken.outlierDetection, maxEjectionPercent: 100 });
});

test('a policy that something narrower replaces has no form and is not written', () => {
  const narrow = dr(broken, { subsets: [{ name: 'ctx1', labels: {}, trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }] });
  assert.equal(readPolicy(narrow).reasons.pool.code, 'subset-block');
  assert.equal(readPolicy(narrow).reasons.outlier, undefined);
  assert.deepEqual(writePolicy(narrow, { 'pool.maxConnections': 99 }), narrow);
  const ports = dr({ ...broken, portLevelSettings: [{ port: { number: 80 } }] });
  assert.equal(readPolicy(ports).reasons.outlier.code, 'port-level');
  assert.deepEqual(writePolicy(ports, { 'outlier.on': false }), ports);
});

// ---------------------------------------------------------------- drafts

test('a draft changes both clusters, each on its own copy', () => {
  const live = pictures(world(vs(70, 30), vs(1, 1)));
  const draft = edit(emptyDraft(), live, 'weight.ctx1', 50);
  const made = changes(draft, live);
  assert.deepEqual(made.map(change => [change.cluster, change.ref, change.resource_version]), [['ctx1', 'VirtualService/theater-msa/user-service-vs', '7']], 'ctx2 says 50 already');
  assert.deepEqual(made[0].object.spec.http[0].route.map(route => route.weight), [50, 50]);
  assert.deepEqual(newsIn(draft, live[1]), []);
  assert.deepEqual(edit(draft, live, 'weight.ctx1', 70).edits, { 'weight.ctx1': 70 }, 'that is news in ctx2');
});

test('going back to what is live leaves no draft', () => {
  const live = pictures(world());
  const draft = edit(edit(emptyDraft(), live, 'weight.ctx1', 50), live, 'weight.ctx1', 70);
  assert.deepEqual(draft, emptyDraft());
  assert.deepEqual(withoutSection(edit(emptyDraft(), live, 'outlier.on', true), 'outlier'), emptyDraft());
});

test('a value put back while the change is being applied is still an edit once the change is live', () => {
  const before = pictures(world()), applying = edit(emptyDraft(), before, 'weight.ctx1', 50);
  const back = edit(applying, before, 'weight.ctx1', 70, true);
  assert.deepEqual(back.edits, { 'weight.ctx1': 70 });
  assert.deepEqual(rebase(back, pictures(world(vs(50, 50), vs(50, 50)))).edits, { 'weight.ctx1': 70 });
  assert.deepEqual(rebase(back, before).edits, {}, 'and none when the change was refused');
});

test('a draft stands on the rules as they were, and knows when they were overtaken', () => {
  const before = world(), draft = edit(emptyDraft(), pictures(before), 'weight.ctx1', 50);
  const after = [item('ctx1', vs(90, 10), '8'), ...before.slice(1)];
  const standing = ['ctx1', 'ctx2'].map(cluster => readCluster(after, cluster, HOST, draft.base));
  assert.equal(changes(draft, standing)[0].resource_version, '7', 'the stale version is sent, so that the server refuses it');
  assert.deepEqual(overtaken(draft, standing), ['ctx1/VirtualService/theater-msa/user-service-vs']);
  const fresh = rebase(draft, pictures(after));
  assert.deepEqual(fresh.edits, { 'weight.ctx1': 50 });
  assert.equal(fresh.base['ctx1/VirtualService'].resource_version, '8');
});

test('a draft from a broken store is an empty one', () => {
  for (const text of ['', 'x', '{}', '{"target":"moon","edits":{},"base":{}}']) assert.deepEqual(fromText(text), emptyDraft());
});

test('the form keeps a draft per service over a reload, and shows where the copies differ', () => {
  const kept = new Map(), storage = { get: key => kept.get(key) ?? null, set: (key, value) => kept.set(key, value) };
  const clusters = [{ name: 'ctx1', reachable: true }, { name: 'ctx2', reachable: true }];
  const form = new Form(storage, () => {});
  form.load({ clusters, resources: world(vs(70, 30), vs(20, 80)) });
  assert.deepEqual(form.differs('weight.ctx1'), { cluster: 'ctx2', value: 20 });
  assert.deepEqual(form.differences(), ['weight.ctx1']);
  form.set('weight.ctx1', 10);
  const again = new Form(storage, () => {});
  again.load({ clusters, resources: world(vs(70, 30), vs(20, 80)) });
  assert.equal(again.get('weight.ctx1'), 10);
  assert.equal(again.changes().length, 2);
  again.aim('ctx2');
  assert.deepEqual(again.changes().map(change => change.cluster), ['ctx2']);
  assert.equal(again.outlook(), null, 'the gateway uses ctx1, so the lamps do not move');
  again.choose('movie');
  assert.equal(Object.keys(again.draft.edits).length, 0);
});

test('what a part proposes is part of the outlook once it is switched on', () => {
  const form = new Form({ get: () => null, set: () => {} }, () => {});
  form.load({ clusters: [{ name: 'ctx1', reachable: true }, { name: 'ctx2', reachable: true }], resources: world() });
  assert.equal(form.outlook().after['retry.attempts'], undefined);
  form.setAll({ 'retry.mode': 'custom', 'fault.default.delay.on': true });
  const { after } = form.outlook();
  assert.deepEqual([after['retry.attempts'], after['fault.default.delay.time'], after['fault.default.abort.status']], [2, '3s', undefined]);
});

test('rules written again without another content overtake nothing', () => {
  const form = new Form({ get: () => null, set: () => {} }, () => {}), clusters = [{ name: 'ctx1', reachable: true }, { name: 'ctx2', reachable: true }];
  form.load({ clusters, resources: world() });
  form.set('weight.ctx1', 10);
  form.load({ clusters, resources: world().map(one => ({ ...one, resource_version: '99' })) });
  assert.deepEqual(form.overtaken(), []);
  assert.equal(form.get('weight.ctx1'), 10);
});

test('what went into one cluster is no edit any more, although the draft aims at both by now', () => {
  const form = new Form({ get: () => null, set: () => {} }, () => {}), clusters = [{ name: 'ctx1', reachable: true }, { name: 'ctx2', reachable: true }];
  form.load({ clusters, resources: world(vs(30, 70), vs(30, 70)) });
  form.aim('ctx2');
  form.setAll({ 'weight.ctx1': 90, 'pool.maxConnections': 5 });
  const { edits: sent } = form.draft;
  form.aim('both');
  form.set('pool.maxConnections', 6);
  form.load({ clusters, resources: world(vs(30, 70), vs(90, 10)) });
  form.landed(sent);
  assert.deepEqual(form.draft.edits, { 'pool.maxConnections': 6 });
  assert.deepEqual(form.differs('weight.ctx1'), { cluster: 'ctx2', value: 90 });
});

test('an unreachable cluster is no target', () => {
  const form = new Form({ get: () => null, set: () => {} }, () => {});
  form.load({ clusters: [{ name: 'ctx1', reachable: true }, { name: 'ctx2', reachable: false }], resources: world().filter(one => one.cluster === 'ctx1') });
  form.set('weight.ctx1', 10);
  assert.deepEqual(form.targets, ['ctx1']);
  assert.equal(form.changes().length, 1);
});

// ---------------------------------------------------------------- predictions

const home = subset => subset;
test('statements about a change, and only about it', () => {
  const before = { 'weight.ctx1': 30, 'fault.default.delay.on': false, 'canary.on': false };
  assert.deepEqual(predictions(before, before, home), []);
  const [share] = predictions(before, { ...before, 'weight.ctx1': 50 }, home);
  assert.deepEqual([share.kind, share.data.lo, share.data.hi], ['share', 40, 60]);
  assert.equal(predictions(before, { ...before, 'weight.ctx1': 0 }, home)[0].id, 'share.none');
  const delayed = predictions(before, { ...before, 'fault.default.delay.on': true, 'fault.default.delay.percent': 30, 'fault.default.delay.time': '3s' }, home);
  assert.deepEqual(delayed.map(one => one.kind), ['share', 'delay'], 'the split is said to stay as it is');
  assert.deepEqual([delayed[1].data.lo, delayed[1].data.hi, delayed[1].data.ms], [21, 39, 3000]);
  const canary = predictions(before, { ...before, 'canary.on': true, 'canary.header': 'x-beta', 'canary.value': 'true', 'canary.target': 'ctx2' }, home)[0];
  assert.equal(canary.checked, false, 'the gateway does not hand this header on');
  assert.deepEqual(predictions(before, { ...before, 'weight.ctx1': 50 }, () => null), [], 'subsets that live nowhere known predict nothing');
});

test('rows are counted as the page counts them', () => {
  const row = (cluster, more = {}) => ({ cluster, canary: false, flags: '-', delay_ms: 0, status: 200, ms: 5, ...more });
  const rows = [row('ctx1'), row('ctx2', { delay_ms: 3000, flags: 'DI' }), row(null, { flags: 'FI', status: 500 }), row('ctx1', { canary: true }), row('ctx2', { flags: null, ms: 3100 })];
  assert.deepEqual(counted({ kind: 'share', data: {} }, rows), [1, 3]);
  assert.deepEqual(counted({ kind: 'delay', data: { ms: 3000 } }, rows), [2, 4]);
  assert.deepEqual(counted({ kind: 'abort', data: { status: 500 } }, rows), [1, 4]);
});

test('a verdict needs twenty requests, except where one is enough', () => {
  assert.equal(judge(0.5, 5, 10), 'waiting');
  assert.equal(judge(0.5, 50, 100), 'ok');
  assert.equal(judge(0.5, 62, 100), 'maybe');
  assert.equal(judge(0.5, 80, 100), 'bad');
  assert.equal(judge(0, 1, 3), 'bad');
  assert.equal(judge(1, 3, 3), 'waiting');
});

// ---------------------------------------------------------------- ejection

test('an ejection lasts base × times, at most 300 s', () => {
  assert.deepEqual(ejectionTimes('30s', 3), [30_000, 60_000, 90_000]);
  assert.deepEqual(ejectionTimes('200s', 3), [200_000, 300_000, 300_000]);
  assert.deepEqual(ejectionTimes('400s', 2), [400_000, 400_000]);
  assert.deepEqual(ejectionTimes('soon'), []);
});

test('who can be ejected: one endpoint needs 100 %, two need 50', () => {
  assert.deepEqual([[1, 70], [1, 100], [2, 49], [2, 50], [3, 33], [3, 34]].map(([n, percent]) => ejectable(n, percent)), [0, 1, 0, 1, 0, 1]);
  const get = values => key => ({ 'outlier.on': true, ...values })[key] ?? null;
  const codes = (values, endpoints, aborts = false) => ejectionWarnings(get(values), [{ name: 'ctx1', endpoints }], aborts).map(one => one.code);
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 70 }, 1), ['never']);
  assert.deepEqual(codes({}, 2), ['never'], 'Istio’s default of 10 % lets no one go');
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 50, 'outlier.minHealthPercent': 60 }, 2), ['panic']);
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 100 }, 1), ['alone']);
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 50 }, 2, true), ['aborts']);
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 50, 'outlier.consecutive5xxErrors': 0 }, 2), ['no-trigger']);
  assert.deepEqual(codes({ 'outlier.maxEjectionPercent': 10 }, null), [], 'unknown is no reason to warn');
  assert.deepEqual(codes({ 'outlier.on': false, 'outlier.maxEjectionPercent': 10 }, 1), []);
});

test('an endpoint is out as long as the mesh said, and unknown where nobody told', () => {
  const pods = [{ name: 'user-a', ip: '127.1.0.5', cluster: 'ctx1' }, { name: 'user-b', ip: '127.1.1.5', cluster: 'ctx2' }];
  const entry = (kind, seconds, caller = 'api-gateway-1') => ({ id: `ejection:${caller}:u:127.1.0.5:8080:${kind}:${seconds}`, at: seconds * 1e6, kind, ref: 'Pod/theater-msa/user-a' });
  const told = { base: '20s', interval: '10s' };
  assert.deepEqual(endpointStates(pods, [entry('ejection', 1)], null, 11e6, told).map(one => [one.state, one.until, one.times, one.caller]), [['ejected', 21e6, 1, 'api-gateway-1'], ['in', null, 0, null]]);
  assert.equal(endpointStates(pods, [entry('ejection', 1)], null, 99e6, told)[0].state, 'ejected', 'until the mesh says that it is back');
  assert.equal(endpointStates(pods, [entry('ejection', 1), entry('uneject', 21)], null, 22e6, told)[0].state, 'in');
  assert.equal(endpointStates(pods, [entry('ejection', 1), entry('uneject', 21), entry('ejection', 25)], null, 26e6, told)[0].until, 65e6, 'the second time in a row lasts twice as long');
  assert.equal(endpointStates(pods, [entry('ejection', 1), entry('uneject', 21), entry('ejection', 45)], null, 46e6, told)[0].until, 65e6, 'after two good intervals it begins anew');
  assert.equal(endpointStates(pods, [entry('ejection', 1, 'booking-9'), entry('ejection', 3)], null, 5e6, told)[0].caller, 'api-gateway-1');
  assert.equal(endpointStates(pods, [{ ...entry('ejection', 1), ref: null }], null, 5e6, told)[0].state, 'ejected', 'known by its address');
  assert.deepEqual(endpointStates(pods, null, null, 0).map(one => one.state), ['unknown', 'unknown']);
  const sighting = sightingOf([{ direction: 'outbound', cluster: 'outbound|8080|ctx1|user-service.theater-msa.svc.cluster.local', started: 5, attempts: [{ kube_cluster: 'ctx1', ejected: ['127.1.0.5:8080'] }] }], 'user-service');
  assert.deepEqual(endpointStates(pods, null, sighting, 9).map(one => [one.state, one.told]), [['ejected', 'record'], ['unknown', 'record']]);
  assert.equal(sightingOf([], 'user-service'), null);
});
