// The way of a lesson, walked by visible labels alone, in both languages: a person who knows only what is written on the page.
//   node tests/browser/path-check.mjs http://localhost:8080 out/ [--quick] [--only=korean,english]
// Each task takes at most three actions in its view; the link that opens the view is counted apart. The mesh behind the address should be idle
// and at its baseline; it is so again at the end.

import { base, check, conclude, load, must, out, post, quiet, run, same, state } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';
import { Person } from './lib/labels.mjs';

const MOST = 3;
/** What is written, by language. */
const WORDS = {
  ko: { live: '라이브', traffic: '트래픽 제어', inspect: '요청 추적', deployments: '배포 현황', user: '/^사용자/', movie: '/^영화/', half: '50:50', apply: '적용', canary: '카나리 요청 10건 보내기', canaryDone: '10건 모두', fault: '장애 주입 사용', slow: '느린 순', menu: '/^user-service-ctx2-.* 메뉴$/', remove: '파드 삭제', confirm: '파드 삭제', close: '닫기', reset: '초기 상태로', cause: '3초' },
  en: { live: 'Live', traffic: 'Traffic', inspect: 'Requests', deployments: 'Deployments', user: '/^Users?/', movie: '/^Movies?/', half: '50:50', apply: 'Apply', canary: 'Send 10 canary requests', canaryDone: '10 of 10', fault: 'Inject a fault', slow: 'Slowest first', menu: '/^Menu of user-service-ctx2-/', remove: 'Delete the pod', confirm: 'Delete the pod', close: 'Close', reset: 'Reset', cause: '3 s' },
};

const browser = Browser.start();
const weights = async service => (await state()).services[service].configured?.weights ?? null;
const until = async (what, patience, ask) => {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await pause(200);
  }
};

async function walk(lang) {
  const words = WORDS[lang];
  await quiet();
  await post('/api/v1/reset', {});
  const page = await Page.open(browser, `${base}/?lang=${lang}`, { out, context: await browser.context(), before: `try { localStorage.setItem('smov.steps', 'done') } catch {}` });
  const person = new Person(page);
  let place = 0;
  const task = (name, way, body) => check(`${lang}: ${name}`, async () => {
    if (way) await person.press(way);
    person.begin();
    await body();
    must(person.actions <= MOST, `${person.actions} actions`);
    place += 1;
    await page.picture(`path-${lang}-${place}`);
    return `${person.actions} action${person.actions === 1 ? '' : 's'}${way ? ' in the view' : ''}`;
  });
  const seen = text => page.run(wanted => document.getElementById('main').innerText.replace(/\s+/g, ' ').includes(wanted), text);

  await task('move user-service to 50:50', words.traffic, async () => {
    await person.press(words.half);
    await person.press(words.apply);
    await until('50:50 is configured', 15_000, async () => JSON.stringify(await weights('user')) === '[50,50]');
  });
  await task('send canary traffic', null, async () => {
    await person.press(words.canary);
    await until('the answer on the page', 15_000, () => seen(words.canaryDone));
  });
  await task('hold three in ten movie requests for 3 s', null, async () => {
    await person.press(words.movie);
    await person.press(words.fault);
    await person.press(words.apply);
    const delay = await until('the delay is configured', 15_000, async () => (await state()).services.movie.interventions.find(one => one.kind === 'delay'));
    same([delay.percent, delay.fixed_ms], [30, 3000], 'the fault');
  });
  await post('/api/v1/load/burst', { count: 40, target: 'movie' });
  await until('slow requests have come back', 20_000, async () => (await (await fetch(`${base}/api/v1/requests?service=movie&sort=slow&limit=1`)).json()).requests?.[0]?.ms >= 3000);
  await task('find out why one request was slow', words.inspect, async () => {
    await person.press(words.slow);
    await person.press('/\\/movies\\/.*3[.,]\\d/');
    await until('the cause', 10_000, async () => await seen(words.cause) && await seen('DI'));
  });
  await task('break a pod and watch it recover', words.deployments, async () => {
    const before = (await state()).pods.ctx2.pods.filter(pod => pod.name.startsWith('user-service-ctx2-')).map(pod => pod.name);
    await person.press(words.menu);
    await person.press(words.remove);
    await person.press(words.confirm);
    await until('another pod is ready', 60_000, async () => (await state()).pods.ctx2.pods.some(pod => pod.name.startsWith('user-service-ctx2-') && !before.includes(pod.name) && pod.ready === '2/2'));
  });
  // The dialog stays open for what the reader wants to see; leaving it is part of the way.
  await person.press(words.close);
  await task('put all back', words.live, async () => {
    await person.press(words.reset);
    await until('the baseline', 15_000, async () => JSON.stringify(await weights('user')) === '[70,30]' && (await state()).services.movie.interventions.length === 0);
  });
  await check(`${lang}: nothing went wrong on the way`, () => same(page.problems, [], 'console'));
  await page.close();
}

async function korean() { await walk('ko'); }
async function english() { await walk('en'); }
await run([korean, english]);
await load({});
await post('/api/v1/reset', {});
await browser.stop();
conclude();
