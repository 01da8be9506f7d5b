import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAMPS, Sequencer, Store, lampColumns, lampOf, parseEventId } from '../core.js';

let serial = 0;
const row = (cluster, more = {}) => ({ id: `r${(serial += 1)}`, svc: 'user', m: 'GET', path: '/users/', cluster, pod: cluster ? `user-service-${cluster}-a-b` : null, status: 200, ms: 9, canary: false, mine: null, ts: 1000 + serial, flags: null, delay_ms: null, ...more });
const stat = more => ({ n: 0, ctx1: 0, ctx2: 0, excluded: { canary: 0, unreached: 0 }, window_since: 0, p: 0.7, lo: 0, hi: 0, verdict: 'idle', ...more });
const hello = more => ({ epoch: 'e1', seq: 10, missed: 0, door: 'gateway', recent: [], services: { user: { configured: { state: 'ok', ctx1: 70, ctx2: 30 }, interventions: [], stat: stat() } }, ...more });

test('a request lights exactly one lamp, or the long cross', () => {
  assert.equal(lampOf(row('ctx1')), 'on');
  assert.equal(lampOf(row('ctx2', { status: 404 })), 'on');
  assert.equal(lampOf(row('ctx2', { status: 503 })), 'err');
  assert.equal(lampOf(row(null, { status: 503 })), 'miss');
  assert.equal(lampOf(row('unknown')), 'unknown');
});

test('columns are hollow first, then oldest left', () => {
  const columns = lampColumns([row('ctx1'), row('ctx2', { status: 500 }), row(null, { status: 503 })]);
  assert.equal(columns.length, LAMPS);
  assert.deepEqual(columns.slice(0, 3).map(column => [column.ctx1, column.ctx2]), [['lamp on', 'lamp'], ['lamp', 'lamp err'], ['lamp err miss', 'lamp err miss']]);
  assert.ok(columns.slice(3).every(column => column.ctx1 === 'lamp' && column.ctx2 === 'lamp' && column.row === null));
  const many = lampColumns(Array.from({ length: 40 }, () => row('ctx1')));
  assert.ok(many.every(column => column.ctx1 === 'lamp on'));
});

test('a column shows at most one side whatever happened', () => {
  for (const cluster of ['ctx1', 'ctx2', null, 'unknown']) for (const status of [200, 404, 500, 503]) {
    const [column] = lampColumns([row(cluster, { status, canary: true, delay_ms: 3000 })]);
    const lit = [column.ctx1, column.ctx2].filter(name => / (on|err)( |$)/.test(name) && !name.includes('miss')).length;
    const crossed = [column.ctx1, column.ctx2].every(name => name.includes('err miss'));
    assert.equal(lit + (crossed ? 1 : 0), cluster === 'unknown' ? 0 : 1, `${cluster} ${status}`);
  }
});

test('delay, canary and an older configuration are marked', () => {
  const rows = [row('ctx1', { ts: 5 }), row('ctx2', { ts: 50, delay_ms: 3000 }), row('ctx2', { ts: 60, canary: true })];
  assert.deepEqual(lampColumns(rows, 40).slice(0, 3).map(column => column.ctx2), ['lamp old', 'lamp on slow cut', 'lamp on canary']);
});

test('hello fills everything and asks for a whole redraw', () => {
  const store = new Store('me');
  const topics = store.apply('hello', hello({ recent: [row('ctx1'), row('ctx2')], totals: { sent: 7, errors: 1, p95_ms: 5 } }));
  assert.deepEqual([...topics], ['all']);
  assert.equal(store.rows('user').length, 2);
  assert.equal(store.totals.sent, 7);
  assert.equal(store.services.movie.configured.state, 'unknown');
});

test('rows light only their own service and carry their true number', () => {
  const store = new Store('me');
  store.apply('hello', hello());
  const topics = store.apply('req', { rows: [row('ctx1'), row('ctx1'), row('ctx2', { svc: 'movie' })], n: 30 }, 5000);
  assert.deepEqual([...topics].sort(), ['lamps:movie', 'lamps:user', 'ticker']);
  assert.equal(store.rates.rates(5500).get('user:ctx1'), 20);
});

test('the reason of a request comes later and joins by id', () => {
  const store = new Store('me');
  const slow = row('ctx2');
  store.apply('req', { rows: [slow], n: 1 });
  const topics = store.apply('why', { rows: [{ id: slow.id, flags: 'DI', delay_ms: 3000 }, { id: 'gone', flags: '-' }] });
  assert.ok(topics.has('lamps:user'));
  assert.equal(store.find(slow.id).flags, 'DI');
  assert.equal(store.rows('user')[0].delay_ms, 3000);
});

test('the filter shows only requests of this tab, its bursts included', () => {
  const store = new Store('me');
  store.apply('hello', hello());
  store.apply('req', { rows: [row('ctx1', { mine: 'me' }), row('ctx2', { mine: 'me.burst' }), row('ctx2', { mine: 'other' }), row('ctx2', { mine: 'mean' }), row(null, { mine: 'me', status: 503 })], n: 5 });
  store.onlyMine = true;
  assert.deepEqual(store.rows('user').map(item => item.mine), ['me', 'me.burst', 'me']);
  const shown = store.shownStat('user');
  assert.deepEqual([shown.n, shown.ctx1, shown.excluded.unreached], [2, 1, 1]);
  assert.equal(shown.hi, 2);
});

test('a new configuration replaces the old one and keeps the statistics', () => {
  const store = new Store('me');
  store.apply('hello', hello({ services: { user: { configured: { state: 'ok', ctx1: 70, ctx2: 30 }, interventions: [], stat: stat({ n: 9 }) } } }));
  const topics = store.apply('cfg', { service: 'user', value: { configured: { state: 'ok', ctx1: 0, ctx2: 100 }, interventions: [] } });
  assert.ok(topics.has('cfg:user'));
  assert.equal(store.services.user.configured.ctx1, 0);
  assert.equal(store.services.user.stat.n, 9);
  assert.equal(store.apply('cfg', { service: 'nobody', value: {} }).size, 0);
});

test('a gap is a row of its own in the ticker, after a resume only', () => {
  const store = new Store('me');
  store.apply('hello', hello({ missed: 5 }));
  assert.equal(store.tickerRows().length, 0);
  store.apply('hello', hello({ missed: 37, recent: Array.from({ length: 10 }, () => row('ctx1')) }));
  assert.deepEqual(store.tickerRows().filter(item => item.gap).map(item => item.gap), [37]);
  assert.equal(store.rows('user').length, 10);
});

test('unknown events change nothing', () => assert.equal(new Store('me').apply('lab', {}).size, 0));

test('event ids are an epoch and a number', () => {
  assert.deepEqual(parseEventId('a:b:12'), { epoch: 'a:b', seq: 12 });
  assert.equal(parseEventId('nothing'), null);
  assert.equal(parseEventId(null), null);
});

test('a tab that joins late takes each event once', () => {
  const order = new Sequencer();
  order.reset('e', 10);
  assert.deepEqual(['e:9', 'e:10', 'e:11', 'e:11', 'e:12', null].map(id => order.accepts(id)), [false, false, true, false, true, true]);
});
