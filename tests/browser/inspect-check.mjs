// Looks at the Request inspector with a real Chromium.
//   node tests/browser/inspect-check.mjs http://localhost:8080 out/ [--quick] [--only=everywhere,truth,faults,traces,tools,hands,links]
// Prints one line per check and `N passed, N failed`; writes screenshots to the folder. CHROMIUM names another browser.
// The mesh behind the address should be idle and at its baseline; the checks change a rule and put it back.

import { audit } from './lib/audit.mjs';
import { base, check, conclude, must, out, post, quick, quiet, run, same, state } from './lib/checks.mjs';
import { Browser, Page, pause } from './lib/chromium.mjs';

const browser = Browser.start();
const open = async (path, options) => Page.open(browser, base + path, { out, context: await browser.context(), ...options });
const shown = page => page.until(`document.querySelector('.insp .why em') && document.querySelector('.insp .dsteps')`, 10_000, 'the request is told');
/** The step's state, its text on the right, all of its text. */
const step = (page, name) => page.run(wanted => { const node = document.querySelector(`.step[data-step=${wanted}]`); return node && { state: node.dataset.state, outcome: node.querySelector('h3 .o')?.textContent ?? '', text: node.textContent, rulers: [...node.querySelectorAll('.rul')].map(one => one.getAttribute('aria-label')) }; }, name);

let sent = 0;
/** A request of our own with an id that we know; `{ id, status, cluster, pod }` as its answer says. */
async function ask(path, headers = {}) {
  const id = `inspect-check-${Date.now().toString(36)}-${sent += 1}`;
  const answer = await fetch(base + path, { headers: { ...headers, 'x-request-id': id } });
  await answer.arrayBuffer();
  return { id, status: answer.status, cluster: answer.headers.get('x-service-cluster'), pod: answer.headers.get('x-pod-name') };
}

/** Changes a live rule of a cluster by the console's own API. */
async function change(cluster, name, edit) {
  const { resources } = await (await fetch(`${base}/api/v1/resources`)).json();
  const found = resources.find(one => one.cluster === cluster && one.kind === 'VirtualService' && one.name === name);
  const object = structuredClone(found.object);
  edit(object);
  const answer = await (await post('/api/v1/resources/apply', { changes: [{ cluster, object, resource_version: found.resource_version }] })).json();
  same(answer.results?.[0]?.outcome, 'configured', `${name} changed`);
  await pause(400);
}
const reset = async () => { await post('/api/v1/reset', {}); await pause(400); };

async function everywhere() {
  const { id } = await ask('/movies/');
  for (const lang of ['ko', 'en']) for (const theme of ['light', 'dark']) {
    await check(`2, 4, 22, 25 ${lang} ${theme}: no console error, contrast, names, targets, ids, one h1, one language`, async () => {
      const page = await open(`/inspect?req=${id}&lang=${lang}&theme=${theme}`);
      await shown(page);
      await page.run(() => { for (const details of document.querySelectorAll('.insp details')) details.open = true; });
      await pause(1200);
      same(await page.run(() => document.documentElement.dataset.theme), theme, 'theme');
      const text = await page.run(() => { const clone = document.querySelector('.insp').cloneNode(true); for (const part of clone.querySelectorAll('textarea')) part.remove(); return clone.textContent; });
      if (lang === 'en') must(!/[가-힣]/.test(text), `Hangul in English: ${/.{0,20}[가-힣]+.{0,20}/.exec(text)}`);
      else must(text.includes('결정 과정') && !text.includes('inspect.'), `a key instead of words: ${/.{0,30}inspect\.\S+/.exec(text)}`);
      for (const width of quick ? [1440] : [1440, 390]) {
        await page.size(width, 900, width < 800);
        await pause(400);
        same(await page.run(audit), { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, `audit at ${width}`);
      }
      same(page.problems, [], 'console');
      await page.size(1440, 900, false);
      await page.picture(`inspect-${lang}-${theme}`, true);
      await page.close();
    });
  }
  await check('3 no sideways scrolling from 360 to 1920', async () => {
    const page = await open(`/inspect?req=${id}`);
    await shown(page);
    for (const width of [360, 390, 768, 1024, 1440, 1920]) for (const lang of ['ko', 'en']) {
      await page.size(width, 900, width < 800);
      await page.run(code => { document.querySelector(`[data-lang=${code}]`).click(); scrollTo(0, 1e6); }, lang);
      await pause(500);
      same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `innerWidth and scrollWidth at ${width} ${lang}`);
      if (lang === 'ko' && width === 390) await page.picture('inspect-390', true);
    }
    await page.close();
  });
}

