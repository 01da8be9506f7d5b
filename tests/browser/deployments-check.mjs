// The Deployments view on a real mesh: usage: node deployments-check.mjs URL OUT [--quick]; SMOV_OPERATOR is the operator door's address.
// A crash, a deletion, numbers of pods, logs, the link and the worst cases (gateway gone, istiod killed, Deny-all, a broken Gateway) through the page.

import { Browser, Page, pause } from './lib/chromium.mjs';
import { audit } from './lib/audit.mjs';
import { base, check as judged, conclude, load, must, out, quick, run, same } from './lib/checks.mjs';

const operator = new URL(process.env.SMOV_OPERATOR ?? 'http://localhost:8088').origin;
const browser = Browser.start();
// What is looked for below is Korean; a page without a wish speaks the language of the environment in which `smov up` was started.
const before = `try { localStorage.setItem('smov.lang', 'ko'); } catch { /* not a page of ours */ }`;
const opened = [];
const open = async (url, options = {}) => { const page = await Page.open(browser, url, { out, before, ...options }); opened.push(page); return page; };
const view = async (door = base, query = '', options = {}) => {
  const page = await open(`${door}/deployments${query}`, { context: await browser.context(), ...options });
  await page.until(`document.querySelectorAll('.deployments .cluster .deps li').length > 4`, 8000, 'both clusters are drawn');
  return page;
};
const state = async (door = operator) => (await fetch(`${door}/api/v1/state`)).json();
const post = (door, path, body) => fetch(`${door}/api/v1${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
const podsOf = async (cluster, app) => (await state()).pods[cluster].pods.filter(pod => pod.app === app && pod.status !== 'Terminating');
const deployment = async (cluster, name) => (await state()).pods[cluster].deployments.find(item => item.name === name);
const until = async (what, limit, ask) => { const end = Date.now() + limit; for (;;) { const found = await ask().catch(() => null); if (found) return found; if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what}`); await pause(100); } };
const whole = ({ state: sight, deployments, pods }) => {
  const staying = pods.filter(pod => pod.status !== 'Terminating'), wanted = deployments.reduce((sum, item) => sum + item.wanted, 0);
  return sight === 'ok' && deployments.every(item => item.ready >= item.wanted && !item.restore) && staying.length === wanted && staying.every(pod => pod.status === 'Running');
};
const settled = () => until('every Deployment has its pods, ready', 60_000, async () => Object.values((await state()).pods).every(whole));
const answers = async path => (await fetch(base + path, { signal: AbortSignal.timeout(2000) })).status === 200;
/** The mesh as it was started, whatever the check before left behind: rules, link and numbers of pods by the operator door, no traffic, both clouds answering. */
const order = async () => {
  await until('reset by the operator door', 30_000, async () => (await post(operator, '/reset', {})).status === 200);
  await settled();
  await until('the services answer', 30_000, async () => { for (let i = 0; i < 4; i += 1) if (!await answers('/users/') || !await answers('/movies/')) return false; return true; });
  must((await load({})).status === 200, 'the load did not stop');
};
/** One check, on a mesh in order; ends the tabs that it opened. */
async function check(name, body) {
  const began = Date.now();
  await judged(name, async () => { await order(); const note = await body(); return [note, `${((Date.now() - began) / 1000).toFixed(1)} s`].filter(Boolean).join(', '); });
  await Promise.all(opened.splice(0).map(page => page.close()));
}
const light = (cluster, name) => `document.querySelector('.cluster[data-cluster=${cluster}] li[data-name="${name}"]').dataset.light`;

/** Opens a pod's menu and chooses the item that holds `words`. */
async function choose(page, pod, words) {
  await page.run(name => { const button = [...document.querySelectorAll('tr[data-pod]')].find(row => row.dataset.pod === name).querySelector('.c-menu button'); button.scrollIntoView({ block: 'center' }); button.click(); }, pod);
  await page.until(`document.getElementById('pod-menu').matches(':popover-open')`, 2000, 'the menu opens');
  await page.run(text => { const item = [...document.querySelectorAll('#pod-menu [role=menuitem]')].find(entry => entry.textContent.includes(text)); if (!item) throw new Error(`no item ${text}`); item.click(); }, words);
}
const confirmed = async (page, index = -1) => { await page.until(`document.querySelector('dialog.confirm[open]')`, 2000, 'the dialog'); await page.run(at => [...document.querySelectorAll('dialog.confirm .confirm-end button')].at(at).click(), index); };
const closed = page => page.run(() => document.querySelector('dialog.confirm[open] .confirm-end button')?.click());
const press = (page, sign, target) => page.run((key, wanted) => { const button = [...document.querySelectorAll('[data-key]')].find(node => node.dataset.key.endsWith(`/${wanted}:${key}`)); button.scrollIntoView({ block: 'center' }); button.click(); }, sign, target);

