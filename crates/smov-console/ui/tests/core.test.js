import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lanes, RateWindow, Ring, age, clock, deploymentLight, duration, excludedOf, interval, percent, podTail, podsKnown, ratio, readiness, routingLine, translator } from '../core.js';
import { countOf, gridMove, listOf, seatMapOf } from '../theatre/shapes.js';

test('the exact interval has the reference values of the specification', () => {
  assert.deepEqual(interval(100, 0.7), [61, 79]);
  assert.deepEqual(interval(100, 0.7, 0.001), [54, 84]);
  assert.deepEqual(interval(100, 0.3), [21, 39]);
  assert.deepEqual(interval(100, 0.3, 0.001), [16, 46]);
  assert.deepEqual(interval(100, 0.5), [40, 60]);
  assert.deepEqual(interval(100, 0.5, 0.001), [34, 66]);
  assert.deepEqual(interval(20, 0.7), [10, 18]);
  assert.deepEqual(interval(500, 0.7), [330, 370]);
});

test('a split of nothing or all is exact', () => {
  assert.deepEqual(interval(100, 0), [0, 0]);
  assert.deepEqual(interval(100, 1), [100, 100]);
  assert.deepEqual(interval(0, 0.7), [0, 0]);
});

test('canary and unreached requests stay outside N', () => {
  const row = (cluster, canary = false) => ({ cluster, canary });
  assert.deepEqual(ratio([row('ctx1'), row('ctx2'), row('ctx1'), row('ctx2', true), row(null), row('unknown')]), { n: 3, ctx1: 2, ctx2: 1, excluded: { canary: 1, unreached: 1, unknown: 1, settling: 0 } });
  assert.equal(percent(0, 0), null);
  assert.equal(percent(2, 3), 67);
});

test('a ring keeps the last values in their order', () => {
  const ring = new Ring(3);
  for (const value of [1, 2]) ring.push(value);
  assert.deepEqual(ring.last(5), [1, 2]);
  for (const value of [3, 4, 5]) ring.push(value);
  assert.deepEqual(ring.last(5), [3, 4, 5]);
  assert.deepEqual(ring.last(2), [4, 5]);
  assert.equal(ring.at(0), 3);
  ring.clear();
  assert.equal(ring.size, 0);
});

test('rates look at ten seconds, weigh sampled rows and do not start at a tenth', () => {
  const rates = new RateWindow(10);
  for (let second = 0; second < 10; second += 1) rates.add('user:ctx1', 2, 1000 * second);
  assert.equal(rates.rates(9999).get('user:ctx1').toFixed(1), '2.0');
  assert.equal(rates.rates(30_000).get('user:ctx1'), undefined);
  const young = new RateWindow(10);
  young.add('a', 10, 5000);
  assert.equal(young.rates(7000).get('a'), 5);
});

test('own requests keep to their lanes and all of them end', async () => {
  const lanes = new Lanes(3);
  let under = 0, most = 0;
  const one = value => lanes.run(async () => { under += 1; most = Math.max(most, under); await Promise.resolve(); under -= 1; if (value === 4) throw new Error('four'); return value; });
  const results = await Promise.allSettled([1, 2, 3, 4, 5, 6, 7].map(one));
  assert.equal(most, 3);
  assert.deepEqual(results.map(result => result.value ?? result.reason.message), [1, 2, 3, 'four', 5, 6, 7]);
  assert.equal(lanes.busy, 0);
});

test('numbers and names are written the same everywhere', () => {
  assert.equal(duration(null), '–');
  assert.equal(duration(7.26), '7.3ms');
  assert.equal(duration(38.2), '38ms');
  assert.equal(duration(3028), '3.03s');
  assert.equal(podTail('user-service-ctx2-754bc8dd6f-kghtc'), 'kghtc');
  assert.equal(podTail(null), '');
  assert.match(clock(1_700_000_000_000_000), /^\d\d:\d\d:\d\d$/);
  assert.deepEqual([5_000, 300_000, 7_200_000, 200_000_000].map(age), ['5s', '5m', '2h', '2d']);
  assert.equal(routingLine('user-service', 'ctx1', 'p'), '실제 라우팅 결과 - 서비스: user-service, 클러스터: ctx1, 파드: p');
});

test('a translator fills in what it is given and shows a missing key', () => {
  const t = translator({ hello: '{who}님, {n}건' });
  assert.equal(t('hello', { who: '홍', n: 0 }), '홍님, 0건');
  assert.equal(t('hello', { who: '홍' }), '홍님, {n}건');
  assert.equal(t('nothing.here'), 'nothing.here');
});

test('what is stale, unknown or cut off is never green', () => {
  const view = { state: 'ok', deployments: [{ name: 'user-service-ctx1', app: 'user-service', ready: 1, wanted: 2 }] };
  assert.equal(podsKnown(view, true), true);
  assert.equal(podsKnown(view, false), false);
  assert.equal(podsKnown({ ...view, state: 'unknown' }, true), false);
  assert.equal(podsKnown(null, true), false);
  assert.deepEqual(readiness(view, 'user-service', true), { ready: 1, wanted: 2 });
  assert.equal(readiness(view, 'user-service', false), null);
  assert.equal(readiness(view, 'movie-service', true), null);
  assert.deepEqual([[1, 1], [1, 2], [0, 1], [0, 0]].map(([ready, wanted]) => deploymentLight({ ready, wanted }, true)), ['ok', 'warn', 'err', 'idle']);
  assert.equal(deploymentLight({ ready: 1, wanted: 1 }, false), 'unknown');
});

test('lists are found in any envelope', () => {
  assert.deepEqual(listOf([1]), [1]);
  assert.deepEqual(listOf({ users: [1, 2] }, 'users'), [1, 2]);
  assert.deepEqual(listOf({ items: [3] }, 'users'), [3]);
  assert.deepEqual(listOf(null), []);
  assert.equal(countOf('14', [], 2), 14);
  assert.equal(countOf(null, { total: 40 }, 2), 40);
  assert.equal(countOf(null, [], 2), 2);
  assert.equal(excludedOf({ canary: 1, unreached: 2, settling: 3 }), 6);
});

test('seat maps of both shapes say the same', () => {
  const short = seatMapOf({ rows: ['A', 'B'], columns: 3, taken: ['A2'] });
  assert.deepEqual([short.rows, short.columns, [...short.taken]], [['A', 'B'], 3, ['A2']]);
  const long = seatMapOf({ columns: 3, seats: [{ id: 'A1', taken: false }, { id: 'A2', taken: true }, { id: 'B1', status: 'taken' }] });
  assert.deepEqual([long.rows, long.columns, [...long.taken]], [['A', 'B'], 3, ['A2', 'B1']]);
  assert.equal(seatMapOf(null).rows.length, 8);
});

test('arrow keys stay inside the hall', () => {
  assert.deepEqual(gridMove('ArrowLeft', 0, 0, 8, 12), [0, 0]);
  assert.deepEqual(gridMove('ArrowRight', 0, 11, 8, 12), [0, 11]);
  assert.deepEqual(gridMove('ArrowDown', 6, 4, 8, 12), [7, 4]);
  assert.deepEqual(gridMove('ArrowUp', 3, 4, 8, 12), [2, 4]);
  assert.deepEqual([gridMove('Home', 3, 4, 8, 12), gridMove('End', 3, 4, 8, 12)], [[3, 0], [3, 11]]);
  assert.equal(gridMove('x', 3, 4, 8, 12), null);
});
