// Looks at the Metrics view with a real Chromium.
//   node tests/browser/metrics-check.mjs http://localhost:8080 out/ [--quick] [--only=everywhere,figures,hands]
// Prints one line per check and `N passed, N failed`; writes screenshots to the folder. CHROMIUM names another browser.
// The mesh behind the address should be idle; the checks make traffic.

import { audit } from './lib/audit.mjs';
import { base, check, conclude, load, must, out, post, quick, quiet, run, same } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';

const browser = Browser.start();
const open = async (path, options) => Page.open(browser, base + path, { out, context: await browser.context(), ...options });
const series = async minutes => (await fetch(`${base}/api/v1/series?minutes=${minutes}`)).json();
const shown = page => page.until(`document.querySelectorAll('.metrics .chart canvas').length === 9 && document.querySelectorAll('.metrics .figures tbody tr').length > 0`, 15_000, 'nine charts and a table');

/** Requests of each service until the step that counts them is complete. */
async function traffic(count) {
  const sum = view => view.table.reduce((total, row) => total + row.requests, 0);
  for (let i = 0; (await series(60)).known_s === 0; i += 1) { must(i < 40, 'no step is known after 20 s'); await pause(500); }
  const before = sum(await series(60));
  await post('/api/v1/load/burst', { count, target: 'all' });
  await quiet();
  for (let i = 0; sum(await series(60)) < before + count; i += 1) { must(i < 60, `${sum(await series(60)) - before} of ${count} counted after 30 s`); await pause(500); }
}

async function everywhere() {
  for (const lang of ['ko', 'en']) for (const theme of ['light', 'dark']) {
    await check(`2, 4, 22, 25 ${lang} ${theme}: no console error, contrast, names, targets, ids, one h1, one language`, async () => {
      const page = await open(`/charts?lang=${lang}&theme=${theme}`);
      await shown(page);
      const text = await page.run(() => document.querySelector('.metrics').textContent + [...document.querySelectorAll('.metrics [aria-label]')].map(one => one.getAttribute('aria-label')).join(' '));
      if (lang === 'en') must(!/[가-힣]/.test(text), `Hangul in English: ${/.{0,20}[가-힣]+.{0,20}/.exec(text)}`);
      must(!/metrics\.\w/.test(text), `a key instead of words: ${/.{0,30}metrics\.\S+/.exec(text)}`);
      same(await page.run(audit), { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, 'audit');
      same(page.problems, [], 'console');
      await page.picture(`metrics-${lang}-${theme}`, true);
      await page.close();
    });
  }
  await check('3 no sideways scrolling from 360 to 1920', async () => {
    const page = await open('/charts?lang=ko');
    await shown(page);
    for (const width of [360, 390, 768, 1024, 1440, 1920]) {
      await page.size(width, 900, width < 800);
      await pause(250);
      same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `innerWidth and scrollWidth at ${width}`);
      if (width === 390) await page.picture('metrics-390', true);
    }
    await page.close();
  });
}

async function figures() {
  await check('the table equals the server, which equals what was answered', async () => {
    const sent = quick ? 30 : 300;
    const before = await series(60);
    await traffic(sent);
    const view = await series(60), sum = one => one.table.reduce((total, row) => total + row.requests, 0);
    must(sum(view) - sum(before) >= sent, `${sum(view)} after ${sum(before)}`);
    const page = await open('/charts?minutes=60&lang=en');
    await shown(page);
    const rows = await page.run(() => [...document.querySelectorAll('.metrics .figures tbody tr')].map(row => [...row.cells].map(cell => cell.textContent.trim())));
    const names = { user: 'Users', movie: 'Movies', booking: 'Bookings' };
    same(rows.map(row => row.slice(0, 3)), view.table.map(row => [names[row.service], row.cluster ?? 'Not reached', new Intl.NumberFormat('en').format(row.requests)]), 'rows');
    await page.close();
    return `${sum(view)} requests in ${rows.length} rows`;
  });
  await check('an unknown time is a gap, not a zero', async () => {
    const { lines, steps } = await series(60);
    for (const line of lines) { same(line.requests.length, steps, 'steps'); must(line.requests[0] === null, 'an hour ago nobody was looking'); }
  });
  await check('clusters together or apart, one service, in the address', async () => {
    const page = await open('/charts?svc=user&clusters=together&minutes=5&lang=en');
    await page.until(`document.querySelectorAll('.metrics .chart').length === 3`, 10_000, 'three charts');
    must((await page.run(() => document.querySelectorAll('.metrics .chart')[2].textContent)).includes('p50'), 'percentiles side by side');
    await page.run(() => { const [service] = document.querySelectorAll('.metrics select'); service.value = ''; service.dispatchEvent(new Event('change')); });
    await page.until(`document.querySelectorAll('.metrics .chart').length === 9 && !location.search.includes('svc=')`, 5000, 'all services, and the address says so');
    await page.close();
  });
}

async function hands() {
  await check('24 keyboard only: a chart is read step by step, Enter leads to the requests of that moment', async () => {
    const page = await open('/charts?lang=en&minutes=5');
    await shown(page);
    await page.run(() => document.querySelector('.metrics canvas').focus());
    await page.key('End');
    const read = await page.run(() => document.querySelector('.metrics .read').textContent);
    must(/\d+:\d+:\d+/.test(read), `the reading: ${read}`);
    await page.key('ArrowLeft');
    must(await page.run(() => document.querySelector('.metrics .read').textContent) !== read, 'another step');
    await page.key('Enter');
    await page.until(`location.pathname === '/inspect' && location.search.includes('svc=user')`, 5000, 'the inspector');
    await page.close();
  });
}

try {
  await load({});
  await traffic(9);
  await run([everywhere, figures, hands]);
} finally { await browser.stop(); }
conclude();
