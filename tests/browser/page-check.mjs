// Looks at the Live page with a real Chromium.
//   node tests/browser/page-check.mjs http://localhost:8080 out/ [--quick] [--only=firstLoad,everywhere,elements,truth,stream,hands]
// Prints one line per check and `N passed, N failed`; writes screenshots to the folder. CHROMIUM names another browser.
// The mesh behind the address should be idle and at its baseline; the checks add a user and book two seats.

import { gzipSync } from 'node:zlib';
import { audit } from './lib/audit.mjs';
import { base, check, conclude, load, must, out, post, quick, quiet, run, same, state } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';
import { Relay } from './lib/relay.mjs';

/** For each service the columns as `1` (ctx1 on), `2` (ctx2 on), `x` (✕ in one row), `X` (✕ across both), `.` (hollow), or what is wrong. */
function columns() {
  const read = service => {
    const [upper, lower] = [1, 2].map(row => [...document.querySelectorAll(`#l-${service}-${row} .lamp`)]);
    if (upper.length !== 16 || lower.length !== 16) return `${upper.length}/${lower.length}`;
    return upper.map((lamp, i) => {
      const a = lamp.classList, b = lower[i].classList;
      if (a.contains('miss') && b.contains('miss')) return 'X';
      const kinds = [a.contains('on') && '1', b.contains('on') && '2', a.contains('err') && 'x', b.contains('err') && 'x'].filter(Boolean);
      return kinds.length === 0 ? '.' : kinds.length === 1 ? kinds[0] : '!';
    }).join('');
  };
  return Object.fromEntries(['user', 'movie', 'booking'].map(service => [service, read(service)]));
}

const tokens = {
  light: { '--bg': '#f3f2ee', '--surface': '#fff', '--ink': '#15171c', '--ctx1-fill': '#1f7ae0', '--ctx2-fill': '#d2600f', '--lamp': '#0c9a4b', '--err-fill': '#d92640', '--accent': '#5a3dcf' },
  dark: { '--bg': '#0d0f13', '--surface': '#161920', '--ink': '#f2f4f8', '--ctx1-fill': '#3d93f0', '--ctx2-fill': '#f08a35', '--lamp': '#2fd07c', '--err-fill': '#ff5a6e', '--accent': '#b7a6ff' },
};

// ---------------------------------------------------------------- the checks

const browser = Browser.start();
const relay = await Relay.start(base);
const open = (url, options) => Page.open(browser, url, { out, ...options });

async function firstLoad() {
  await check('1 first load: at most 8 requests and 100 kB gz, own origin only, strict CSP, no inline script', async () => {
    const page = await open(`${base}/`, { context: await browser.context() });
    const urls = page.requests.filter(url => !url.includes('/api/v1/events'));
    const problems = page.problems;
    await page.close();
    must(urls.every(url => new URL(url).origin === base), `another origin: ${urls.join(' ')}`);
    must(urls.length <= 8, `${urls.length} requests: ${urls.join(' ')}`);
    let bytes = 0;
    for (const url of urls) { const answer = await fetch(url); bytes += gzipSync(Buffer.from(await answer.arrayBuffer())).length; }
    must(bytes <= 100_000, `${bytes} bytes`);
    const answer = await fetch(`${base}/`);
    const policy = answer.headers.get('content-security-policy') ?? '';
    must(policy.includes("default-src 'self'") && !policy.includes('unsafe'), `CSP: ${policy}`);
    const html = await answer.text();
    must(!/<script(?![^>]*\ssrc=)/.test(html) && !/\son[a-z]+="/.test(html) && !/\sstyle="/.test(html), 'inline script, handler or style');
    same(problems, [], 'console');
    return `${urls.length} requests, ${(bytes / 1000).toFixed(1)} kB gz`;
  });
}

