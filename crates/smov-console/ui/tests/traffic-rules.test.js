import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRules, places } from '../traffic/rules.js';
import { writeRules } from '../traffic/rewrite.js';

const OWN = 'movie-service.theater-msa.svc.cluster.local', NAMESPACE = 'theater-msa';
const to = (subset, weight) => ({ destination: { host: 'movie-service', subset }, ...(weight === undefined ? {} : { weight }) });
const canary = (subset = 'ctx2', more = {}) => ({ name: 'canary', match: [{ headers: { 'x-canary': { exact: 'true' } } }], route: [to(subset)], ...more });
const split = (first, second, more = {}) => ({ name: 'split', route: [to('ctx1', first), to('ctx2', second)], ...more });
const rules = (...http) => ({ apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata: { name: 'movie-service-vs', namespace: NAMESPACE, annotations: { kept: 'yes' } }, spec: { hosts: ['movie-service'], http } });
const read = object => readRules(object, OWN, NAMESPACE);
const write = (object, edits) => writeRules(object, edits, OWN, NAMESPACE);
const baseline = rules(canary(), split(30, 70));

/** The baseline, the sample's five practices and the forms that a hand writes. */
const SHAPES = {
  baseline, 'the sample, with a weight on the canary': rules(canary('ctx1', { name: undefined, route: [to('ctx1', 100)] }), { route: [to('ctx1', 30), to('ctx2', 70)] }),
  delay: rules(canary(), split(30, 70, { fault: { delay: { percentage: { value: 30 }, fixedDelay: '3s' } } })),
  abort: rules(canary('ctx1'), split(70, 30, { fault: { abort: { httpStatus: 500, percentage: { value: 30 } } } })),
  block: rules(canary('ctx1'), { route: [to('ctx1', 100)] }), alone: rules({ route: [to('ctx2')] }),
  everything: rules(canary('ctx2', { fault: { delay: { percentage: { value: 5 }, fixedDelay: '1s' } }, headers: { request: { set: { a: 'b' } } } }), { match: [{ uri: { prefix: '/v2' } }], route: [to('ctx1')] }, split(1, 3, { timeout: '5s', retries: { attempts: 3, perTryTimeout: '1s', retryOn: '5xx', backoff: '50ms' }, mirror: { host: 'movie-service', subset: 'ctx2' }, mirrorPercentage: { value: 10 }, corsPolicy: { allowMethods: ['GET'] } })),
  regex: rules({ match: [{ headers: { 'x-canary': { regex: '.*' } } }], route: [to('ctx2')] }, split(50, 50)), two: rules(canary(), canary('ctx1'), split(50, 50)), redirect: rules({ redirect: { uri: '/' } }), tcp: { kind: 'VirtualService', metadata: { namespace: NAMESPACE }, spec: { hosts: ['redis'], tcp: [{ route: [to('ctx2')] }] } }, nothing: { kind: 'VirtualService', spec: {} },
  grpc: rules(split(50, 50, { fault: { abort: { grpcStatus: 'UNAVAILABLE', percentage: { value: 10 } } } })), mirrors: rules(split(50, 50, { mirrors: [{ destination: { host: 'movie-service' } }] })), versions: rules({ route: [to('v1', 90), to('v2', 10)] }), guarded: rules({ match: [{ uri: { prefix: '/movies' } }], route: [to('ctx1')] }),
};

test('reading and writing back without a change is the identity, for every shape', () => {
  for (const [name, object] of Object.entries(SHAPES)) {
    const before = structuredClone(object);
    assert.deepEqual(write(object, {}), object, name);
    assert.deepEqual(write(object, read(object).values), object, name);
    assert.deepEqual(object, before, `${name} itself is untouched`);
  }
});

test('the default rule is the first that takes everything, the canary the header rule before it', () => {
  assert.deepEqual(places(baseline), { default: 1, canary: 0, canaries: 1, total: 2, unreached: 0 });
  assert.deepEqual(places(SHAPES.everything), { default: 2, canary: 0, canaries: 1, total: 3, unreached: 0 });
  assert.equal(places(rules({ match: [{ uri: { prefix: '/' } }], route: [to('ctx1')] }, split(1, 1))).default, 0);
  assert.equal(places(rules(split(1, 1), canary())).unreached, 1, 'a canary behind the default is never reached');
  assert.equal(places(SHAPES.guarded).default, -1);
});