async function looks() {
  for (const [lang, theme] of [['ko', 'light'], ['en', 'dark']]) await check(`audit and widths, ${lang} ${theme}`, async () => {
    const page = await view(base, `?lang=${lang}&theme=${theme}`);
    await page.until(`[...document.querySelectorAll('.c-memory')].some(cell => /MiB/.test(cell.textContent))`, 8000, 'memory is measured');
    const found = await page.run(audit);
    same([found.faint, found.unnamed, found.small, found.twice, found.h1], [[], [], [], [], 1], 'audit');
    for (const width of quick ? [360, 1024] : [360, 390, 768, 1024, 1440, 1920]) {
      await page.size(width, 900);
      await pause(300);
      same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `width ${width}`);
    }
    if (lang === 'en') { const hangul = await page.run(() => /[가-힣]/.exec(document.getElementById('view').innerText)?.[0] ?? null); same(hangul, null, 'Hangul in English'); }
    same(page.problems, [], 'console');
    for (const [width, height] of [[1440, 900], [390, 844]]) { await page.size(width, height); await pause(400); await page.picture(`deployments-${width}-${theme}`, true); }
  });
  await check('nodes, pods with figures, and the link are on the page', async () => {
    const page = await view();
    const got = await page.run(() => ({ nodes: document.querySelectorAll('.nodes li').length, pods: document.querySelectorAll('.pods-f tbody tr').length, heads: document.querySelectorAll('.pods-f thead')[0].querySelectorAll('th').length, link: !document.getElementById('link-control').hidden, confirmed: document.querySelector('.c-confirmed:not(th)').textContent }));
    must(got.nodes >= 2 && got.pods >= 8 && got.heads === 11 && got.link && /\d/.test(got.confirmed), JSON.stringify(got));
    const live = await open(`${base}/`, { context: await browser.context() });
    await live.run(() => document.getElementById('deploy').scrollIntoView());
    await live.until(`!document.getElementById('link').hidden`, 5000, 'the link\'s state is on Live');
    same(await live.run(() => document.querySelectorAll('#link [data-link]').length), 0, 'controls of the link on Live');
  });
}

async function crash() {
  const asked = async () => {
    const page = await view(), live = await open(`${base}/`, { context: await browser.context() });
    await live.run(() => document.getElementById('deploy').scrollIntoView());
    await load({ running: true, rate: 20, target: 'movie' });
    return { page, live };
  };
  // Live asks for lists meanwhile: their 503 is what this is about.
  const calm = (...pages) => same(pages.flatMap(page => page.problems).filter(text => !/status of 50[0-9]/.test(text)), [], 'console');
  await check('a pod killed through the page: predicted before, not green within 5 s, measured after, on Live, too', async () => {
    const { page, live } = await asked();
    const [pod] = await podsOf('ctx2', 'movie-service');
    await live.until(`document.querySelector('#deploy [data-cluster=ctx2] [data-app=movie-service]')?.dataset.light === 'ok'`, 5000, 'Live is green before');
    // Whatever the page shows from now on is noted, however short it is.
    await page.run(target => { window.seen = []; new MutationObserver(() => { const row = document.querySelector(target); if (row) window.seen.push(row.dataset.light); }).observe(document.querySelector('.deployments'), { subtree: true, childList: true }); }, '.cluster[data-cluster=ctx2] li[data-app=movie-service]');
    await live.run(target => { window.seen = []; new MutationObserver(() => { const row = document.querySelector(target); if (row) window.seen.push(row.dataset.light); }).observe(document.getElementById('deploy'), { subtree: true, childList: true }); }, '#deploy [data-cluster=ctx2] [data-app=movie-service]');
    await choose(page, pod.name, 'movie-service');
    await page.until(`document.querySelector('dialog.confirm .predict')`, 2000, 'a prediction');
    const said = await page.run(() => [document.querySelector('.predict').dataset.code, document.querySelector('.predict').textContent, document.activeElement.closest('dialog') !== null]);
    const { configured } = (await state()).services.movie;
    must(said[0] === 'share' && said[1].includes(`${configured.ctx2}%`) && said[1].includes('503') && said[2], said.join(' '));
    await page.picture('deployments-confirm');
    await confirmed(page);
    await page.until(`(document.querySelector('.outcome')?.textContent ?? '') !== ''`, 20_000, 'the kill is done');
    await page.until(`window.seen.some(light => light !== 'ok')`, 5000, 'not green');
    await live.until(`window.seen.some(light => light !== 'ok')`, 5000, 'not green on Live');
    await page.until(`/\\d+\\.\\d/.test(document.querySelector('.outcome')?.textContent ?? '') && /첫 응답까지/.test(document.querySelector('.outcome').textContent)`, 60_000, 'the measured effect');
    const outcome = await page.run(() => document.querySelector('.outcome').textContent);
    await page.picture('deployments-measured');
    await closed(page);
    await page.until(`${light('ctx2', 'movie-service-ctx2')} === 'ok'`, 20_000, 'green again');
    same((await podsOf('ctx2', 'movie-service'))[0].restarts, pod.restarts + 1, 'restarts');
    await page.until(`document.querySelector('.moments li[data-kind=ready]') && document.querySelector('.moments li[data-kind=kill]')`, 5000, 'both entries in the timeline');
    calm(page, live);
    return outcome;
  });
  await check('a pod deleted through the page: another one takes its place, and the share that failed is the one that was said', async () => {
    const { page, live } = await asked();
    const [pod] = await podsOf('ctx2', 'movie-service');
    await choose(page, pod.name, '파드 삭제');
    await confirmed(page);
    await page.until(`/초/.test(document.querySelector('.outcome')?.textContent ?? '')`, 60_000, 'the measured effect');
    const outcome = await page.run(() => document.querySelector('.outcome').textContent);
    await closed(page);
    await settled();
    must((await podsOf('ctx2', 'movie-service'))[0].name !== pod.name, 'the same pod');
    calm(page, live);
    return outcome;
  });
}