async function truth() {
  await check('14 headline cluster = response header, draw inside the printed range, whole chain of proxies', async () => {
    const count = quick ? 8 : 24, paths = ['/users/', '/movies/', '/bookings/'], asked = [];
    for (let i = 0; i < count; i += 1) asked.push(await ask(paths[i % 3]));
    const page = await open('/inspect?lang=en');
    const seen = new Set();
    for (const one of asked) {
      await page.run(url => { history.pushState(null, '', url); dispatchEvent(new PopStateEvent('popstate')); }, `/inspect?req=${one.id}`);
      await page.until(`document.querySelector('.insp .why .q0')?.textContent.includes('${one.id}') && document.querySelector('.insp .dsteps')`, 8000, one.id);
      const got = await page.run(() => ({ cluster: document.querySelector('.insp .why').dataset.cluster, answer: document.querySelector('.insp .why .a').textContent, header: document.querySelector('.insp .kv').textContent, bars: [...document.querySelectorAll('.wf .sp')].map(bar => bar.dataset.kind) }));
      same(got.cluster, one.cluster, `${one.id}: headline against x-service-cluster`);
      must(got.header.includes(one.pod), `${one.id}: ${got.header} lacks ${one.pod}`);
      const [, position, where, from, to] = /The draw is (\d+) \(of 0 to \d+\), in the range of (\w+) \((\d+) to (\d+)\)/.exec(got.answer) ?? [];
      must(position !== undefined, `no draw in: ${got.answer}`);
      must(Number(position) >= Number(from) && Number(position) <= Number(to) && where === one.cluster, got.answer);
      const split = await step(page, 'split');
      same([split.state, split.outcome], ['applied', one.cluster], 'weight step');
      must(split.rulers.length === 1 && split.rulers[0].startsWith(`Draw ${position} of 100`), `ruler: ${split.rulers}`);
      // The gateway's proxy, the gateway app's sidecar in and out, the callee's sidecar and app.
      same([got.bars.filter(kind => kind === 'proxy').length, got.bars.filter(kind => kind === 'app').length], [4, 2], 'bars');
      seen.add(one.cluster);
    }
    same(page.problems, [], 'console');
    await page.close();
    return `${count} requests, ${[...seen].sort().join(' and ')}`;
  });
  await check('a canary goes by rule 1, and nothing is drawn', async () => {
    const one = await ask('/users/', { 'x-canary': 'true' });
    const page = await open(`/inspect?req=${one.id}&lang=en`);
    await shown(page);
    same(await page.run(() => document.querySelector('.insp .why').dataset.cluster), one.cluster, 'cluster');
    const [split, route] = [await step(page, 'split'), await step(page, 'route')];
    same([split.state, split.rulers, route.outcome], ['none', [], 'rule 1 (canary)'], 'steps');
    must(/x-canarytrue/.test(route.text), route.text);
    await page.close();
  });
  await check('a request of long ago, or of never, is said to have no record', async () => {
    const page = await open('/inspect?req=never-sent&lang=ko');
    await page.until(`document.querySelector('[data-nothing]')`, 8000);
    must((await page.run(() => document.querySelector('[data-nothing]').textContent)).includes('기록이 없습니다(보관 1,000건을 넘김)'), 'the sentence');
    await page.close();
  });
}

