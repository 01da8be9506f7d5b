// Looks at the Traffic control view with a real Chromium.
//   node tests/browser/traffic-check.mjs http://localhost:8080 out/ [--quick] [--only=everywhere,drafts,conflicts,truth,hands]
// Prints one line per check and `N passed, N failed`; writes screenshots to the folder. CHROMIUM names another browser.
// The mesh behind the address should be idle and at its baseline; the checks change rules, send requests and put all back.

import { audit } from './lib/audit.mjs';
import { base, check, conclude, load, must, out, post, quiet, run, same, state } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';

// Limits are upper bounds on a machine that does nothing else; a busy one gets more patience.
const patience = Number(process.env.PATIENCE ?? 2), { until } = Page.prototype;
Page.prototype.until = function patiently(source, limit, what) { return until.call(this, source, limit * patience, what); };

const browser = Browser.start();
const READY = `document.querySelector('#traffic-panel')?.hidden === false && document.querySelector('#part-weight h2')?.textContent`;
const open = async (query = '?svc=movie', options = {}) => {
  const page = await Page.open(browser, `${base}/traffic${query}`, { out, context: options.context ?? await browser.context(), ...options });
  await page.until(READY, 10_000, 'the form');
  return page;
};
const resources = async () => (await (await fetch(`${base}/api/v1/resources`)).json()).resources;
const rule = async (name, cluster = 'ctx1', kind = 'VirtualService') => (await resources()).find(item => item.cluster === cluster && item.kind === kind && item.name === name);
const reset = async () => { await post('/api/v1/reset', {}); };
/** Changes a rule as somebody else does: without the page. */
const elsewhere = async (name, change, clusters = ['ctx1', 'ctx2']) => {
  const changes = [];
  for (const cluster of clusters) { const { object, resource_version } = await rule(name, cluster); change(object.spec); changes.push({ cluster, object, resource_version }); }
  const answer = await (await post('/api/v1/resources/apply', { changes })).json();
  must(answer.results.every(result => result.outcome === 'configured'), `elsewhere: ${JSON.stringify(answer)}`);
};
const weightsOf = async (name, cluster) => { const rules = (await rule(name, cluster)).object.spec.http; return rules.at(-1).route.map(route => route.weight); };
const slide = (page, value) => page.run(share => { const slider = document.getElementById('weight'); slider.value = share; slider.dispatchEvent(new Event('input', { bubbles: true })); }, value);
const fill = (page, key, value) => page.run((name, text) => { const field = document.querySelector(`[data-key="${name}"]`); field.value = text; field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input', { bubbles: true })); }, key, value);
const text = (page, selector) => page.run(name => document.querySelector(name)?.textContent ?? null, selector);
const texts = (page, selector) => page.run(name => [...document.querySelectorAll(name)].map(element => element.textContent), selector);
const applicable = page => page.until(`document.getElementById('traffic-apply').disabled === false`, 15_000, 'apply to be allowed');
const apply = async page => { await applicable(page); await page.click('#traffic-apply'); await page.until(`[...document.querySelectorAll('.outcome-l li')].length > 0`, 15_000, 'what came of it'); };
const draft = (page, service) => page.run(name => JSON.parse(localStorage.getItem(`smov.traffic.${name}`) ?? '{"edits":{}}').edits, service);
const changed = (page, sign) => page.run(kind => [...document.querySelectorAll(`.preview .diff .${kind}`)].map(line => line.lastChild.textContent.trim()), sign);

// ---------------------------------------------------------------- everywhere

async function everywhere() {
  for (const lang of ['ko', 'en']) for (const theme of ['light', 'dark']) await check(`2 and 22 no console error, one language, ${lang} ${theme}`, async () => {
    const page = await open(`?svc=movie&lang=${lang}&theme=${theme}`);
    await page.run(() => { for (const fold of document.querySelectorAll('details.fold')) fold.open = true; document.querySelector('[data-key="outlier.on"]').click(); document.querySelector('#fault-on').click(); });
    await applicable(page);
    const { problems } = page;
    const said = await page.run(() => { const clone = document.getElementById('main').cloneNode(true); for (const part of clone.querySelectorAll('[hidden],#live,.diff,.hist')) part.remove(); return clone.textContent; });
    const marked = await page.run(() => /\btraffic\.[a-z]/.exec(document.getElementById('main').textContent)?.[0] ?? null);
    await page.close();
    same(problems, [], 'console');
    same(marked, null, 'a key without words');
    if (lang === 'en') must(!/[가-힣]/.test(said), `Hangul: ${/.{0,20}[가-힣]+.{0,20}/.exec(said)}`); else must(said.includes('트래픽설정'), 'no 트래픽설정');
  });
  await check('3 no sideways scrolling from 360 to 1920, everything open', async () => {
    const page = await open('?svc=movie&w=55');
    await page.run(() => { for (const fold of document.querySelectorAll('details.fold')) fold.open = true; document.querySelector('[data-key="outlier.on"]').click(); document.querySelector('[data-key="mirror.on"]').click(); document.querySelector('#fault-on').click(); document.querySelector('#part-fault [data-value=both]').click(); document.querySelector('#part-retry [data-value=custom]').click(); });
    await applicable(page);
    for (const width of [360, 390, 768, 1024, 1440, 1920]) for (const lang of ['ko', 'en']) {
      await page.size(width, 900, width < 800);
      await page.run(code => document.querySelector(`[data-lang=${code}]`).click(), lang);
      await pause(400);
      same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `innerWidth and scrollWidth at ${width} ${lang}`);
    }
    await page.close();
  });
  for (const [width, height] of [[1440, 1000], [390, 844]]) for (const theme of ['light', 'dark']) await check(`4 contrast, names, targets, ids at ${width} ${theme}, everything open`, async () => {
    const page = await open(`?svc=movie&w=55&theme=${theme}`, { width, height });
    await page.picture(`traffic-${width}-${theme}-closed`, true);
    await page.run(() => { for (const fold of document.querySelectorAll('details.fold')) fold.open = true; document.querySelector('[data-key="outlier.on"]').click(); document.querySelector('#fault-on').click(); document.querySelector('#part-retry [data-value=custom]').click(); });
    await fill(page, 'fault.default.delay.percent', '120');
    await pause(700);
    const wrong = await page.run(audit);
    const told = await page.run(() => { const field = document.querySelector('[data-key="fault.default.delay.percent"]'); return [field.getAttribute('aria-invalid'), document.getElementById(field.getAttribute('aria-describedby')).textContent.length > 0, document.getElementById('traffic-apply').disabled]; });
    await fill(page, 'fault.default.delay.percent', '50');
    await applicable(page);
    const got = await page.run(audit);
    await page.picture(`traffic-${width}-${theme}`, true);
    await page.close();
    same(told, ['true', true, true], 'an impossible value is told at its field, and nothing can be applied');
    for (const one of [wrong, got]) same(one, { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, 'audit');
  });
  await check('names and roles: tabs, slider, switches, the preview is a region', async () => {
    const page = await open('?svc=booking&w=20');
    await applicable(page);
    const got = await page.run(() => ({ tabs: [...document.querySelectorAll('.svctabs [role=tab]')].map(tab => [tab.getAttribute('aria-selected'), tab.tabIndex]), slider: document.getElementById('weight').getAttribute('aria-valuetext'), type: document.getElementById('weight').type, switches: [...document.querySelectorAll('.traffic [role=switch]')].length, diff: document.querySelector('.diff').getAttribute('role'), named: document.querySelector('.diff').getAttribute('aria-label'), panel: document.getElementById('traffic-panel').getAttribute('aria-labelledby') }));
    await page.close();
    same(got.tabs, [['false', -1], ['false', -1], ['true', 0]], 'tabs');
    must(/20.*80/.test(got.slider) && got.type === 'range', got.slider);
    must(got.switches >= 5 && got.diff === 'region' && got.named && got.panel === 'traffic-tab-booking', JSON.stringify(got));
  });
}

// ---------------------------------------------------------------- drafts

async function drafts() {
  await reset();
  await check('10 a change that is not applied: the diff of both clusters; the live box stays; applied, both change and the history has it', async () => {
    const context = await browser.context(), page = await open('?svc=user', { context });
    await slide(page, 10);
    await applicable(page);
    same([await changed(page, 'add'), await changed(page, 'del')], [['weight: 10', 'weight: 90'], ['weight: 70', 'weight: 30']], 'diff');
    same(await text(page, '.dname b'), 'ctx1 · ctx2', 'clusters with the same diff');
    must(/70 : 30/.test(await text(page, '#part-weight header .r')), 'the live weights moved');
    must(/70:30/.test(await text(page, '#traffic-tab-user')), 'the tab moved');
    same(await weightsOf('user-service-vs', 'ctx1'), [70, 30], 'live');
    const predicted = await text(page, '.obs');
    must(/5.16/.test(predicted), `prediction ${predicted}`);
    await apply(page);
    await page.until(`/10 : 90/.test(document.querySelector('#part-weight header .r').textContent)`, 5000, 'now 10 : 90');
    for (const cluster of ['ctx1', 'ctx2']) same(await weightsOf('user-service-vs', cluster), [10, 90], cluster);
    await page.until(`document.querySelectorAll('.hist li').length > 0`, 5000, 'a history row');
    await page.until(`/10:90/.test(document.querySelector('#traffic-tab-user').textContent)`, 5000, 'the tab');
    same(await draft(page, 'user'), {}, 'draft');
    await page.picture('traffic-applied');
    await page.close();
  });
  await check('drafts stay over another view and a reload, and an address prepares one', async () => {
    const context = await browser.context(), page = await open('?svc=booking&section=fault&w=45', { context });
    await page.until(`document.activeElement?.id === 'h-fault'`, 4000, 'the part of the address has the focus');
    await applicable(page);
    await page.click('#fault-on');
    await fill(page, 'fault.default.delay.time', '1.5s');
    const wanted = { 'weight.ctx1': 45, 'fault.default.delay.on': true, 'fault.default.delay.time': '1.5s' };
    await page.click('a[data-view=live]');
    await page.until(`document.documentElement.dataset.view === 'live'`, 4000);
    await page.click('a[data-view=traffic]');
    await page.until(READY, 5000);
    same(await page.run(() => [document.getElementById('weight').value, document.querySelector('[data-key="fault.default.delay.time"]').value]), ['45', '1.5s'], 'after another view');
    await page.send('Page.reload');
    await pause(500);
    await page.until(READY, 10_000);
    same(await draft(page, 'booking'), wanted, 'after a reload');
    await page.click('#traffic-tab-user');
    await page.until(`document.getElementById('weight').value !== '45'`, 4000, 'another service has its own draft');
    must(/svc=user/.test(await page.run(() => location.search)), 'the address names the service');
    await page.click('#traffic-tab-booking');
    await page.until(`document.getElementById('weight').value === '45'`, 4000);
    await page.click('#traffic-discard');
    same(await draft(page, 'booking'), {}, 'discarded');
    await page.close();
  });
  await check('8 weight 0: the boxes say 0:100 and 100:0, never a default', async () => {
    const page = await open('?svc=booking');
    for (const [share, said] of [[0, '0:100'], [100, '100:0']]) {
      await slide(page, share);
      await apply(page);
      await page.until(`document.querySelector('#traffic-tab-booking').textContent.includes('${said}')`, 6000, said);
      same(await page.run(() => document.querySelector('[data-service=booking] [data-part=configured] .v').textContent), said, 'the Live box');
      await page.until(`document.getElementById('traffic-apply').disabled`, 4000);
    }
    await page.close();
  });
  await check('one cluster alone: only its copy changes, and the difference is said', async () => {
    await reset();
    const page = await open('?svc=movie');
    await page.click('.aim [data-value=ctx2]');
    await slide(page, 90);
    await applicable(page);
    same(await text(page, '.dname b'), 'ctx2', 'cluster');
    must((await text(page, '.obs')).includes('ctx1'), 'it is not said that the lamps do not move');
    await apply(page);
    same([await weightsOf('movie-service-vs', 'ctx1'), await weightsOf('movie-service-vs', 'ctx2')], [[30, 70], [90, 10]], 'copies');
    await page.click('.aim [data-value=both]');
    await page.until(`/90 : 10/.test(document.querySelector('#part-weight .fnote').textContent)`, 5000, 'the other copy beside the slider');
    await page.close();
    await reset();
  });
}

// ---------------------------------------------------------------- conflicts

async function conflicts() {
  await reset();
  await check('11 somebody was faster: both versions, the draft kept, then put on top', async () => {
    const page = await open('?svc=movie');
    await slide(page, 50);
    await applicable(page);
    await page.run(() => { window.fetchNow = window.fetch; window.fetch = (path, ...rest) => (String(path).endsWith('/resources') ? Promise.reject(new Error('held back')) : window.fetchNow(path, ...rest)); });
    await elsewhere('movie-service-vs', spec => { spec.http.at(-1).timeout = '9s'; });
    await page.click('#traffic-apply');
    await page.run(() => { window.fetch = window.fetchNow; });
    await page.until(`document.getElementById('traffic-conflict')?.open`, 15_000, 'the dialog');
    const versions = await texts(page, '#traffic-conflict .diff');
    must(versions.length >= 2 && versions[0].includes('weight: 50') && versions[1].includes('timeout: 9s') && !versions[1].includes('weight: 50'), JSON.stringify(versions).slice(0, 400));
    await page.picture('traffic-conflict');
    await page.click('#traffic-conflict [data-choice=keep]');
    same(await draft(page, 'movie'), { 'weight.ctx1': 50 }, 'draft after keep');
    same(await weightsOf('movie-service-vs', 'ctx1'), [30, 70], 'nothing was written');
    await page.until(`document.getElementById('traffic-compare')`, 8000, 'a way back to the comparison');
    await page.click('#traffic-compare');
    await page.until(`document.getElementById('traffic-conflict')?.open`, 5000);
    await page.click('#traffic-conflict [data-choice=rebase]');
    await page.until(`!document.getElementById('traffic-conflict') && !document.getElementById('traffic-compare')`, 8000, 'the draft on the new version');
    await apply(page);
    const http = (await rule('movie-service-vs')).object.spec.http.at(-1);
    same([http.timeout, http.route[0].weight], ['9s', 50], 'both changes are in');
    await page.close();
    await reset();
  });
  await check('one cluster fails: what went in and what did not, the rest stays in the draft', async () => {
    const page = await open('?svc=movie');
    await slide(page, 50);
    await applicable(page);
    await page.run(() => { const real = window.fetch; window.fetch = async (path, options) => {
      if (!String(path).endsWith('/apply')) return real(path, options);
      const { changes } = JSON.parse(options.body);
      const answer = await (await real(path, { ...options, body: JSON.stringify({ changes: changes.filter(change => change.cluster === 'ctx1') }) })).json();
      return new Response(JSON.stringify({ ...answer, results: [...answer.results, { cluster: 'ctx2', ref: 'VirtualService/theater-msa/movie-service-vs', outcome: 'unreachable', message_ko: '연결 거부', message_en: 'connection refused' }] }), { headers: { 'Content-Type': 'application/json' } });
    }; });
    await page.click('#traffic-apply');
    await page.until(`document.querySelectorAll('.outcome-l li').length === 2`, 10_000, 'two outcomes');
    same(await page.run(() => [...document.querySelectorAll('.outcome-l li')].map(item => item.dataset.outcome)), ['configured', 'unreachable'], 'outcomes');
    same(await draft(page, 'movie'), { 'weight.ctx1': 50 }, 'draft');
    await page.until(`document.querySelector('.dname b')?.textContent === 'ctx2'`, 10_000, 'what is left is ctx2');
    await page.close();
    await reset();
  });
  await check('a rule that the form cannot say: YAML and the reason, the rest usable, nothing of it overwritten', async () => {
    await elsewhere('movie-service-vs', spec => { spec.http[0].match = [{ headers: { 'x-canary': { regex: 'tr.e' } } }]; });
    const page = await open('?svc=movie&section=canary');
    await page.until(`document.querySelector('#part-canary .instead')?.hidden === false`, 5000, 'the reason');
    const got = await page.run(() => ({ why: document.querySelector('#part-canary .cannot').textContent, yaml: document.querySelector('#part-canary .yamlro').textContent, link: document.querySelector('#part-canary .instead a').getAttribute('href'), form: document.querySelector('[data-key="canary.header"]').checkVisibility() }));
    must(/regex/.test(got.why) && got.yaml.includes('tr.e') && got.link.startsWith('/config?') && !got.form, JSON.stringify(got));
    await slide(page, 60);
    await apply(page);
    const spec = (await rule('movie-service-vs')).object.spec;
    same([spec.http[0].match[0].headers['x-canary'], spec.http.at(-1).route[0].weight], [{ regex: 'tr.e' }, 60], 'rule');
    await page.picture('traffic-cannot');
    await page.close();
    await reset();
  });
}

// ---------------------------------------------------------------- what one should see

const verdicts = page => page.run(() => [...document.querySelectorAll('.verdicts li')].map(item => [item.dataset.kind, item.dataset.verdict, /\((\d+)\/(\d+)\)/.exec(item.textContent)?.slice(1).map(Number) ?? null]));
async function verified(page, kinds) {
  await page.until(`document.getElementById('traffic-verify')?.checkVisibility() && !document.getElementById('traffic-verify').disabled`, 15_000, 'the proxies to know');
  await page.click('#traffic-verify');
  await page.until(`(${kinds}).every(kind => { const item = document.querySelector('.verdicts [data-kind=' + kind + ']'); return item && item.dataset.verdict !== 'waiting' && item.dataset.final === 'true'; })`, 60_000, 'verdicts on a hundred requests');
  return verdicts(page);
}

async function truth() {
  await reset();
  await quiet();
  await check('13 and 15 a delay on 30 %: slow requests inside 99.9 %, p95 over 3 s, the split stays; retries are said to go on', async () => {
    const page = await open('?svc=movie&section=fault');
    await page.click('#fault-on');
    await page.run(() => { document.getElementById('part-retry').open = true; document.querySelector('#part-retry [data-value=custom]').click(); });
    await pause(200);
    const words = await text(page, '#part-retry .foldb');
    must(/재시도와 타임아웃을 끄지 않습니다|does not switch retries and timeouts off/.test(words), words);
    await page.run(() => document.querySelector('#part-retry [data-value=istio]').click());
    await apply(page);
    const got = await verified(page, "['delay','share']");
    await page.picture('traffic-verified');
    const { stat } = (await state()).services.movie;
    await page.close();
    const [, verdict, [slow, n]] = got.find(([kind]) => kind === 'delay'), share = got.find(([kind]) => kind === 'share');
    must(verdict !== 'bad' && n === 100 && slow >= 15 && slow <= 46, `slow ${slow} of ${n}: ${verdict}`);
    must(share[1] !== 'bad', `share ${share}`);
    must(stat.p95_ms >= 3000, `p95 ${stat.p95_ms}`);
    return `${slow}/${n} slow, share ${share[2]}, p95 ${Math.round(stat.p95_ms)} ms`;
  });
  await reset();
  await check('9 an abort on 30 %: that many reach no pod and stay outside N', async () => {
    const page = await open('?svc=user');
    await page.click('#fault-on');
    await page.click('#part-fault [data-value=abort]');
    await apply(page);
    const got = await verified(page, "['abort','share']");
    const [, verdict, [aborted, n]] = got.find(([kind]) => kind === 'abort'), [, share, [, reached]] = got.find(([kind]) => kind === 'share');
    await page.close();
    must(verdict !== 'bad' && share !== 'bad', JSON.stringify(got));
    same(aborted + reached, n, 'aborted and reached make all');
    return `${aborted}/${n} aborted`;
  });
  await reset();
  await check('12 canary: ten of ten reach its subset and N does not move; taken out, the weights decide', async () => {
    await quiet();
    const page = await open('?svc=booking&section=canary');
    const before = (await state()).services.booking.stat;
    await page.click('#part-canary .stack .hd button');
    await page.until(`/10.*ctx2|ctx2.*10/.test(document.querySelector('#part-canary [role=status]').textContent) && document.querySelector('#part-canary [role=status]').classList.contains('okc')`, 15_000, 'ten at ctx2');
    await pause(1500);
    const after = (await state()).services.booking.stat;
    same([after.ctx1, after.ctx2], [before.ctx1, before.ctx2], 'N');
    await page.click('[data-key="canary.on"]');
    await apply(page);
    same((await rule('booking-service-vs')).object.spec.http.length, 1, 'rules');
    await page.until(`document.querySelector('[data-key="canary.on"]').checked === false`, 4000);
    await page.click('[data-key="canary.on"]');
    await apply(page);
    const [first] = (await rule('booking-service-vs', 'ctx2')).object.spec.http;
    same(first.match, [{ headers: { 'x-canary': { exact: 'true' } } }], 'the rule is back, in front');
    await page.close();
  });
  await reset();
  await check('outlier detection: one endpoint below 100 % can never be ejected, and that is said; the clock has a row per pod', async () => {
    const page = await open('?svc=user&section=outlier');
    must(await page.run(() => document.getElementById('part-breaker').open), 'the fold of the address is not open');
    await page.click('[data-key="outlier.on"]');
    await fill(page, 'outlier.maxEjectionPercent', '70');
    await page.until(`document.querySelectorAll('#part-breaker [data-code=never]').length === 2`, 5000, 'the warning for both subsets');
    await fill(page, 'outlier.maxEjectionPercent', '100');
    await page.until(`document.querySelectorAll('#part-breaker [data-code=never]').length === 0`, 5000);
    await fill(page, 'pool.maxConnections', '5');
    await apply(page);
    const { trafficPolicy } = (await rule('user-service-dr', 'ctx2', 'DestinationRule')).object.spec;
    same([sorted(trafficPolicy.outlierDetection), trafficPolicy.connectionPool], [{ baseEjectionTime: '20s', consecutive5xxErrors: 2, interval: '5s', maxEjectionPercent: 100 }, { tcp: { maxConnections: 5 } }], 'policy');
    await page.until(`document.querySelectorAll('.clocks li').length === 2`, 8000, 'a row per pod');
    await page.picture('traffic-outlier', true);
    await page.close();
  });
  await reset();
}
const sorted = object => Object.fromEntries(Object.entries(object).sort(([a], [b]) => a.localeCompare(b)));

// ---------------------------------------------------------------- by keyboard

async function hands() {
  await reset();
  await check('24 keyboard only: a weight is changed, applied and rolled back', async () => {
    const page = await open('?svc=user');
    const focused = () => page.run(() => { const { id, dataset, className } = document.activeElement; return id || dataset.change && 'rollback' || className; });
    const reach = async (wanted, limit = 140) => { for (let i = 0; i < limit; i += 1) { if (await focused() === wanted) return; await page.key('Tab'); } throw new Error(`Tab never reached ${wanted}`); };
    await page.run(() => document.querySelector('.skip').focus());
    await page.key('Enter');
    await reach('traffic-tab-user');
    await page.key('ArrowRight');
    await page.until(`document.activeElement.id === 'traffic-tab-movie'`, 2000, 'arrows move between services');
    await page.key('ArrowLeft');
    await reach('weight');
    await page.key('ArrowLeft', { shift: true });
    await page.key('ArrowLeft');
    same(await page.run(() => [document.getElementById('weight').value, document.activeElement.id]), ['59', 'weight'], 'Shift+arrow is ten');
    await applicable(page);
    await reach('traffic-apply');
    await page.key('Enter');
    await page.until(`document.querySelectorAll('.outcome-l li').length === 2 && /59 : 41/.test(document.querySelector('#part-weight header .r').textContent) && document.querySelectorAll('.hist [data-change]').length > 0`, 15_000, 'applied, with a row in the history');
    same(await weightsOf('user-service-vs', 'ctx1'), [59, 41], 'applied');
    await reach('rollback');
    await page.key('Enter');
    for (let i = 0; i < 150 && (await weightsOf('user-service-vs', 'ctx2')).join() !== '70,30'; i += 1) await pause(200);
    same([await weightsOf('user-service-vs', 'ctx1'), await weightsOf('user-service-vs', 'ctx2')], [[70, 30], [70, 30]], 'rolled back');
    await page.until(`document.getElementById('weight').value === '70'`, 5000, 'the form follows');
    await page.close();
  });
  await reset();
}

await load({});
await run([everywhere, drafts, conflicts, truth, hands]);
await reset();
await browser.stop();
conclude();
