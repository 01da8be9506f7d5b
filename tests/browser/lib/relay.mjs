// A relay that can cut and replay the event stream.

import { createServer, request as httpRequest } from 'node:http';

/** Passes everything on to `base`; the stream can be cut, said to have missed events, or replaced by a replay of `rate` events per second. */
export class Relay {
  streams = new Set(); opened = 0; missed = 0; replay = null; refused = false;

  /** In front of the page at `base`. */
  static async start(base) {
    const relay = new Relay();
    relay.base = base;
    relay.server = createServer((request, response) => relay.#serve(request, response));
    await new Promise(done => relay.server.listen(0, '127.0.0.1', done));
    relay.origin = `http://127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  #serve(request, response) {
    const events = request.url.startsWith('/api/v1/events');
    if (events) {
      if (this.refused) { response.writeHead(503).end(); return; }
      this.opened += 1;
      this.streams.add(response);
      response.on('close', () => this.streams.delete(response));
      if (this.replay) { this.#play(response); return; }
    }
    const headers = { ...request.headers, host: new URL(this.base).host };
    if (headers.origin) headers.origin = this.base;
    delete headers.referer;
    const path = events && this.missed > 0 ? '/api/v1/events' : request.url;
    if (events && this.missed > 0) delete headers['last-event-id'];
    const upstream = httpRequest(this.base + path, { method: request.method, headers }, answer => {
      response.writeHead(answer.statusCode, answer.headers);
      if (!events || this.missed === 0) { answer.pipe(response); return; }
      const missed = this.missed;
      this.missed = 0;
      let first = true;
      answer.setEncoding('utf8').on('data', text => { response.write(first ? text.replace(/"missed":\d+/, `"missed":${missed}`) : text); if (text.includes('"missed"')) first = false; }).on('end', () => response.end());
    });
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }

  async #play(response) {
    const { rate } = this.replay;
    const state = await (await fetch(`${this.base}/api/v1/state`)).json();
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    let sequence = 1, sent = 0;
    const say = (type, data) => response.write(`id: replay:${sequence++}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
    const totals = { sent: 0, errors: 0, p95_ms: 12 };
    say('hello', { ...state, epoch: 'replay', seq: 0, missed: 0, totals, recent: [] });
    const services = ['user', 'movie', 'booking'];
    const timer = setInterval(() => {
      const rows = Array.from({ length: 20 }, (_, i) => { const svc = services[(sent + i) % 3], cluster = (sent * 7 + i * 5) % 10 < 6 ? 'ctx1' : 'ctx2'; return { id: `x${sequence}-${i}`, svc, m: 'GET', path: `/${svc}s/`, cluster, pod: `${svc}-service-${cluster}-7f-abcde`, version: 'v1', status: 200, ms: 5 + i, canary: false, mine: null, ts: Date.now() * 1000, flags: '-', delay_ms: null, rule: null, attempts: 1 }; });
      sent += rate / 10;
      say('req', { rows, n: rate / 10, dropped: rate / 10 - 20 });
    }, 100);
    const stats = setInterval(() => { totals.sent = sent; say('stat', { ...Object.fromEntries(services.map(service => [service, { ...state.services[service].stat, n: 100, ctx1: 40 + (sequence % 20), ctx2: 60 - (sequence % 20), p: 0.5, lo: 40, hi: 60, verdict: 'ok' }])), totals }); }, 500);
    this.replay.sent = () => sent;
    this.replay.end = () => { clearInterval(timer); totals.sent = sent; say('stat', { totals }); };
    response.on('close', () => { clearInterval(timer); clearInterval(stats); });
    this.replay.stats = () => clearInterval(stats);
  }

  cut() { for (const stream of this.streams) stream.destroy(); }
  stop() { this.cut(); this.server.close(); this.server.closeAllConnections(); }
}