test('the values of the baseline and of the practices', () => {
  const values = read(baseline).values;
  assert.equal(values['weight.ctx1'], 30);
  assert.deepEqual(['on', 'header', 'kind', 'value', 'target'].map(key => values[`canary.${key}`]), [true, 'x-canary', 'exact', 'true', 'ctx2']);
  assert.deepEqual([values['retry.mode'], values['timeout.value'], values['mirror.on'], values['fault.default.delay.on']], ['istio', '', false, false]);
  const delayed = read(SHAPES.delay).values;
  assert.deepEqual([delayed['fault.default.delay.on'], delayed['fault.default.delay.time'], delayed['fault.default.delay.percent'], delayed['fault.default.abort.on']], [true, '3s', 30, false]);
  const aborted = read(SHAPES.abort).values;
  assert.deepEqual([aborted['fault.default.abort.status'], aborted['fault.default.abort.percent']], [500, 30]);
  assert.equal(read(SHAPES.block).values['weight.ctx1'], 100);
  assert.equal(read(SHAPES.alone).values['weight.ctx1'], 0);
  const all = read(SHAPES.everything).values;
  assert.deepEqual([all['weight.ctx1'], all['timeout.value'], all['retry.attempts'], all['retry.perTry'], all['retry.on'], all['mirror.target'], all['mirror.percent'], all['fault.canary.delay.percent']], [25, '5s', 3, '1s', '5xx', 'ctx2', 10, 5]);
});

test('a fault without a percentage is one of 0 %', () => assert.equal(read(rules(split(1, 1, { fault: { delay: { fixedDelay: '2s' } } }))).values['fault.default.delay.percent'], 0));

test('shares that a weight is not empty of never look empty', () => {
  assert.equal(read(rules(split(1, 999))).values['weight.ctx1'], 1);
  assert.equal(read(rules(split(0, 100))).values['weight.ctx1'], 0);
  assert.equal(read(rules(split(undefined, 100))).values['weight.ctx1'], 0, 'a missing weight among several is 0');
});

test('what the form cannot say has a reason', () => {
  const reason = (name, part) => read(SHAPES[name]).reasons[part]?.code;
  assert.equal(reason('regex', 'canary'), 'header-test');
  assert.equal(reason('two', 'canary'), 'several-rules');
  assert.equal(reason('redirect', 'weight'), 'elsewhere');
  assert.equal(reason('tcp', 'weight'), 'no-http');
  assert.equal(reason('nothing', 'retry'), 'no-http');
  assert.equal(reason('grpc', 'fault.default'), 'fault-field');
  assert.equal(reason('mirrors', 'mirror'), 'mirror-field');
  assert.equal(reason('versions', 'weight'), 'other-subsets');
  assert.equal(reason('guarded', 'weight'), 'no-default');
  assert.equal(reason('regex', 'weight'), undefined, 'the other parts stay usable');
  assert.equal(read(rules(split(0, 0))).reasons.weight.code, 'no-weight');
  assert.equal(read(rules({ route: [{ destination: { host: 'other' }, weight: 1 }] })).reasons.weight.code, 'other-host');
});

test('and is never overwritten, whatever the edits say', () => {
  const everything = { 'weight.ctx1': 5, 'canary.on': false, 'canary.target': 'ctx1', 'fault.default.abort.on': false, 'fault.default.delay.on': true, 'retry.mode': 'off', 'timeout.value': '1s', 'mirror.on': false };
  for (const name of ['tcp', 'nothing', 'redirect']) assert.deepEqual(write(SHAPES[name], everything), SHAPES[name], name);
  assert.deepEqual(write(SHAPES.regex, { 'canary.on': false }), SHAPES.regex);
  assert.deepEqual(write(SHAPES.grpc, { 'fault.default.abort.on': false }), SHAPES.grpc);
  assert.deepEqual(write(SHAPES.mirrors, { 'mirror.on': true }), SHAPES.mirrors);
  assert.deepEqual(write(SHAPES.versions, { 'weight.ctx1': 5 }), SHAPES.versions);
});

/** `object` with `change` made to a copy of it. */
const but = (object, change) => { const copy = structuredClone(object); change(copy.spec.http); return copy; };

test('a weight changes two numbers and nothing else', () => {
  assert.deepEqual(write(SHAPES.everything, { 'weight.ctx1': 60 }), but(SHAPES.everything, http => { http[2].route[0].weight = 60; http[2].route[1].weight = 40; }));
  assert.deepEqual(write(baseline, { 'weight.ctx1': 0 }), but(baseline, http => { http[1].route[0].weight = 0; http[1].route[1].weight = 100; }));
});

test('a blocked cluster comes back as a second destination', () => {
  assert.deepEqual(write(SHAPES.block, { 'weight.ctx1': 70 }), but(SHAPES.block, http => { http[1].route = [to('ctx1', 70), to('ctx2', 30)]; }));
  assert.deepEqual(write(SHAPES.alone, { 'weight.ctx1': 100 }).spec.http[0].route, [to('ctx2', 0), to('ctx1', 100)]);
});

