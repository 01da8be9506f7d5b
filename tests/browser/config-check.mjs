// Looks at the Istio configuration view with a real Chromium.
//   node tests/browser/config-check.mjs http://localhost:8080 out/ [--quick] [--only=looks,editor,conflict,history]
// The mesh behind the address should be idle and at its baseline, and is so again afterwards.

import { audit } from './lib/audit.mjs';
import { base, check, conclude, must, out, post, quick, run, same } from './lib/checks.mjs';
import { Browser, Page } from './lib/chromium.mjs';

const REF = 'VirtualService/theater-msa/user-service-vs';
const WAIT = quick ? 30_000 : 15_000;
const browser = Browser.start();
const open = async (query = '', options = {}) => {
  const page = await Page.open(browser, `${base}/config?ref=${REF}&cluster=ctx1${query}`, { out, context: await browser.context(), ready: false, ...options });
  await page.until(`document.documentElement?.dataset.ready === '' && document.querySelector('.yaml-area')?.value.includes('weight: ')`, WAIT, 'the rule is in the editor');
  return page;
};
const api = async (path, body) => (body ? await post(`/api/v1${path}`, body) : await fetch(`${base}/api/v1${path}`)).json();
const copy = async (cluster = 'ctx1') => (await api('/resources')).resources.find(one => one.cluster === cluster && one.name === 'user-service-vs');
const text = page => page.run(() => document.querySelector('.yaml-area').value);
const applies = page => page.run(() => !document.getElementById('config-apply').disabled);

/** Types over the first (or last) place of a text, as a hand would. */
const over = (page, from, to, last = false) => page.run((was, is, end) => {
  const area = document.querySelector('.yaml-area'), at = end ? area.value.lastIndexOf(was) : area.value.indexOf(was);
  if (at < 0) throw new Error(`${was} is not in the editor`);
  area.focus();
  area.setSelectionRange(at, at + was.length);
  document.execCommand('insertText', false, is);
}, from, to, last);

async function looks() {
  for (const [width, height] of [[1440, 900], [390, 844]]) for (const theme of ['light', 'dark']) for (const lang of ['ko', 'en']) {
    await check(`contrast, names, targets, ids, no sideways scrolling at ${width} ${theme} ${lang}`, async () => {
      const page = await open(`&theme=${theme}&lang=${lang}`, { width, height });
      await over(page, 'weight: 70', 'weigth: 70');
      await page.until(`document.querySelector('.problems li.error')`, WAIT, 'the finding');
      await page.until(`document.querySelector('.config-panels .affects')`, WAIT, 'the panels');
      const got = await page.run(audit);
      const widths = await page.run(() => [innerWidth, document.documentElement.scrollWidth]);
      const shown = await page.run(() => { const part = document.querySelector('.config').cloneNode(true); for (const data of part.querySelectorAll('select,pre,textarea')) data.remove(); return part.textContent; });
      await page.picture(`config-${width}-${theme}-${lang}`, true);
      const { problems } = page;
      await page.close();
      same(got, { faint: [], unnamed: [], small: [], twice: [], h1: 1 }, 'audit');
      same(widths, [width, width], 'innerWidth and scrollWidth');
      same(problems, [], 'console');
      if (lang === 'en') must(!/[가-힣]/.test(shown), `Hangul in English: ${/.{0,20}[가-힣]+.{0,20}/.exec(shown)}`);
    });
  }
}

