import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedStream } from '../core.js';

/** A browser of our own: sources that record, channels that connect tabs, locks with a queue, timers run by hand. */
function browser({ withLocks = true } = {}) {
  const sources = [], channels = [], timers = [], lockQueue = [];
  let lockHeld = false, clock = 0;
  const stored = new Map();
  const grant = () => {
    if (lockHeld || lockQueue.length === 0) return;
    lockHeld = true;
    Promise.resolve(lockQueue.shift()()).then(() => { lockHeld = false; grant(); });
  };
  class Source {
    constructor(url) { this.url = url; this.readyState = 1; this.listeners = {}; sources.push(this); }
    addEventListener(type, listener) { this.listeners[type] = listener; }
    say(type, data, lastEventId) { this.listeners[type]({ data: JSON.stringify(data), lastEventId }); }
    close() { this.readyState = 2; this.closed = true; }
  }
  class Channel {
    constructor() { channels.push(this); }
    postMessage(message) { for (const other of channels) if (other !== this && other.onmessage) other.onmessage({ data: structuredClone(message) }); }
    close() { channels.splice(channels.indexOf(this), 1); }
  }
  const tab = (visible = true) => {
    const seen = { events: [], status: [] };
    const view = { visible };
    const env = {
      EventSource: Source, BroadcastChannel: Channel, locks: withLocks ? { request: (_, task) => { lockQueue.push(task); grant(); } } : undefined,
      storage: { getItem: key => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) },
      fetch: async () => ({ ok: true, json: async () => ({ epoch: 'e', seq: 5, recent: [] }) }),
      setTimeout: (task, delay) => { const timer = { task, at: clock + delay }; timers.push(timer); return timer; }, clearTimeout: timer => { const i = timers.indexOf(timer); if (i >= 0) timers.splice(i, 1); },
      now: () => clock, random: () => 0.5 + sources.length / 1000, visible: () => view.visible,
    };
    const stream = new SharedStream(env, { url: '/events', stateUrl: '/state', onEvent: (type, data) => seen.events.push([type, data]), onStatus: status => seen.status.push(status) });
    stream.start();
    return { stream, seen, view };
  };
  const advance = async ms => {
    clock += ms;
    for (const timer of timers.filter(waiting => waiting.at <= clock)) { timers.splice(timers.indexOf(timer), 1); timer.task(); }
    for (let i = 0; i < 10; i += 1) await Promise.resolve();
  };
  return { tab, sources, advance };
}

test('two tabs share one stream and see the same events', async () => {
  const { tab, sources, advance } = browser();
  const first = tab(), second = tab();
  await advance(300);
  assert.equal(sources.length, 1);
  assert.deepEqual([first.stream.leading, second.stream.leading], [true, false]);
  sources[0].say('req', { rows: [] }, 'e:5');
  sources[0].say('req', { rows: [1] }, 'e:6');
  assert.deepEqual(second.seen.events.map(([type]) => type), ['hello', 'req']);
  assert.equal(first.seen.events.length, 2);
});

test('a tab alone never asks for the state beside its stream', async () => {
  const { tab, advance } = browser();
  const { stream, seen } = tab();
  stream.env.fetch = () => { throw new Error('asked'); };
  await advance(5000);
  assert.deepEqual([stream.leading, seen.events.length], [true, 0]);
});

test('when the leading tab goes, the next one resumes where it was', async () => {
  const { tab, sources, advance } = browser();
  const first = tab(), second = tab();
  await advance(300);
  sources[0].say('req', { rows: [] }, 'e:9');
  first.stream.close();
  await advance(1);
  assert.equal(sources[0].closed, true);
  assert.equal(second.stream.leading, true);
  assert.equal(sources[1].url, '/events?last=e%3A9');
});

test('a visible tab takes the stream from a hidden one', async () => {
  const { tab, sources, advance } = browser();
  const hidden = tab(false), visible = tab();
  await advance(300);
  visible.stream.wake();
  await advance(1);
  assert.deepEqual([hidden.stream.leading, visible.stream.leading], [false, true]);
  assert.equal(sources.filter(source => !source.closed).length, 1);
});

test('a stream that is refused is asked for again with the last id', async () => {
  const { tab, sources, advance } = browser();
  const { seen } = tab();
  await advance(1);
  sources[0].say('hello', { epoch: 'e', seq: 3 }, 'e:3');
  sources[0].readyState = 2;
  sources[0].onerror();
  assert.equal(seen.status.at(-1), 'reconnecting');
  await advance(2000);
  assert.equal(sources[1].url, '/events?last=e%3A3');
  sources[1].onopen();
  assert.equal(seen.status.at(-1), 'live');
});

test('a drain is followed by a quick return', async () => {
  const { tab, sources, advance } = browser();
  tab();
  await advance(1);
  sources[0].say('bye', { reason: 'drain' }, 'e:4');
  assert.equal(sources[0].closed, true);
  await advance(1000);
  assert.equal(sources.length, 2);
});

test('without locks a lease decides, and a second tab still opens nothing', async () => {
  const { tab, sources, advance } = browser({ withLocks: false });
  const first = tab(), second = tab();
  await advance(300);
  await advance(1200);
  assert.equal(sources.length, 1);
  assert.deepEqual([first.stream.leading, second.stream.leading], [true, false]);
});