test('the canary rule: off takes it out, on puts it in front, a change touches its field', () => {
  assert.deepEqual(write(baseline, { 'canary.on': false }), but(baseline, http => http.shift()));
  assert.deepEqual(write(rules(split(1, 1)), { 'canary.on': true, 'canary.target': 'ctx1' }), rules(canary('ctx1'), split(1, 1)));
  assert.deepEqual(write(rules({ route: [to('ctx1')] }), { 'canary.on': true }).spec.http[0], { match: [{ headers: { 'x-canary': { exact: 'true' } } }], route: [to('ctx2')] }, 'no name where the others have none');
  assert.deepEqual(write(baseline, { 'canary.target': 'ctx1' }), but(baseline, http => { http[0].route[0].destination.subset = 'ctx1'; }));
  assert.deepEqual(write(baseline, { 'canary.header': 'x-beta' }), but(baseline, http => { http[0].match[0].headers = { 'x-beta': { exact: 'true' } }; }));
  assert.deepEqual(write(baseline, { 'canary.kind': 'prefix', 'canary.value': 'tr' }), but(baseline, http => { http[0].match[0].headers = { 'x-canary': { prefix: 'tr' } }; }));
});

test('faults: each kind on each rule by itself', () => {
  assert.deepEqual(write(baseline, { 'fault.default.delay.on': true }), but(baseline, http => { http[1].fault = { delay: { percentage: { value: 30 }, fixedDelay: '3s' } }; }));
  assert.deepEqual(write(SHAPES.delay, { 'fault.default.delay.percent': 50 }), but(SHAPES.delay, http => { http[1].fault.delay.percentage.value = 50; }));
  assert.deepEqual(write(SHAPES.delay, { 'fault.default.delay.time': '1.5s' }), but(SHAPES.delay, http => { http[1].fault.delay.fixedDelay = '1.5s'; }));
  assert.deepEqual(write(SHAPES.delay, { 'fault.default.abort.on': true, 'fault.default.abort.status': 503 }), but(SHAPES.delay, http => { http[1].fault.abort = { percentage: { value: 30 }, httpStatus: 503 }; }));
  assert.deepEqual(write(SHAPES.delay, { 'fault.default.delay.on': false }), but(SHAPES.delay, http => { delete http[1].fault; }));
  assert.deepEqual(write(baseline, { 'fault.canary.abort.on': true }), but(baseline, http => { http[0].fault = { abort: { percentage: { value: 30 }, httpStatus: 500 } }; }));
  assert.deepEqual(write(rules(split(1, 1)), { 'canary.on': true, 'fault.canary.delay.on': true }).spec.http[0].fault, { delay: { percentage: { value: 30 }, fixedDelay: '3s' } }, 'a canary that is new takes its fault along');
});

test('retries and timeout', () => {
  assert.deepEqual(write(baseline, { 'retry.mode': 'off' }), but(baseline, http => { http[1].retries = { attempts: 0 }; }));
  assert.deepEqual(write(baseline, { 'retry.mode': 'custom', 'retry.attempts': 4, 'retry.on': '5xx' }), but(baseline, http => { http[1].retries = { attempts: 4, retryOn: '5xx' }; }));
  assert.deepEqual(write(SHAPES.everything, { 'retry.attempts': 1 }), but(SHAPES.everything, http => { http[2].retries.attempts = 1; }), 'back-off stays');
  assert.deepEqual(write(SHAPES.everything, { 'retry.perTry': '' }), but(SHAPES.everything, http => { delete http[2].retries.perTryTimeout; }));
  assert.deepEqual(write(SHAPES.everything, { 'retry.mode': 'istio' }), but(SHAPES.everything, http => { delete http[2].retries; }));
  assert.deepEqual(write(SHAPES.everything, { 'timeout.value': '' }), but(SHAPES.everything, http => { delete http[2].timeout; }));
  assert.deepEqual(write(baseline, { 'timeout.value': '2s' }), but(baseline, http => { http[1].timeout = '2s'; }));
});

test('the mirror', () => {
  assert.deepEqual(write(baseline, { 'mirror.on': true, 'mirror.target': 'ctx1', 'mirror.percent': 25 }), but(baseline, http => { http[1].mirror = { host: 'movie-service', subset: 'ctx1' }; http[1].mirrorPercentage = { value: 25 }; }));
  assert.deepEqual(write(SHAPES.everything, { 'mirror.percent': 50 }), but(SHAPES.everything, http => { http[2].mirrorPercentage.value = 50; }));
  assert.deepEqual(write(SHAPES.everything, { 'mirror.on': false }), but(SHAPES.everything, http => { delete http[2].mirror; delete http[2].mirrorPercentage; }));
});