async function faults() {
  await check('14 an aborted request went to no pod: its weight step is not used, the abort draw is a ruler', async () => {
    try {
      await change('ctx1', 'user-service-vs', object => { object.spec.http[1].fault = { abort: { percentage: { value: 100 }, httpStatus: 500 } }; });
      const one = await ask('/users/');
      same([one.status, one.cluster], [500, null], 'aborted');
      const page = await open(`/inspect?req=${one.id}&lang=ko`);
      await shown(page);
      same(await page.run(() => document.querySelector('.insp .why').dataset.cluster), 'none', 'headline');
      const [split, fault, later] = [await step(page, 'split'), await step(page, 'fault'), await step(page, 'balance')];
      same([split.state, split.outcome, fault.state, later.state], ['skipped', '사용 안 함', 'applied', 'skipped'], 'steps');
      must(fault.rulers.length === 1 && fault.text.includes('500'), fault.text);
      await page.picture('inspect-aborted', true);
      await page.close();
    } finally { await reset(); }
  });
  await check('15 a delayed request: delay apart in the waterfall, folded or real; retries stay on beside a fault', async () => {
    try {
      await change('ctx1', 'movie-service-vs', object => { Object.assign(object.spec.http[1], { fault: { delay: { percentage: { value: 100 }, fixedDelay: '1s' } }, timeout: '5s' }); });
      const one = await ask('/movies/');
      const page = await open(`/inspect?req=${one.id}&lang=en`);
      await shown(page);
      await page.until(`document.querySelector('.step[data-step=attempt]').textContent.includes('Timeout')`, 8000, 'what is worked out');
      const attempt = await step(page, 'attempt');
      must(attempt.text.includes('Retries and timeouts work on a route with faults') && attempt.text.includes('not used') && attempt.text.includes('computed'), attempt.text);
      must((await page.run(() => document.querySelector('.insp .why .a').textContent)).includes('A delay fault held it for 1.00s'), 'headline');
      const width = () => page.run(() => document.querySelector('.wf .br.delay').getBoundingClientRect().width / document.querySelector('[aria-labelledby=h-wf] .tk').getBoundingClientRect().width);
      const folded = await width();
      await page.run(() => document.querySelector('[aria-labelledby=h-wf] .seg button').click());
      await pause(200);
      const real = await width();
      must(folded < 0.3 && real > 0.7, `delay bar: folded ${folded}, real ${real}`);
      must((await page.run(() => location.search)).includes('scale=real'), 'the scale is in the address');
      await page.close();
    } finally { await reset(); }
  });
}

/** The request's traces as the console's API has them, once the first is whole. */
async function told(id) {
  for (let i = 0; i < 40; i += 1) {
    const { traces } = await (await fetch(`${base}/api/v1/traces?request=${id}`)).json();
    const whole = await Promise.all(traces.map(async one => (await fetch(`${base}/api/v1/traces/${one.trace_id}`)).json()));
    const ids = new Set(whole.flatMap(one => one.spans.map(span => span.id)));
    if (whole.length > 0 && whole.every(one => one.spans.some(span => !span.parentId) && one.spans.every(span => !span.parentId || ids.has(span.parentId)))) return whole;
    await pause(250);
  }
  throw new Error(`no whole trace of ${id}`);
}
const card = page => page.until(`['traced','unsampled','unknown','unasked','failed'].includes(document.querySelector('.trc')?.dataset.trace)`, 10_000, 'the trace is told');