async function editor() {
  await check('17 `weigth:` is a problem at its line and column and holds the button; mending it frees the button', async () => {
    const page = await open();
    must(!await applies(page), 'nothing was changed, and yet there is something to apply');
    await over(page, 'weight: 70', 'weigth: 70');
    await page.until(`document.querySelector('.problems li.error')`, WAIT, 'the finding');
    const line = (await text(page)).split('\n').findIndex(one => one.includes('weigth')) + 1;
    const found = await page.run(() => { const item = document.querySelector('.problems li'); return [item.dataset.line, item.dataset.column, item.textContent.includes('weight')]; });
    same(found, [String(line), '7', true], 'line, column, what was meant');
    must(!await applies(page), 'it can be applied with an error in it');
    const tied = await page.run(() => { const area = document.querySelector('.yaml-area'); return [area.getAttribute('aria-invalid'), area.getAttribute('aria-describedby').split(' ').every(id => document.getElementById(id))]; });
    same(tied, ['true', true], 'aria-invalid and described by the problems');
    await page.run(() => document.querySelector('.yaml-area').setSelectionRange(0, 0));
    await page.key('F8', { code: 'F8' }).catch(() => {});
    await page.run(() => document.querySelector('.yaml-area').dispatchEvent(new KeyboardEvent('keydown', { key: 'F8', bubbles: true })));
    const caret = await page.run(() => { const area = document.querySelector('.yaml-area'); return area.value.slice(0, area.selectionStart).split('\n').length; });
    same(caret, line, 'F8 leads to the line');
    await over(page, 'weigth: 70', 'weight: 60');
    await over(page, 'weight: 30', 'weight: 40', true);
    await page.until(`!document.getElementById('config-apply').disabled`, WAIT, 'it can be applied');
    const signs = await page.run(() => [...document.querySelectorAll('.one[data-cluster=ctx1] .diff .add, .one[data-cluster=ctx1] .diff .del')].map(row => row.lastElementChild.textContent.trim()));
    same(signs, ['weight: 70', 'weight: 60', 'weight: 30', 'weight: 40'], 'the diff');
    must((await copy()).yaml.includes('weight: 70'), 'something was stored before it was applied');
    await page.close();
  });
  await check('a draft outlives a reload, and Escape and Tab lead out of the editor', async () => {
    const page = await open();
    await over(page, 'weight: 70', 'weight: 65');
    await page.run(() => location.reload());
    await page.until(`document.documentElement.dataset.ready === '' && document.querySelector('.yaml-area')?.value.includes('weight: 65')`, WAIT, 'the draft is back');
    await page.run(() => { const area = document.querySelector('.yaml-area'); area.focus(); area.setSelectionRange(0, 0); });
    await page.key('Tab', { code: 'Tab' });
    must((await text(page)).startsWith('  apiVersion'), 'Tab does not indent');
    await page.run(() => document.querySelector('.yaml-area').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true })));
    await page.key('Tab', { code: 'Tab' });
    must(await page.run(() => !document.activeElement.matches('.yaml-area')), 'the editor keeps the focus');
    await page.close();
  });
}

async function conflict() {
  await check('11 a change with an old version is a conflict: both versions, and the draft is kept', async () => {
    const page = await open();
    await over(page, 'weight: 70', 'weight: 40');
    await over(page, 'weight: 30', 'weight: 60', true);
    await page.until(`!document.getElementById('config-apply').disabled`, WAIT, 'it can be applied');
    const draft = await text(page), live = await copy();
    const object = structuredClone(live.object);
    object.spec.http[1].route[0].weight = 25;
    object.spec.http[1].route[1].weight = 75;
    const applied = await api('/resources/apply', { changes: [{ cluster: 'ctx1', object, resource_version: live.resource_version }] });
    same(applied.results[0].outcome, 'configured', 'the other change');
    await page.until(`document.querySelector('.one[data-outcome=conflict]')`, WAIT, 'the conflict is shown');
    must(!await applies(page), 'a stale draft can be applied');
    await page.click('.config-editor > .config-note .btn');
    await page.until(`document.querySelector('dialog.config-dialog[open] .diff')`, WAIT, 'the dialog');
    const said = await page.run(() => document.querySelector('dialog.config-dialog').textContent);
    for (const weight of ['weight: 70', 'weight: 25', 'weight: 40']) must(said.includes(weight), `the dialog does not show ${weight}`);
    await page.picture('config-conflict');
    same(await text(page), draft, 'the draft');
    await page.run(() => document.querySelector('dialog.config-dialog .btn.pri').click());
    await page.until(`!document.getElementById('config-apply').disabled`, WAIT, 'it can be applied to the present version');
    same(await text(page), draft, 'the draft');
    await page.click('#config-apply');
    await page.until(`document.querySelector('.history > li')?.textContent.includes('25:75 → 40:60')`, WAIT, 'the history has it');
    for (const cluster of ['ctx1', 'ctx2']) must((await copy(cluster)).yaml.includes('weight: 40'), `${cluster} is not as it was applied`);
    await page.close();
  });
}

async function history() {
  await check('the history leads back, with one click, and the list says what is not as at first', async () => {
    const page = await open();
    await page.until(`document.querySelectorAll('.history > li').length >= 2`, WAIT, 'two changes');
    must(await page.run(ref => document.querySelector(`[data-ref="${ref}"] .chip.warn`) !== null, REF), 'the list does not mark the change');
    await page.run(() => document.querySelector('.history > li .acts button:last-child').click());
    await page.until(`document.querySelector('.yaml-area').value.includes('weight: 25')`, WAIT, 'what was before is in the editor');
    await page.run(() => document.getElementById('undo').click());
    await page.until(`document.querySelector('.yaml-area').value.includes('weight: 70')`, WAIT, 'undo leads to the first state');
    same((await copy()).baseline, 'same', 'against the baseline');
    await page.close();
  });
  await post('/api/v1/reset', {});
}

try { await run([looks, editor, conflict, history]); } finally { await browser.stop(); }
conclude();
