// A real Chromium over the DevTools protocol on a pipe: no package, no driver. CHROMIUM names another browser.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const pause = ms => new Promise(done => setTimeout(done, ms));

/** The browser's process. */
export class Browser {
  #next = 1; #waiting = new Map(); #listeners = new Set(); #rest = '';

  static start() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'smov-page-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
      '--hide-scrollbars', '--disable-renderer-backgrounding', '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--remote-debugging-pipe', `--user-data-dir=${browser.profile}`, 'about:blank'];
    browser.process = spawn(process.env.CHROMIUM ?? 'chromium', flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    browser.process.on('error', error => { console.error(`cannot start Chromium: ${error.message}`); process.exit(2); });
    browser.process.stdio[4].setEncoding('utf8').on('data', text => browser.#read(text));
    return browser;
  }

  #read(text) {
    const parts = (this.#rest + text).split('\0');
    this.#rest = parts.pop();
    for (const part of parts) {
      const message = JSON.parse(part);
      if (!message.id) { for (const listener of this.#listeners) listener(message); continue; }
      const { resolve, reject } = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) reject(new Error(`${message.error.message} ${message.error.data ?? ''}`)); else resolve(message.result);
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    return new Promise((resolve, reject) => { this.#waiting.set(id, { resolve, reject }); this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`); });
  }

  listen(listener) { this.#listeners.add(listener); return () => this.#listeners.delete(listener); }

  /** A browser profile of its own: nothing remembered. */
  async context() { return (await this.send('Target.createBrowserContext')).browserContextId; }

  async stop() {
    const ended = new Promise(done => this.process.once('exit', done));
    await Promise.race([this.send('Browser.close').catch(() => {}), pause(2000)]);
    await Promise.race([ended, pause(3000)]);
    this.process.kill('SIGKILL');
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One tab. `out` of `picture` is the folder for screenshots. */
export class Page {
  static async open(browser, url, { context, out = '.', width = 1440, height = 900, mobile = width < 500, media = [], before = '', ready = true } = {}) {
    const page = new Page();
    page.browser = browser;
    page.out = out;
    page.problems = [];
    page.requests = [];
    page.logs = [];
    page.target = (await browser.send('Target.createTarget', { url: 'about:blank', browserContextId: context })).targetId;
    page.session = (await browser.send('Target.attachToTarget', { targetId: page.target, flatten: true })).sessionId;
    page.forget = browser.listen(message => { if (message.sessionId === page.session) page.#heard(message); });
    for (const domain of ['Runtime', 'Page', 'Log', 'Network', 'Performance']) await page.send(`${domain}.enable`);
    await page.size(width, height, mobile);
    await page.media(media);
    if (before) await page.send('Page.addScriptToEvaluateOnNewDocument', { source: before });
    await page.send('Page.navigate', { url });
    if (ready) await page.until(`document.documentElement?.dataset.ready === '' && document.getElementById('conn').classList.contains('ok')`, 10_000, 'page ready and connected');
    return page;
  }

  #heard({ method, params }) {
    if (method === 'Runtime.exceptionThrown') this.problems.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Runtime.consoleAPICalled') {
      const text = params.args.map(argument => argument.value ?? argument.description).join(' ');
      if (params.type === 'error' || params.type === 'assert') this.problems.push(text); else this.logs.push(text);
    }
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.problems.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    if (method === 'Network.requestWillBeSent' && !params.request.url.startsWith('data:')) this.requests.push(params.request.url);
  }

  send(method, params) { return this.browser.send(method, params, this.session); }
  size(width, height, mobile = width < 500) { return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile }); }
  media(features) { return this.send('Emulation.setEmulatedMedia', { features: features.map(([name, value]) => ({ name, value })) }); }

  async run(source, ...values) {
    const expression = typeof source === 'function' ? `(${source})(...${JSON.stringify(values)})` : source;
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(source, limit, what) {
    const end = Date.now() + limit;
    for (;;) {
      if (await this.run(source).catch(() => false)) return;
      if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what ?? source}`);
      await pause(50);
    }
  }

  async key(key, { code = key, shift = false } = {}) {
    const codes = { Tab: 9, Enter: 13, ' ': 32, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 };
    const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined;
    const event = { key, code: key === ' ' ? 'Space' : code, windowsVirtualKeyCode: codes[key] ?? key.toUpperCase().charCodeAt(0), modifiers: shift ? 8 : 0, text };
    await this.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event, text: undefined });
  }

  click(selector) { return this.run(target => { const element = document.querySelector(target); element.scrollIntoView({ block: 'center' }); element.click(); }, selector); }

  async picture(name, full = false) {
    let before = null;
    if (full) {
      before = await this.run(() => [innerWidth, innerHeight]);
      await this.run(() => scrollTo(0, 1e6));
      await pause(700);
      await this.run(() => scrollTo(0, 0));
      const { cssContentSize } = await this.send('Page.getLayoutMetrics');
      await this.size(before[0], Math.ceil(cssContentSize.height));
      await pause(500);
    }
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    writeFileSync(join(this.out, `${name}.png`), Buffer.from(data, 'base64'));
    if (before) await this.size(...before);
  }

  async close() { this.forget(); await this.browser.send('Target.closeTarget', { targetId: this.target }).catch(() => {}); }
}
