import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axes, ceiling, drawn, latest, linesOf, marks, merged, runs, thinned } from '../metrics/series.js';

const line = (service, cluster, requests, errors = requests.map(n => (n === null ? null : 0))) => ({ service, cluster, requests, errors, p50: requests.map(n => (n ? 5 : null)), p95: requests.map(n => (n ? 20 : null)), p99: requests.map(n => (n ? 30 : null)) });
const series = { from: 1_000_000, step_ms: 5000, steps: 4, lines: [line('user', 'ctx2', [5, 10, null, 0], [0, 5, null, 0]), line('user', 'ctx1', [10, 10, null, 0]), line('user', null, [1, 0, null, 0], [1, 0, null, 0])] };

test('clusters are lines of their own, in their order; what no pod answered belongs to the whole', () => {
  assert.deepEqual(linesOf(series, 'user', true).map(found => found.cluster), ['ctx1', 'ctx2']);
  const [all] = linesOf(series, 'user', false);
  assert.deepEqual([all.requests, all.errors], [[16, 20, null, 0], [1, 5, null, 0]]);
  assert.deepEqual(linesOf(series, 'movie', false), []);
});

test('a percentile of several lines is the worst of them', () => {
  const slow = { ...line('user', 'ctx2', [1]), p95: [400] };
  assert.deepEqual(merged([line('user', 'ctx1', [1]), slow]).p95, [400]);
});

test('steps are taken together by their sums, and only known seconds count', () => {
  const [first, second] = thinned(linesOf(series, 'user', true)[0], 5000, 2);
  assert.deepEqual([first.requests, first.seconds, first.rate], [20, 10, 2]);
  assert.deepEqual([second.requests, second.seconds, second.rate, second.share], [0, 5, 0, null]);
});

test('an unknown step is a gap, never a zero', () => {
  const [ctx1] = drawn(series, 'user', 'rate', true);
  assert.deepEqual(ctx1.points.map(point => point[1]), [2, 2, null, 0]);
  assert.deepEqual(runs(ctx1.points).map(run => run.length), [2, 1]);
});

test('axes are round and the same for all services', () => {
  assert.deepEqual([0.3, 1, 3, 12, 51, 100].map(value => ceiling(value, 1)), [1, 1, 5, 20, 100, 100]);
  assert.deepEqual(axes(series, true), { rate: 2, errors: 50, latency: 20 });
});

test('together shows three percentiles, split shows one per cluster', () => {
  assert.deepEqual(drawn(series, 'user', 'latency', false).map(found => found.name), ['p50', 'p95', 'p99']);
  assert.deepEqual(latest(drawn(series, 'user', 'latency', true)).map(found => [found.cluster, found.name, found.value]), [['ctx1', 'p95', 20], ['ctx2', 'p95', 20]]);
});

test('marks of the timeline stand where they happened', () => {
  const found = marks(series, [{ at: 1_005_000_000 }, { at: 1_020_000_000 }, { at: 900_000_000 }]);
  assert.deepEqual(found.map(([at]) => at), [0.25, 1]);
});