async function numbers() {
  const name = 'user-service-ctx1';
  await check('1 → 2 → 1: more at once, less after a question that promises no failure', async () => {
    const page = await view();
    await press(page, '+', name);
    await until('two are ready', 30_000, async () => (await deployment('ctx1', name)).ready === 2);
    await page.until(`document.querySelector('li[data-name="${name}"] output').textContent === '2'`, 5000, 'the page says 2');
    await press(page, '−', name);
    await page.until(`document.querySelector('dialog.confirm .predict')`, 2000, 'a prediction');
    same(await page.run(() => document.querySelector('.predict').dataset.code), 'left', 'prediction with two pods');
    await confirmed(page);
    await until('one is wanted', 20_000, async () => { const item = await deployment('ctx1', name); return item.wanted === 1 && item.ready === 1; });
    await closed(page);
    same(page.problems, [], 'console');
  });
  await check('to none for 30 s: asked with the switch on, shown with the time that is left, taken back by hand', async () => {
    const page = await view();
    await press(page, '−', name);
    await page.until(`document.querySelector('dialog.confirm .predict')`, 2000, 'a prediction');
    same(await page.run(() => [document.querySelector('.predict').dataset.code, document.querySelector('dialog.confirm input').checked]), ['share', true], 'prediction and switch');
    await confirmed(page);
    await until('none is wanted', 10_000, async () => (await deployment('ctx1', name)).wanted === 0);
    await page.until(`/복구/.test(document.querySelector('li[data-name="${name}"] .chip.warn')?.textContent ?? '')`, 5000, 'the time that is left');
    await closed(page);
    await press(page, '+', name);
    await until('one is back', 30_000, async () => { const item = await deployment('ctx1', name); return item.ready === 1 && !item.restore; });
    same(page.problems, [], 'console');
  });
  await check('restart: no request fails, and the pod is another one', async () => {
    const page = await view();
    const [before] = await podsOf('ctx1', 'user-service');
    await press(page, 'restart', name);
    await page.until(`document.querySelector('dialog.confirm .predict')`, 2000, 'a prediction');
    same(await page.run(() => document.querySelector('.predict').dataset.code), 'rolling', 'prediction');
    await confirmed(page);
    await until('another pod', 40_000, async () => { const pods = await podsOf('ctx1', 'user-service'); return pods.length === 1 && pods[0].name !== before.name && pods[0].ready === '2/2'; });
    await closed(page);
    same(page.problems, [], 'console');
  });
}