async function traces() {
  await check('a trace is shown span by span as the control planes tell it, nested, in both clusters, as bars and as a table', async () => {
    const seen = new Set();
    let count = 0;
    for (let i = 0; i < 12 && seen.size < 2; i += 1) {
      const one = await ask('/movies/'), [whole] = await told(one.id);
      const page = await open(`/inspect?req=${one.id}&trace=1&lang=en`);
      await shown(page);
      await page.until(`document.querySelectorAll('.trc .sp').length === ${whole.spans.length}`, 8000, 'every span');
      const bars = await page.run(() => [...document.querySelectorAll('.trc .sp')].map(row => ({ depth: Number(row.dataset.depth), role: row.dataset.role, orphan: 'orphan' in row.dataset, said: row.querySelector('.sr').textContent, left: row.querySelector('.br').getBoundingClientRect().left })));
      same([bars[0].role, bars.filter(bar => bar.depth === 0).length, bars.some(bar => bar.orphan)], ['proxy.client', 1, false], 'one root and no orphan');
      const depth = span => { const above = whole.spans.find(other => other.id === span.parentId); return above ? 1 + depth(above) : 0; };
      same(bars.map(bar => bar.depth).sort(), whole.spans.map(depth).sort(), 'nesting');
      must(bars.every(bar => /begins at .+, takes .+, status /.test(bar.said) && bar.left >= bars[0].left - 1), JSON.stringify(bars));
      same(await page.run(() => document.activeElement.id), 'h-trace', 'the address leads to the trace');
      await page.run(() => document.querySelector('.trc [data-mode=table]').click());
      same(await page.run(() => [document.querySelectorAll('.trc tbody tr').length, new URL(location).searchParams.get('trace'), document.querySelector('.trc [aria-pressed=true]').dataset.mode]), [whole.spans.length, 'table', 'table'], 'the table');
      for (const span of whole.spans) { seen.add(span.cluster); must((await page.run(() => document.querySelector('.trc tbody').textContent)).includes(span.name), span.name); }
      for (const mode of ['table', 'bars']) for (const width of [390, 1440]) {
        await page.run(wanted => document.querySelector(`.trc [data-mode=${wanted}]`).click(), mode);
        await page.size(width, 900, width < 800);
        await pause(300);
        same(await page.run(() => [innerWidth, document.documentElement.scrollWidth]), [width, width], `${mode} at ${width}`);
        same(await page.run(audit), { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, `audit of ${mode} at ${width}`);
      }
      same(page.problems, [], 'console');
      await page.picture('inspect-trace', true);
      await page.close();
      count = whole.spans.length;
    }
    same([...seen].sort(), ['ctx1', 'ctx2'], 'clusters that took part');
    return `${count} spans`;
  });
  await check('a request that was not sampled is said to be that, and one that nobody keeps is not said to be that', async () => {
    // Only against a trace that is old enough can it be told that nothing was pushed out.
    await told((await ask('/users/')).id);
    await pause(6500);
    const one = await ask('/users/', { 'x-b3-sampled': '0' });
    for (const [lang, sentence] of [['ko', '이 요청은 샘플링되지 않았습니다.'], ['en', 'This request was not sampled.']]) {
      const page = await open(`/inspect?req=${one.id}&lang=${lang}`);
      await shown(page);
      await card(page);
      same(await page.run(() => [document.querySelector('.trc').dataset.trace, document.querySelector('.trc b').textContent]), ['unsampled', sentence], lang);
      same(page.problems, [], 'console');
      await page.close();
    }
    const page = await open('/inspect?req=never-sent&lang=en');
    await card(page);
    same(await page.run(() => document.querySelector('.trc').dataset.trace), 'unknown', 'never sent');
    await page.close();
  });
}

async function tools() {
  const one = await ask('/movies/');
  const page = await open(`/inspect?req=${one.id}&lang=en`);
  await shown(page);
  await page.until(`!document.getElementById('whatif-yaml').disabled`, 8000, 'the rule can be read');
  await check('what if: another header changes rule and split, and nothing is sent', async () => {
    await quiet();
    const before = (await state()).totals.sent;
    await page.run(() => { document.getElementById('whatif-headers').value = 'x-canary: true'; document.querySelector('.tool form').requestSubmit(); });
    await page.until(`document.querySelector('.cmp tr.changed')`, 8000);
    const rows = await page.run(() => [...document.querySelectorAll('.cmp tbody tr.changed')].map(row => row.dataset.row));
    same(rows.includes('rule') && rows.includes('split') && rows.includes('ends'), true, `changed: ${rows}`);
    await pause(600);
    same((await state()).totals.sent, before, 'requests');
  });
  await check('what if: another weight in the YAML moves the odds; the live rule stays; bad YAML is placed and the draft kept', async () => {
    await page.run(() => { document.getElementById('whatif-headers').value = ''; const area = document.getElementById('whatif-yaml'); area.value = area.value.replace('weight: 30', 'weight: 95').replace('weight: 70', 'weight: 5'); document.querySelector('.tool form').requestSubmit(); });
    await page.until(`document.querySelector('.cmp tr.changed[data-row=split]')?.textContent.includes('95 %')`, 8000);
    const { resources } = await (await fetch(`${base}/api/v1/resources`)).json();
    const live = resources.find(item => item.cluster === 'ctx1' && item.name === 'movie-service-vs' && item.kind === 'VirtualService');
    same(live.object.spec.http[1].route[0].weight, 30, 'live weight');
    await page.run(() => { const area = document.getElementById('whatif-yaml'); area.value += '\n  bad: ['; document.querySelector('.tool form').requestSubmit(); });
    await page.until(`/line \\d+, column \\d+/.test(document.querySelector('.whatif-r').textContent)`, 8000, 'line and column');
    must(await page.run(() => document.getElementById('whatif-yaml').value.endsWith('bad: [')), 'the draft is kept');
  });
  await check('draw again: 100 requests arrive by the rule, each can be inspected', async () => {
    await page.run(() => { document.getElementById('again-guess').value = '70'; document.querySelector('.tool .btn.pri').click(); });
    await page.until(`document.querySelectorAll('.again-r .ids a').length === 100`, 40_000, '100 ids');
    const counts = await page.run(() => Object.fromEntries([...document.querySelectorAll('.again-r tr[data-place]')].map(row => [row.dataset.place, Number(row.querySelector('.qty').textContent)])));
    same(counts.ctx1 + counts.ctx2 + (counts.none ?? 0), 100, 'sum');
    // 30 % of 100: outside of 9 to 56 once in a hundred million runs.
    must(counts.ctx1 >= 9 && counts.ctx1 <= 56, JSON.stringify(counts));
    must((await page.run(() => document.querySelector('.again-r').textContent)).includes('configured 70% → 61 to 79'), 'interval');
    await page.picture('inspect-tools', true);
    const id = await page.run(() => { const link = document.querySelector('.again-r .ids a'); link.click(); return new URL(link.href).searchParams.get('req'); });
    await page.until(`document.querySelector('.insp .why .q0').textContent.includes('${id}')`, 8000);
    return `${counts.ctx1} : ${counts.ctx2}`;
  });
  same(page.problems.filter(text => !text.includes('422')), [], 'console');
  await page.close();
}

async function hands() {
  await check('keyboard only: / finds the search, arrows walk, Enter opens, Tab reaches the tools', async () => {
    const asked = [];
    for (let i = 0; i < 4; i += 1) asked.push(await ask('/users/'));
    const page = await open('/inspect?lang=en');
    await page.until(`document.querySelectorAll('.rl-items a').length >= 4`, 8000);
    const focus = () => page.run(() => document.activeElement.id || document.activeElement.dataset.id || document.activeElement.tagName);
    await page.key('/', { code: 'Slash' });
    same(await focus(), 'inspect-search', 'after /');
    await page.key('ArrowDown');
    same(await focus(), asked[3].id, 'the newest');
    await page.key('ArrowDown');
    same(await focus(), asked[2].id, 'the one before');
    await page.key('Enter');
    await page.until(`location.search.includes('${asked[2].id}') && document.querySelector('.insp .dsteps')`, 8000);
    same(await page.run(() => document.querySelector('.rl-items [aria-current=true]').dataset.id), asked[2].id, 'marked in the list');
    const reached = new Set();
    for (let i = 0; i < 60; i += 1) { await page.key('Tab'); reached.add(await focus()); }
    for (const id of ['inspect-call', 'again-guess', 'whatif-headers']) must(reached.has(id), `Tab does not reach ${id}: ${[...reached]}`);
    same(page.problems, [], 'console');
    await page.close();
  });
  await check('what a screen reader is told: names, roles, live regions, sentences for pictures', async () => {
    const one = await ask('/users/');
    const page = await open(`/inspect?req=${one.id}&lang=en`);
    await shown(page);
    const got = await page.run(() => ({ sections: [...document.querySelectorAll('.insp section[aria-labelledby], .insp aside[aria-labelledby]')].every(node => document.getElementById(node.getAttribute('aria-labelledby'))?.textContent), live: document.querySelectorAll('.insp [role=status]').length, rulers: [...document.querySelectorAll('.rul')].every(node => node.getAttribute('role') === 'img' && node.getAttribute('aria-label').length > 20), bars: [...document.querySelectorAll('.wf li.sp')].every(node => /begins at .+ takes/.test(node.querySelector('.sr').textContent)), steps: document.querySelector('.dsteps').tagName }));
    same(got, { sections: true, live: 3, rulers: true, bars: true, steps: 'OL' }, 'roles');
    await page.close();
  });
}

async function links() {
  await check('deep links: request, call, scale and filters come back after a reload; back goes back', async () => {
    const [first, second] = [await ask('/movies/'), await ask('/users/')];
    const page = await open(`/inspect?req=${first.id}&call=1&scale=real&service=movie&lang=en`);
    await shown(page);
    const seen = () => page.run(() => [document.querySelector('.insp .why .q0').textContent, document.getElementById('inspect-call').value, document.querySelector('[data-filter=service]').value]);
    for (let i = 0; i < 2; i += 1) {
      const [question, call, service] = await seen();
      must(question.includes(first.id), question);
      same([call, service], ['0', 'movie'], 'call and filter');
      must(await page.run(id => [...document.querySelectorAll('.rl-items a')].every(link => link.textContent.includes('/movies')), first.id), 'only movies');
      if (i === 0) { await page.send('Page.reload'); await page.until(`document.documentElement?.dataset.ready === ''`, 10_000); await shown(page); }
    }
    await page.run(id => { document.getElementById('inspect-search').value = id; }, second.id);
    await page.run(() => document.getElementById('inspect-search').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true })));
    await page.until(`document.querySelector('.insp .why .q0').textContent.includes('${second.id}')`, 8000);
    await page.run(() => history.back());
    await page.until(`document.querySelector('.insp .why .q0').textContent.includes('${first.id}')`, 8000, 'back');
    same(page.problems, [], 'console');
    await page.close();
  });
  await check('the rule is a link to its line in the configuration', async () => {
    const one = await ask('/users/');
    const page = await open(`/inspect?req=${one.id}`);
    await page.until(`/[?&]line=\\d+/.test(document.querySelector('a.yl')?.href ?? '')`, 8000);
    const url = new URL(await page.run(() => document.querySelector('a.yl').href));
    const { resources } = await (await fetch(`${base}/api/v1/resources`)).json();
    const rule = resources.find(item => item.cluster === url.searchParams.get('cluster') && `${item.kind}/${item.namespace}/${item.name}` === url.searchParams.get('ref'));
    must(rule.yaml.split('\n')[Number(url.searchParams.get('line')) - 1].trim().startsWith('- name: split'), rule.yaml.split('\n')[Number(url.searchParams.get('line')) - 1]);
    await page.close();
    return `${url.searchParams.get('ref')}:${url.searchParams.get('line')}`;
  });
}

await quiet();
await run([everywhere, truth, faults, traces, tools, hands, links]);
await reset();
await browser.stop();
conclude();
