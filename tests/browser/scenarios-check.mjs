// Looks at the gallery of scenarios and at the `?` buttons with a real Chromium.
//   node tests/browser/scenarios-check.mjs http://localhost:8080 out/ [--quick] [--only=cards,looks,glossary]
// The mesh behind the address should be idle and at its baseline; it is so again at the end.

import { audit } from './lib/audit.mjs';
import { base, check, conclude, must, out, post, quick, run, same } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';

const browser = Browser.start();
const scenarios = async () => (await (await fetch(`${base}/api/v1/scenarios`)).json()).scenarios;

/** The gallery where it stands; on a page that does not embed it, at the end of Live. */
async function gallery(options = {}, lang = 'ko') {
  const page = await Page.open(browser, `${base}/?lang=${lang}`, { out, context: await browser.context(), ...options });
  await page.run(async () => {
    const { mount } = await import('/ui/parts/scenarios.js');
    const part = mount({});
    window.part = part;
    document.getElementById('live').hidden = true;
    const host = document.getElementById('view');
    host.hidden = false;
    host.replaceChildren(part.node);
    new MutationObserver(() => part.words()).observe(document.documentElement, { attributeFilter: ['lang'] });
  });
  await page.until(`document.querySelectorAll('.scenario').length >= 13 && document.getElementById('h-scenarios').textContent !== ''`, 10_000, 'all cards');
  return page;
}

/** Presses what has this accessible name. */
const press = (page, name) => page.run(wanted => {
  const found = [...document.querySelectorAll('button,summary,a[href]')].find(element => (element.getAttribute('aria-label') ?? element.textContent.trim()) === wanted);
  if (!found) throw new Error(`nothing is called ${wanted}`);
  found.focus();
  found.click();
}, name);
const stateOf = name => `document.querySelector('[data-scenario="${name}"]').dataset.state`;

async function cards() {
  await post('/api/v1/reset', {});
  const page = await gallery();
  await check('cards: title, words, what to watch, YAML and commands; the baseline is marked', async () => {
    const listed = await scenarios();
    const cards = await page.run(() => [...document.querySelectorAll('.scenario')].map(card => ({ name: card.dataset.scenario, state: card.dataset.state, title: card.querySelector('h3').textContent, watch: card.querySelectorAll('.watch li').length, files: card.querySelectorAll('details pre').length })));
    same(cards.map(card => card.name), listed.map(one => one.name), 'order');
    for (const card of cards) must(card.title && card.watch >= 2 && (card.name === 'reset' || card.files >= 1), JSON.stringify(card));
    same(cards.filter(card => card.state === 'active').map(card => card.name), ['reset'], 'active');
    return `${cards.length} cards`;
  });
  await check('applied by its label: the badge follows the live objects, focus stays, another one replaces it', async () => {
    await press(page, '시나리오 적용: 지연 장애');
    await page.until(`${stateOf('delay')} === 'active'`, 15_000, 'delay active');
    must(await page.run(() => document.activeElement.dataset.act === 'apply' && document.activeElement.closest('[data-scenario]').dataset.scenario === 'delay'), 'focus was lost');
    same((await scenarios()).filter(one => one.active).map(one => one.name), ['delay'], 'server');
    await press(page, '시나리오 적용: 클러스터 차단');
    await page.until(`${stateOf('block')} === 'active' && ${stateOf('delay')} === 'inactive'`, 15_000, 'block instead of delay');
    must((await page.run(() => document.getElementById('toast').textContent)).includes('지연 장애'), 'the toast names what was put back');
  });
  await check('a change by hand makes it partly, and says what differs', async () => {
    const { resources } = await (await fetch(`${base}/api/v1/resources`)).json();
    const rule = resources.find(one => one.cluster === 'ctx2' && one.kind === 'VirtualService' && one.name === 'booking-service-vs');
    const object = structuredClone(rule.object);
    object.spec.http.pop();
    const answer = await post('/api/v1/resources/apply', { changes: [{ cluster: 'ctx2', object, resource_version: rule.resource_version }] });
    must(answer.ok, await answer.text());
    await page.run(() => window.part.changed(new Set(['rules'])));
    await page.until(`${stateOf('block')} === 'partly'`, 15_000, 'partly');
    must((await page.run(() => document.querySelector('[data-scenario=block] .note').textContent)).includes('ctx2 VirtualService/theater-msa/booking-service-vs'), 'what differs');
  });
  await check('put back by its label', async () => {
    await press(page, '시나리오 되돌리기: 시나리오가 바꾼 것을 처음대로');
    await page.until(`${stateOf('reset')} === 'active'`, 15_000, 'the baseline');
    same(page.problems, [], 'console');
  });
  await page.close();
}