async function logs() {
  await check('logs follow: by address, live, bounded, searched, paused', async () => {
    const [pod] = await podsOf('ctx1', 'user-service');
    const page = await view(base, `?cluster=ctx1&pod=${pod.name}&logs=1`);
    await page.until(`!document.getElementById('logs').hidden && /실시간/.test(document.querySelector('.logcard [role=status]').textContent)`, 5000, 'the logs are open and live');
    const names = await page.run(() => [...document.querySelectorAll('.logcard option')].map(option => option.value));
    must(names.includes('user-service') && names.includes('istio-proxy'), names.join());
    must(await page.run(() => document.querySelector('tr.sel')?.dataset.pod) === pod.name, 'the row of the address is not marked');
    await page.run(() => { const select = document.querySelector('.logcard select'); select.value = 'istio-proxy'; select.dispatchEvent(new Event('change')); });
    await page.until(`document.querySelectorAll('.logs span').length > 0`, 8000, 'lines of the proxy');
    const before = await page.run(() => document.querySelector('.logs').textContent.length);
    await page.run(() => { const search = document.querySelector('.logcard input[type=search]'); search.value = 'zzz-no-such-line'; search.dispatchEvent(new Event('input')); });
    same(await page.run(() => document.querySelectorAll('.logs span:not([hidden])').length), 0, 'lines that do not match');
    await page.run(() => { const search = document.querySelector('.logcard input[type=search]'); search.value = ''; search.dispatchEvent(new Event('input')); });
    await page.run(() => document.getElementById('logs').scrollIntoView());
    await page.picture('deployments-logs');
    await page.run(() => document.querySelector('.logcard header button').click());
    same(await page.run(() => [document.getElementById('logs').hidden, location.search]), [true, ''], 'closed');
    same(page.problems, [], 'console');
    return `${before} characters`;
  });
}

async function keys() {
  await check('keyboard only: the menu of a pod, a question, the way out, and focus comes back', async () => {
    const page = await view();
    const [pod] = await podsOf('ctx1', 'user-service');
    await page.run(name => [...document.querySelectorAll('tr[data-pod]')].find(row => row.dataset.pod === name).querySelector('.c-menu button').focus(), pod.name);
    await page.key('Enter');
    await page.until(`document.activeElement.getAttribute('role') === 'menuitem'`, 2000, 'focus in the menu');
    await page.key('ArrowUp', { code: 'ArrowUp' });
    must(/삭제/.test(await page.run(() => document.activeElement.textContent)), 'arrow up goes to the last item');
    await page.key('Enter');
    await page.until(`document.querySelector('dialog.confirm[open]')?.contains(document.activeElement)`, 2000, 'focus in the dialog');
    must(/취소/.test(await page.run(() => document.activeElement.textContent)), 'focus is not on the way out');
    await page.key('Enter');
    await page.until(`!document.querySelector('dialog.confirm')`, 2000, 'the dialog is gone');
    same(await page.run(() => document.activeElement.dataset.key?.endsWith(':menu')), true, 'focus came back');
    same((await podsOf('ctx1', 'user-service'))[0].name, pod.name, 'the pod');
  });
}

async function link() {
  await check('the link is cut with a way back, and put back by hand', async () => {
    const page = await view(operator);
    await page.run(() => document.querySelector('#link-control [data-link=cut]').click());
    await page.until(`document.querySelector('dialog.confirm .predict')`, 2000, 'a prediction');
    await confirmed(page);
    await page.until(`/단절/.test(document.getElementById('link-state').textContent) && /\\d+초/.test(document.querySelector('#link-control .muted').textContent)`, 10_000, 'cut, with the time that is left');
    await page.run(() => document.querySelector('#link-control [data-link=plain]').click());
    await page.until(`document.querySelector('#link-control [data-link=plain]').getAttribute('aria-pressed') === 'true'`, 10_000, 'plain again');
    await page.until(`document.querySelectorAll('.moments li[data-kind=link]').length >= 2`, 5000, 'both in the timeline');
  });
}

