import assert from 'node:assert/strict';
import { test } from 'node:test';

import { left, predict, predictLink } from '../deployments/predict.js';
import { Lines, deploymentState, followUp, linkOf, memory, passes, processors } from '../deployments/words.js';

const pod = (app, name, ready = '2/2', status = 'Running') => ({ namespace: 'theater-msa', app, name, ready, status, started: 1_000_000 });
const view = (...pods) => ({ state: 'ok', pods, deployments: [] });
const world = (more = {}) => ({
  connected: true, store: { kind: 'redis', cluster: 'ctx2' },
  services: Object.fromEntries(['user', 'movie', 'booking'].map(id => [id, { configured: { state: 'ok', ctx1: 70, ctx2: 30 }, canary: [] }])),
  pods: { ctx1: view(pod('user-service', 'u-1')), ctx2: view(pod('user-service', 'u-2'), pod('redis', 'r-1', '1/1')) }, ...more,
});
const user = cluster => ({ cluster, namespace: 'theater-msa', app: 'user-service' });

test('the only ready pod takes the weight of its cluster with it', () => {
  const found = predict({ kind: 'delete', pod: 'u-2' }, user('ctx2'), world());
  assert.deepEqual([found.code, found.level, found.percent, found.flags, found.booking], ['share', 'some', 30, 'UH', true]);
  assert.equal(predict({ kind: 'kill', pod: 'u-1' }, user('ctx1'), world()).percent, 70);
  assert.equal(predict({ kind: 'scale', replicas: 0 }, user('ctx1'), world()).code, 'share');
});

test('with a second ready pod nothing fails, and a pod that is not ready is none', () => {
  const two = ready => world({ pods: { ctx1: view(), ctx2: view(pod('user-service', 'u-2'), pod('user-service', 'u-3', ready)) } });
  assert.deepEqual([predict({ kind: 'delete', pod: 'u-2' }, user('ctx2'), two('2/2')).code, predict({ kind: 'delete', pod: 'u-2' }, user('ctx2'), two('1/2')).code], ['left', 'share']);
  assert.equal(left({ kind: 'scale', replicas: 1 }, [{}, {}]), 1);
});

test('a rollout replaces before it takes away', () => assert.equal(predict({ kind: 'restart' }, user('ctx1'), world()).code, 'rolling'));

test('weights of 0 and 100, no rule, a rule that is no split, and a cluster out of sight', () => {
  const with_ = configured => { const made = world(); made.services.user.configured = configured; return made; };
  const code = configured => { const { code: found, level } = predict({ kind: 'delete', pod: 'u-2' }, user('ctx2'), with_(configured)); return `${found} ${level}`; };
  assert.equal(code({ state: 'ok', ctx1: 100, ctx2: 0 }), 'unweighted none');
  assert.equal(code({ state: 'ok', ctx1: 0, ctx2: 100 }), 'share all');
  assert.equal(code({ state: 'none' }), 'pool none');
  assert.equal(code({ state: 'complex' }), 'complex unknown');
  assert.equal(predict({ kind: 'delete', pod: 'u-2' }, user('ctx2'), world({ connected: false })).level, 'unknown');
});

test('the store, a control plane and the gateway take something else', () => {
  const of = (app, more) => predict({ kind: 'scale', replicas: 0 }, { cluster: 'ctx2', namespace: 'theater-msa', app }, world({ pods: { ctx1: view(), ctx2: view(pod(app, 'x', '1/1')) }, ...more })).code;
  assert.deepEqual([of('redis'), of('redis', { store: { kind: 'sqlite' } }), of('istiod'), of('api-gateway')], ['redis', 'unused', 'istiod', 'gateway']);
});

test('a cut link takes what is drawn to ctx2, and the store where it is', () => {
  const found = predictLink('cut', world());
  assert.deepEqual([found.away[0], found.redis], [['user', 30], 'ctx2']);
  assert.equal(predictLink('plain', world()).level, 'none');
});

test('states in words are never good where nothing is known', () => {
  const deployment = { namespace: 'theater-msa', name: 'user-service-ctx1', app: 'user-service', ready: 0, wanted: 1 };
  assert.equal(deploymentState(deployment, [], false, 0)[2], 'unknown');
  assert.deepEqual(deploymentState(deployment, [pod('user-service', 'u', '1/2')], true, 13_000), ['deployments.state.waiting', { seconds: 12 }, 'err']);
  assert.deepEqual(deploymentState(deployment, [pod('user-service', 'u', '1/2', 'CrashLoopBackOff')], true, 0)[1], { status: 'CrashLoopBackOff' });
  assert.equal(deploymentState({ ...deployment, ready: 1 }, [pod('user-service', 'u')], true, 0)[2], 'ok');
  assert.equal(deploymentState({ ...deployment, wanted: 0 }, [], true, 0)[2], 'idle');
});

test('the line after an action says only what was measured', () => {
  const key = effect => followUp({ effect })[0].split('.').pop();
  assert.equal(followUp(undefined)[0], 'deployments.follow.waiting');
  assert.equal(key({ open: true, failed: 2 }), 'open');
  assert.equal(key({ open: true, failed: 2, ready_ms: 900 }), 'ready');
  assert.equal(key({ open: false, failed: 2, ready_ms: 900 }), 'unasked');
  assert.deepEqual(followUp({}, { effect: { open: false, failed: 2, at_least: true, ready_ms: 900, served_ms: 1_250 } }), ['deployments.follow.served', { failed: '≥ 2', ready: '0.9', served: '1.3' }]);
});

test('moments lead to what they are about', () => {
  assert.equal(linkOf({ kind: 'kill', ref: 'Pod/theater-msa/u-1', cluster: 'ctx1' }), '/deployments?cluster=ctx1&pod=u-1');
  assert.equal(linkOf({ kind: 'kill', ref: 'Pod/theater-msa/u-1', cluster: 'ctx1', effect: { request: 'a/b' } }), '/inspect?req=a%2Fb');
  assert.equal(linkOf({ kind: 'change', ref: 'VirtualService/theater-msa/v', cluster: 'ctx2' }), '/config?ref=VirtualService%2Ftheater-msa%2Fv&cluster=ctx2');
  assert.equal(linkOf({ kind: 'link' }), null);
  assert.deepEqual([passes({ kind: 'link' }, 'faults'), passes({ kind: 'link' }, 'changes'), passes({ kind: 'link' }, 'all')], [false, true, true]);
});

test('pieces of text become whole lines, and only so many are kept', () => {
  const lines = new Lines(3);
  assert.deepEqual(lines.take('a\nb'), ['a']);
  assert.deepEqual(lines.take('c\nd\ne\nf\n'), ['bc', 'd', 'e', 'f']);
  assert.deepEqual([lines.lines, lines.dropped], [['d', 'e', 'f'], 2]);
});

test('figures as people read them', () => {
  assert.deepEqual([memory(3 << 20), memory(null), memory(200 << 20), memory(3 * 1024 ** 3)], ['3.0 MiB', null, '200 MiB', '3.0 GiB']);
  assert.deepEqual([processors(1.25), processors(250.4), processors(undefined)], ['1.3m', '250m', null]);
});