async function everywhere() {
  await load({ running: true, rate: 20 });
  await pause(2500);
  for (const lang of ['ko', 'en']) for (const theme of ['light', 'dark']) {
    await check(`2 no console error, ${lang} ${theme}, with the tokens of the design`, async () => {
      const page = await open(`${base}/?lang=${lang}&theme=${theme}`, { context: await browser.context() });
      await page.run(() => scrollTo(0, 1e6));
      await pause(1500);
      const got = await page.run(names => { const style = getComputedStyle(document.documentElement); return Object.fromEntries(names.map(name => [name, style.getPropertyValue(name).trim()])); }, Object.keys(tokens[theme]));
      const problems = page.problems;
      const text = await page.run(() => { const clone = document.body.cloneNode(true); for (const part of clone.querySelectorAll('ul,select,.seg.lang,noscript,template,#help,#keys,#rows,.sum,.path,#toast')) part.remove(); return clone.textContent; });
      const configured = await page.run(() => document.querySelector('[data-part=configured] .k').textContent);
      await page.close();
      same(problems, [], 'console');
      same(got, tokens[theme], 'tokens');
      if (lang === 'en') must(!/[가-힣]/.test(text), `22 Hangul in English: ${/.{0,20}[가-힣]+.{0,20}/.exec(text)}`);
      else must(configured.includes('트래픽설정'), `22 the box says ${configured}`);
    });
  }
  await check('3 no sideways scrolling from 360 to 1920', async () => {
    const page = await open(`${base}/`, { context: await browser.context() });
    for (const width of [360, 390, 768, 1024, 1440, 1920]) for (const lang of ['ko', 'en']) {
      await page.size(width, 900, width < 800);
      await page.run(code => { document.querySelector(`[data-lang=${code}]`).click(); scrollTo(0, 1e6); }, lang);
      await pause(500);
      const got = await page.run(() => [innerWidth, document.documentElement.scrollWidth]);
      same(got, [width, width], `innerWidth and scrollWidth at ${width} ${lang}`);
      // The hint of a board without requests is the longest line that it ever has.
      const wide = await page.run(() => [...document.querySelectorAll('.lamps')].filter(board => {
        const hint = board.querySelector('[data-part=hint]'), said = hint.textContent;
        hint.textContent = 'no requests yet, press play '.repeat(4);
        const wider = board.scrollWidth > board.clientWidth;
        hint.textContent = said;
        return wider;
      }).length);
      same(wide, 0, `boards wider than their card at ${width} ${lang}`);
    }
    await page.close();
  });
  for (const [width, height, query] of [[1440, 900, ''], [390, 844, ''], [1280, 720, 'projector=1&'], [1024, 768, '']]) for (const theme of ['light', 'dark']) {
    await check(`4 contrast, names, targets, ids at ${width} × ${height} ${theme}${query && ' projector'}`, async () => {
      const page = await open(`${base}/?${query}theme=${theme}`, { context: await browser.context(), width, height });
      await page.run(() => scrollTo(0, 1e6));
      await pause(1200);
      const got = await page.run(audit);
      await page.close();
      same(got, { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, 'audit');
    });
  }
}

/** Element by element: what every board, bar and form must have, by size. */
function inventory() {
  const box = element => { const around = element.getBoundingClientRect(); return { x: around.x, y: around.y, w: around.width, h: around.height, bottom: around.bottom }; };
  const boards = [...document.querySelectorAll('.svc')].map(board => ({
    lamps: [...board.querySelectorAll('.lset')].map(row => row.children.length), lamp: Math.max(0, ...[...board.querySelectorAll('.lamp.on i')].map(lamp => box(lamp).w)), configured: board.querySelector('[data-part=configured] .v').textContent, observed: board.querySelector('[data-part=observed] .v').textContent,
    n: board.querySelector('[data-part=n]').textContent, ruler: board.querySelector('.ruler').getAttribute('aria-label'), band: box(board.querySelector('.band')).w, verdict: board.querySelector('.verdict b').textContent, verdictBottom: box(board.querySelector('.verdict')).bottom, helps: board.querySelectorAll('.q').length,
    lampsBesideBoxes: [box(board.querySelector('.lgrid')).h, box(board.querySelector('.box')).h], left: box(board).x, width: box(board).w,
  }));
  const dock = document.querySelector('.dock'), style = getComputedStyle(document.querySelector('.card'));
  return { boards, dock: { bottom: box(dock).bottom, top: box(dock).y, play: box(document.getElementById('play')).w, bursts: [...dock.querySelectorAll('[data-burst]')].map(button => button.textContent), targets: dock.querySelectorAll('[data-target]').length, kpis: dock.querySelectorAll('.kpi').length, rate: document.getElementById('rate').max },
    radius: style.borderRadius, gap: getComputedStyle(document.getElementById('boards')).columnGap, rem: parseFloat(getComputedStyle(document.documentElement).fontSize), height: innerHeight };
}

async function elements() {
  const common = got => {
    same(got.boards.map(board => board.lamps), [[16, 16], [16, 16], [16, 16]], 'lamps');
    for (const board of got.boards) {
      must(/^(\d+:\d+|–)$/.test(board.configured), `configured ${board.configured}`);
      must(/^(\d+:\d+|–)$/.test(board.observed), `observed ${board.observed}`);
      must(/^N=\d+/.test(board.n) && board.ruler && board.verdict && board.helps >= 4, JSON.stringify(board));
    }
    same(got.dock.bursts, ['+1', '+10', '+100'], 'bursts');
    same([got.dock.targets, got.dock.kpis, got.dock.rate], [4, 3, '100'], 'dock');
  };
  const see = async (width, height, query) => {
    const page = await open(`${base}/?${query}`, { context: await browser.context(), width, height });
    await page.run(() => document.getElementById('steps-done').click());
    await pause(800);
    const got = await page.run(inventory);
    return { page, got };
  };
  await check('elements at 1440: three boards beside each other, 16 px between and inside', async () => {
    const { page, got } = await see(1440, 900, 'theme=light');
    common(got);
    must(new Set(got.boards.map(board => Math.round(board.left))).size === 3, 'boards are not beside each other');
    must(Math.max(...got.boards.map(board => board.width)) - Math.min(...got.boards.map(board => board.width)) < 1, 'boards differ in width');
    same([got.radius, got.gap, got.rem], ['14px', '16px', 16], 'radius, gap, rem');
    await page.picture('live-1440-full', true);
    await page.until(`document.querySelectorAll('.seat').length === 96 && document.querySelectorAll('.cluster').length === 2`, 3000).catch(() => {});
    const seats = await page.run(() => ({ seats: document.querySelectorAll('.seat').length, grid: document.querySelector('.seats').getAttribute('role'), stops: document.querySelectorAll('.seat[tabindex="0"]').length, steps: document.querySelectorAll('.book h3 .num').length, clusters: document.querySelectorAll('.cluster').length, lists: document.querySelectorAll('.list li').length }));
    await page.close();
    same([seats.seats, seats.grid, seats.stops, seats.steps, seats.clusters], [96, 'grid', 1, 3, 2], 'seat map and clusters');
    must(seats.lists >= 3, 'lists are empty');
  });
  await check('elements at 1280 × 720 projector: three boards and verdicts fit, lamps at least 20 px', async () => {
    const { page, got } = await see(1280, 720, 'projector=1&theme=dark');
    common(got);
    must(got.boards.every(board => board.lamp >= 20), `lamps ${got.boards.map(board => board.lamp)}`);
    must(got.boards.every(board => board.verdictBottom <= got.dock.top), `verdicts end at ${got.boards.map(board => board.verdictBottom)}, dock begins at ${got.dock.top}`);
    same(got.rem, 22, 'rem');
    await page.picture('projector-1280-dark');
    await page.size(1920, 1080);
    await pause(600);
    await page.picture('projector-1920-dark');
    await page.close();
  });
  await check('elements at 390: one board under the other, dock and tabs at the bottom', async () => {
    const { page, got } = await see(390, 844, 'theme=light');
    common(got);
    must(new Set(got.boards.map(board => Math.round(board.left))).size === 1, 'boards are beside each other');
    same(Math.round(got.dock.bottom), 844, 'dock');
    must(got.dock.play >= 44, `▶ ${got.dock.play}`);
    must(await page.run(() => document.getElementById('boards').getBoundingClientRect().y < document.getElementById('topo').getBoundingClientRect().y), 'lamps come after the topology');
    await page.picture('live-390-full', true);
    await page.close();
  });
  const page = await open(`${base}/?theme=dark`, { context: await browser.context() });
  await page.picture('live-1440-dark');
  await page.media([['forced-colors', 'active']]);
  await page.picture('live-1440-forced-colors');
  await page.close();
}

async function truth() {
  const page = await open(`${base}/`, { context: await browser.context() });
  await check('5 lamps: 16 + 16 for each service, one sign per column', async () => {
    const got = await page.run(columns);
    for (const [service, signs] of Object.entries(got)) must(/^[12xX.]{16}$/.test(signs) && !/\.[12xX]/.test(signs), `${service}: ${signs}`);
  });
  await quiet();
  await check('6 lamp truth: the last 16 columns equal the answers of 50 requests', async () => {
    const clusters = []; // below 200 a second, where the server sends every row and not a sample
    for (let i = 0; i < 50; i += 1) { const answer = await fetch(`${base}/users/`, { headers: { 'x-request-id': `page-check-${process.pid}-${i}` } }); await answer.arrayBuffer(); clusters.push({ ctx1: '1', ctx2: '2' }[answer.headers.get('x-service-cluster')] ?? 'X'); await pause(8); }
    const wanted = clusters.slice(-16).join('');
    await page.until(`(${columns})().user === '${wanted}'`, 3000, `lamps ${wanted}`).catch(async error => { throw new Error(`${error.message}, they show ${(await page.run(columns)).user}`); });
    return wanted;
  });
  await check('7 +100 for one service: N = 100 within 10 s, equal to the server, with the exact interval', async () => {
    await page.click('[data-target=user]');
    await page.until(`document.querySelector('[data-target=user]').getAttribute('aria-pressed') === 'true'`, 2000);
    const before = (await state()).services.user.stat.total;
    await page.click('[data-burst="100"]');
    for (let i = 0; i < 100 && (await state()).services.user.stat.total < before + 100; i += 1) await pause(100);
    await pause(700);
    const { stat, configured } = (await state()).services.user;
    const read = () => page.run(() => { const board = document.querySelector('[data-service=user]'); return [board.querySelector('[data-part=n]').textContent, board.querySelector('[data-part=observed] .v').textContent, board.querySelector('.numbers').textContent, board.querySelector('[data-part=configured] .v').textContent]; });
    const [n, observed, numbers, shown] = await read();
    must(stat.total >= before + 100, `only ${stat.total - before} arrived`);
    same(stat.n, 100, 'N');
    must(n.startsWith(`N=${stat.n}`), `${n}, server ${stat.n}`);
    same(observed, `${Math.round((stat.ctx1 / stat.n) * 100)}:${100 - Math.round((stat.ctx1 / stat.n) * 100)}`, 'observed');
    same(shown, `${configured.ctx1}:${configured.ctx2}`, 'configured');
    const range = `${Math.round((stat.lo / stat.n) * 100)}–${Math.round((stat.hi / stat.n) * 100)}`;
    must(numbers.includes(range), `${numbers} without ${range}`);
    if (configured.ctx1 === 70 && stat.n === 100) same(range, '61–79', 'interval of 70 %');
    return `${n} ${observed} ${range}`;
  });
  await check('own requests: +10 is sent by the page, logged with the seed\'s line, and can be shown alone', async () => {
    await page.click('[data-target=all]');
    await pause(400);
    page.logs.length = 0;
    await page.click('[data-burst="10"]');
    for (let i = 0; i < 50 && page.logs.length < 10; i += 1) await pause(100);
    const lines = page.logs.filter(line => /^실제 라우팅 결과 - 서비스: \S+, 클러스터: \S+, 파드: \S+$/.test(line));
    same(lines.length, 10, 'lines');
    await page.click('#only-mine');
    await pause(600);
    const mine = await page.run(columns);
    must(Object.values(mine).join('').replaceAll('.', '').length >= 10, JSON.stringify(mine));
    const pods = await page.run(() => [...document.querySelectorAll('#rows tr:not([hidden]) .lnk')].length);
    must(pods > 0, 'no rows of mine');
    await page.click('#only-mine');
  });
  await check('help, lamp keys, and the way to the inspector', async () => {
    await page.click('[data-service=movie] [data-help=configured]');
    await page.until(`!document.querySelector('#help pre').hidden`, 3000);
    const text = await page.run(() => [document.getElementById('help').matches(':popover-open'), document.querySelector('#help pre').textContent]);
    must(text[0] && text[1].includes('kubectl') && text[1].includes('movie-service-vs'), text.join(' '));
    await page.run(() => { document.getElementById('help').hidePopover(); document.getElementById('cols-user').focus(); });
    await page.key('ArrowLeft');
    const label = await page.run(() => document.getElementById(document.getElementById('cols-user').getAttribute('aria-activedescendant')).getAttribute('aria-label'));
    must(/ctx[12]|도달|reached/.test(label), label);
    await page.key('Enter');
    await page.until(`location.pathname === '/inspect' && document.querySelectorAll('.insp .why[data-cluster^=ctx] em').length > 0`, 8000, 'the lamp leads to the inspector');
  });
  await check('first visit: three steps, gone for good once dismissed', async () => {
    const context = await browser.context();
    const first = await open(`${base}/`, { context });
    same(await first.run(() => [document.querySelectorAll('#steps li').length, document.getElementById('steps').hidden]), [3, false], 'steps');
    await first.click('#steps-done');
    await first.close();
    const second = await open(`${base}/`, { context });
    same(await second.run(() => document.getElementById('steps').hidden), true, 'hidden');
    await second.close();
  });
  same(page.problems, [], 'console');
  await page.close();
}

async function stream() {
  await check('19 stream cut: "reconnecting" within 3 s, resumed, totals equal, the gap is marked', async () => {
    const page = await open(`${relay.origin}/?lang=ko`, { context: await browser.context() });
    await load({ running: true, rate: 20 });
    await pause(1500);
    relay.refused = true;
    relay.cut();
    await page.until(`document.querySelector('#conn span').textContent === '다시 연결 중' && !document.getElementById('lost').hidden`, 3000, 'pill and banner');
    await page.until(`document.querySelectorAll('[data-part=health].ok').length === 0`, 1000, 'nothing green while cut off');
    await pause(1500);
    // Quiet before the stream comes back: at 20 requests a second the gap's row would be gone before it can be seen.
    await quiet();
    relay.missed = 37;
    relay.refused = false;
    await page.until(`document.getElementById('conn').classList.contains('ok')`, 8000, 'resumed');
    await page.until(`document.querySelector('#rows .gap')?.textContent.includes('37')`, 3000, 'gap marker');
    await pause(900);
    const shown = Number((await page.run(() => document.getElementById('kpi-sent').textContent)).replaceAll(',', ''));
    same(shown, (await state()).totals.sent, 'totals');
    await page.close();
  });
  await check('31 two tabs share one stream', async () => {
    const context = await browser.context();
    const first = await open(`${relay.origin}/`, { context });
    const second = await open(`${relay.origin}/`, { context });
    await pause(1500);
    const streams = relay.streams.size;
    const lit = await second.run(columns);
    await first.close();
    await second.until(`document.getElementById('conn').classList.contains('ok')`, 6000, 'the second tab goes on');
    await pause(1500);
    const left = relay.streams.size;
    await second.close();
    same([streams, left], [1, 1], 'streams with two tabs and with one');
    must(/[12]/.test(lit.user), JSON.stringify(lit));
  });
  await check('20 reduced motion: no animation, no dot', async () => {
    const page = await open(`${base}/`, { context: await browser.context(), media: [['prefers-reduced-motion', 'reduce']] });
    await load({ running: true, rate: 30 });
    await pause(2000);
    const got = await page.run(() => [document.getAnimations().length, [...document.querySelectorAll('#dots > g')].filter(dot => dot.style.display !== 'none').length]);
    await quiet();
    await page.close();
    same(got, [0, 0], 'animations and dots');
  });
  const seconds = quick ? 6 : 60;
  await check(`21 1,000 events/s for ${seconds} s: JS per frame at most 2 ms (p95), flat DOM and heap, exact totals`, async () => {
    relay.replay = { rate: 1000 };
    const before = `(() => { const raf = requestAnimationFrame; window.frameTimes = []; window.requestAnimationFrame = task => raf(now => { const at = performance.now(); task(now); frameTimes.push(performance.now() - at); }); })()`;
    const page = await open(`${relay.origin}/`, { context: await browser.context(), before });
    await pause(2500);
    const nodes = () => page.run(() => document.querySelectorAll('*').length);
    /** What is in use once all garbage is gone, bytes. */
    const heap = async () => { await page.send('HeapProfiler.collectGarbage'); const { metrics } = await page.send('Performance.getMetrics'); return metrics.find(metric => metric.name === 'JSHeapUsedSize').value; };
    const first = await nodes(), used = await heap();
    const started = await page.run(() => { frameTimes.length = 0; return performance.now(); });
    await pause(seconds * 1000);
    const [times, ended] = await page.run(() => [frameTimes, performance.now()]);
    times.sort((a, b) => a - b);
    const p95 = times[Math.floor(times.length * 0.95)], fps = (times.length * 1000) / (ended - started);
    const last = await nodes(), grown = ((await heap()) - used) / 1e6;
    relay.replay.end();
    await pause(900);
    const shown = Number((await page.run(() => document.getElementById('kpi-sent').textContent)).replaceAll(/[,.\s]/g, ''));
    const sent = relay.replay.sent();
    relay.replay = null;
    await page.close();
    must(Math.abs(last - first) <= 20, `DOM went from ${first} to ${last}`);
    must(last <= 2000, `${last} elements`);
    must(grown <= 2, `the heap grew by ${grown.toFixed(2)} MB`);
    same(shown, sent, 'totals');
    must(p95 <= 2, `p95 ${p95.toFixed(2)} ms per frame`);
    return `${fps.toFixed(1)} fps, p95 ${p95.toFixed(2)} ms, ${last} elements, heap ${grown.toFixed(2)} MB more`;
  });
}

async function hands() {
  await check('23 markup in a name stays text', async () => {
    const page = await open(`${base}/`, { context: await browser.context(), height: 1600 });
    await page.until(`document.querySelectorAll('[data-service=user] .list li').length > 0`, 5000, 'list');
    const name = `<img src=x onerror="window.pwned=1"> ${process.pid}`;
    await page.run(text => { const form = document.querySelector('.addf.user'); form.elements.name.value = text; form.elements.email.value = 'a@example.com'; form.requestSubmit(); }, name);
    await page.until(`[...document.querySelectorAll('[data-service=user] .list li b')].some(item => item.textContent.includes('onerror'))`, 5000, 'the new user in the list');
    const got = await page.run(() => [window.pwned ?? null, document.querySelectorAll('main img').length]);
    await page.close();
    same(got, [null, 0], 'script and pictures');
  });
  await check('24 keyboard only: skip link to dock, two seats booked', async () => {
    const page = await open(`${base}/?lang=en`, { context: await browser.context(), height: 1400 });
    await page.key('Tab');
    must(await page.run(() => document.activeElement.classList.contains('skip')), 'the skip link is not first');
    await page.run(() => document.getElementById('booking').scrollIntoView());
    await page.until(`document.querySelectorAll('.seat:not([aria-disabled=true])').length > 10`, 8000, 'seat map');
    let seats = false, dock = false;
    for (let i = 0; i < 260 && !dock; i += 1) {
      await page.key('Tab');
      const at = await page.run(() => (document.activeElement.matches('.seat') ? 'seat' : document.activeElement.closest('.dock') ? 'dock' : ''));
      if (at === 'dock') dock = true;
      if (at !== 'seat' || seats) continue;
      seats = true;
      const free = () => page.run(() => document.activeElement.getAttribute('aria-disabled') === 'false' && document.activeElement.getAttribute('aria-selected') === 'false');
      for (const key of ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'ArrowLeft', 'ArrowUp', 'ArrowUp', 'ArrowRight', 'ArrowUp', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowDown']) {
        if (await page.run(() => document.querySelectorAll('.seat.sel').length) === 2) break;
        if (await free()) await page.key(' ');
        await page.key(key);
      }
      same(await page.run(() => document.querySelectorAll('.seat.sel').length), 2, 'seats chosen');
      await page.picture('seat-map');
      await page.key('Enter');
      await page.until(`document.querySelector('.outcome').classList.contains('ok')`, 8000, 'booked').catch(async error => { throw new Error(`${error.message}: ${await page.run(() => document.querySelector('.outcome').textContent)}`); });
      same(await page.run(() => document.querySelectorAll('.seat.sel').length), 0, 'seats still chosen');
    }
    await page.close();
    must(seats && dock, `seat map reached: ${seats}, dock reached: ${dock}`);
  });
  await check('409: a seat that somebody else took flips and is announced', async () => {
    const page = await open(`${base}/?lang=en`, { context: await browser.context(), height: 1400 });
    await page.run(() => document.getElementById('booking').scrollIntoView());
    await page.until(`document.querySelectorAll('.seat:not([aria-disabled=true])').length > 10`, 8000, 'seat map');
    const order = await page.run(() => { const seat = [...document.querySelectorAll('.seat[aria-disabled=false]')].at(-1); seat.click(); const [user, , time] = document.querySelectorAll('#book select'); return { user_id: user.value, screening_id: time.value, seats: [seat.dataset.seat] }; });
    const rival = await fetch(`${base}/bookings/`, { method: 'POST', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `rival-${process.pid}-${Date.now()}` }, body: JSON.stringify(order) });
    must(rival.ok, `the rival got ${rival.status}`);
    await page.click('#book-now');
    await page.until(`document.querySelector('.seat[data-seat=${order.seats[0]}]').classList.contains('tk') && document.querySelector('.outcome').textContent.includes('${order.seats[0]}')`, 8000, 'flipped');
    await page.close();
  });
  await check('25 theme: follows the system, set before the first paint, kept after a toggle', async () => {
    const context = await browser.context();
    const before = `new MutationObserver((_, watcher) => { if (document.body) { window.themeAtBody = document.documentElement.dataset.theme; watcher.disconnect(); } }).observe(document, { childList: true, subtree: true })`;
    const dark = await open(`${base}/`, { context, before, media: [['prefers-color-scheme', 'dark']] });
    same(await dark.run(() => [window.themeAtBody, document.documentElement.dataset.theme]), ['dark', 'dark'], 'theme of the system');
    await dark.click('#theme');
    same(await dark.run(() => document.documentElement.dataset.theme), 'light', 'after the toggle');
    await dark.close();
    const again = await open(`${base}/`, { context, before, media: [['prefers-color-scheme', 'dark']] });
    same(await again.run(() => window.themeAtBody), 'light', 'kept');
    await again.close();
  });
}

try {
  await quiet();
  await run([firstLoad, everywhere, elements, truth, stream, hands]);
  await load({});
} finally {
  relay.stop();
  await browser.stop();
}
conclude();