async function worst() {
  await check('api-gateway at 0: the operator door says so and resets; the page comes back by itself and marks the gap', async () => {
    const page = await view(operator), own = await open(`${base}/`, { context: await browser.context() });
    await load({ running: true, rate: 20 });
    await page.run(() => [...document.querySelectorAll('[data-key]')].find(node => /\/api-gateway[^/]*:−$/.test(node.dataset.key)).click());
    await page.until(`document.querySelector('dialog.confirm .predict')?.dataset.code === 'gateway'`, 2000, 'the prediction');
    await page.run(() => document.querySelector('dialog.confirm input').click());
    await confirmed(page);
    await own.until(`!document.getElementById('conn').classList.contains('ok')`, 15_000, 'the page through the gateway is cut off');
    await page.until(`document.getElementById('conn').classList.contains('err')`, 15_000, 'the operator door says that the gateway is away');
    same((await post(operator, '/reset', {})).status, 200, 'reset through the operator door');
    await closed(page);
    await own.until(`document.getElementById('conn').classList.contains('ok')`, 60_000, 'the page is back');
    await page.until(`document.getElementById('conn').classList.contains('ok')`, 30_000, 'the operator door sees the gateway');
    await page.until(`[...document.querySelectorAll('.moments li[data-kind=ready]')].some(row => /api-gateway/.test(row.textContent))`, 10_000, 'the recovery is told');
  });
  await check('istiod killed: traffic goes on, the page says so and sees it come back', async () => {
    const page = await view(operator), [istiod] = await podsOf('ctx1', 'istiod');
    await choose(page, istiod.name, istiod.containers[0]);
    await page.until(`document.querySelector('dialog.confirm .predict')?.dataset.code === 'istiod'`, 2000, 'the prediction');
    await confirmed(page);
    await until('istiod restarted', 30_000, async () => (await podsOf('ctx1', 'istiod'))[0].restarts > istiod.restarts);
    const answer = await fetch(`${base}/users/`);
    same(answer.status, 200, 'a request meanwhile');
    await settled();
    same((await post(operator, '/reset', {})).status, 200, 'reset');
    await closed(page);
  });
  const apply = async (object, plural, method = 'apply') => {
    const { execFileSync } = await import('node:child_process');
    if (!process.env.KUBECONFIG) throw new Error('KUBECONFIG is not set');
    return execFileSync('kubectl', ['--context', 'ctx1', ...(method === 'apply' ? ['apply', '-f', '-'] : ['delete', '-f', '-', '--ignore-not-found'])], { input: JSON.stringify(object) }).toString();
  };
  if (process.env.KUBECONFIG) await check('a broken Gateway: the page is cut off, reset through the operator door puts it back', async () => {
    const own = await open(`${base}/`, { context: await browser.context() });
    const { execFileSync } = await import('node:child_process');
    const gateways = JSON.parse(execFileSync('kubectl', ['--context', 'ctx1', 'get', 'gateways.networking.istio.io', '-A', '-o', 'json']).toString()).items;
    const { name, namespace } = gateways[0].metadata;
    await apply({ apiVersion: 'networking.istio.io/v1', kind: 'Gateway', metadata: { name, namespace }, spec: { selector: { istio: 'nobody' }, servers: gateways[0].spec.servers } });
    await until('the page answers no more', 20_000, async () => (await fetch(`${base}/users/`).then(answer => answer.status, () => 0)) !== 200);
    const page = await view(operator);
    await page.until(`[...document.querySelectorAll('.moments li[data-kind=change]')].some(row => /Gateway/.test(row.textContent))`, 10_000, 'the change is told');
    same((await post(operator, '/reset', {})).status, 200, 'reset');
    await until('the page answers again', 20_000, async () => (await fetch(`${base}/users/`)).status === 200);
    await own.until(`document.getElementById('conn').classList.contains('ok')`, 60_000, 'the page is back by itself');
  });
  if (process.env.KUBECONFIG) await check('a Deny-all policy: reset through the operator door takes it away', async () => {
    await apply({ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { name: 'deny-all', namespace: 'theater-msa' }, spec: {} });
    await until('requests are denied', 20_000, async () => (await fetch(`${base}/users/`)).status === 403);
    const page = await view(operator);
    await page.until(`[...document.querySelectorAll('.moments li[data-kind=change]')].some(row => /deny-all/.test(row.textContent))`, 10_000, 'the change is told');
    const answer = await post(operator, '/reset', {});
    same(answer.status, 200, 'reset');
    const { execFileSync } = await import('node:child_process');
    const left = execFileSync('kubectl', ['--context', 'ctx1', '-n', 'theater-msa', 'get', 'authorizationpolicies', '-o', 'name']).toString();
    must(!left.includes('deny-all'), `still there: ${left}`);
    await until('requests pass', 20_000, async () => (await fetch(`${base}/users/`)).status === 200);
  });
}

await run([looks, crash, numbers, logs, keys, link, worst]);
await browser.stop();
conclude();