async function looks() {
  for (const [lang, theme] of quick ? [['ko', 'light'], ['en', 'dark']] : [['ko', 'light'], ['ko', 'dark'], ['en', 'light'], ['en', 'dark']]) {
    await check(`gallery in ${lang}, ${theme}: contrast, names, targets, headings, language`, async () => {
      const page = await gallery({ before: `localStorage.setItem('smov.theme','${theme}')` }, lang);
      await page.run(() => { for (const details of document.querySelectorAll('.scenario details')) details.open = true; });
      await page.until(`document.fonts.status === 'loaded'`, 3000);
      const found = await page.run(audit);
      same(found, { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, 'audit');
      if (lang === 'en') must(!/[가-힣]/.test(await page.run(() => { const copy = document.getElementById('scenarios').cloneNode(true); for (const pre of copy.querySelectorAll('pre')) pre.remove(); return copy.textContent; })), 'Hangul in English');
      await page.picture(`gallery-${lang}-${theme}`, true);
      same(page.problems, [], 'console');
      await page.close();
    });
  }
  await check('no overflow from 360 to 1920', async () => {
    const page = await gallery();
    for (const width of [360, 390, 768, 1024, 1440, 1920]) {
      await page.size(width, 900);
      await pause(200);
      same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `width ${width}`);
      if (width === 390) await page.picture('gallery-390');
    }
    await page.close();
  });
}

async function glossary() {
  await check('? loads the glossary on the first click only, fills in where it was clicked, both languages', async () => {
    const page = await Page.open(browser, `${base}/?lang=ko`, { out, context: await browser.context() });
    must(!page.requests.some(url => url.includes('/glossary')), 'it is part of the first load');
    await page.click('[data-service=movie] [data-help=configured]');
    await page.until(`document.querySelector('#help pre').textContent.includes('movie-service-vs')`, 3000, 'the command');
    await page.click('[data-help=lamps]');
    await page.until(`document.querySelector('#help p').textContent.includes('세로 한 칸')`, 3000, 'the sentence');
    must(page.requests.filter(url => url.includes('/glossary')).length === 1, 'asked once');
    await page.run(() => document.querySelector('[data-lang=en]').click());
    await page.until(`document.documentElement.lang === 'en'`, 3000);
    await page.click('[data-help=lamps]');
    await page.until(`document.querySelector('#help p').textContent.includes('One column')`, 3000, 'in English');
    const missing = await page.run(async () => {
      const { terms } = await (await fetch('/api/v1/glossary')).json(), keys = new Set(terms.map(term => term.key));
      return [...document.querySelectorAll('[data-help]')].map(button => button.dataset.help).filter(key => !keys.has(key));
    });
    same(missing, [], 'keys without a term');
    same(page.problems, [], 'console');
    await page.close();
  });
  await check('without the glossary it says so, and the next click asks again', async () => {
    const page = await Page.open(browser, `${base}/?lang=ko`, { out, context: await browser.context() });
    await page.send('Network.setBlockedURLs', { urls: ['*/api/v1/glossary'] });
    await page.click('[data-help=lamps]');
    await page.until(`document.querySelector('#help p').textContent.includes('용어집을 불러오지 못했습니다')`, 3000, 'says so');
    await page.send('Network.setBlockedURLs', { urls: [] });
    await page.click('[data-help=rps]');
    await page.until(`document.querySelector('#help p').textContent.includes('초당 요청 수')`, 3000, 'asks again');
    await page.close();
  });
}

await run([cards, looks, glossary]);
await post('/api/v1/scenarios/reset', {});
await browser.stop();
conclude();
