// The split: slider, exact numbers, presets.

import { glyph, h, help, mark, put, t } from '../dom.js';
import { guarded } from './fields.js';

const PRESETS = [100, 90, 70, 50, 30, 0];

export function weightCard(form) {
  const now = h('span', { class: 'muted s' }), code = h('code', { class: 'muted s hide-s' });
  const numbers = ['ctx1', 'ctx2'].map((cluster, i) => h('input', { type: 'text', inputmode: 'numeric', class: 'wnum-in', autocomplete: 'off', data: { cluster }, on: { input: event => typedNumber(i, event.target.value), blur: () => draw() } }));
  const names = ['ctx1', 'ctx2'].map(() => h('span'));
  const slider = h('input', { type: 'range', id: 'weight', min: '0', max: '100', step: '1', on: { input: () => form.set('weight.ctx1', Number(slider.value)), keydown: jump } });
  const presets = PRESETS.map(share => h('button', { type: 'button', class: 'btn sm', data: { share }, on: { click: () => form.set('weight.ctx1', share) } }, `${share}:${100 - share}`));
  const quick = h('span', { class: 'muted s' }), sum = h('span', { class: 'muted s sum' }), note = h('p', { class: 's fnote' });
  const side = i => h('div', { class: `w ${i === 0 ? 'a' : 'b'}` }, h('label', { class: 'cn', for: `weight-${i}` }, glyph(`ctx${i + 1}`), names[i]), h('b', null, numbers[i], h('small', { 'aria-hidden': 'true' }, '%')));
  numbers.forEach((input, i) => { input.id = `weight-${i}`; });
  const body = h('div', { class: 'wt' }, h('div', { class: 'wnum' }, side(0), side(1)), slider, h('div', { class: 'presets' }, quick, ...presets, sum), note);
  const guard = guarded(form, ['weight'], body);
  const title = h('h2', { id: 'h-weight', tabindex: '-1' });
  const node = h('section', { class: 'card', id: 'part-weight', 'aria-labelledby': 'h-weight' }, h('header', null, title, help('configured'), code, h('span', { class: 'r' }, now)), guard.node);

  function jump(event) {
    const step = { ArrowRight: 10, ArrowUp: 10, ArrowLeft: -10, ArrowDown: -10 }[event.key];
    if (!step || !event.shiftKey) return;
    event.preventDefault();
    form.set('weight.ctx1', Math.min(100, Math.max(0, Number(slider.value) + step)));
  }

  function typedNumber(side, text) {
    const share = /^\d{1,3}$/.test(text.trim()) ? Number(text) : null;
    const bad = share === null || share > 100;
    mark(numbers[side], 'aria-invalid', String(bad));
    put(note, bad ? t('traffic.bad.percent.whole') : '');
    note.classList.toggle('wrong', bad);
    if (!bad) form.set('weight.ctx1', side === 0 ? share : 100 - share);
  }

  function draw() {
    put(title, t('split.configured'));
    if (!guard.draw()) { put(now, ''); put(code, ''); return; }
    const share = form.get('weight.ctx1') ?? 0, lead = form.lead(), { weights } = lead ?? {};
    put(code, lead?.items.VirtualService ? `VirtualService / ${lead.items.VirtualService.name}` : '');
    put(now, weights ? t('traffic.now', { weights: weights.join(' : ') }) : '');
    const sides = [share, 100 - share];
    sides.forEach((value, i) => {
      put(names[i], form.clusterName(`ctx${i + 1}`));
      if (document.activeElement !== numbers[i]) { if (numbers[i].value !== String(value)) numbers[i].value = String(value); mark(numbers[i], 'aria-invalid', 'false'); }
      numbers[i].style.width = `${numbers[i].value.length + 0.2}ch`;
      mark(numbers[i], 'aria-label', t('traffic.weight.of', { cluster: `ctx${i + 1}` }));
    });
    if (slider.value !== String(share)) slider.value = String(share);
    slider.style.setProperty('--track', `linear-gradient(90deg,var(--ctx1-fill) ${share}%,var(--ctx2-fill) ${share}%)`);
    mark(slider, 'aria-label', t('traffic.weight.of', { cluster: 'ctx1' }));
    mark(slider, 'aria-valuetext', t('traffic.weight.text', { a: share, b: 100 - share }));
    for (const button of presets) mark(button, 'aria-pressed', String(button.dataset.share === String(share)));
    put(quick, t('traffic.presets'));
    put(sum, t('traffic.sum'));
    const differs = form.differs('weight.ctx1');
    if (!numbers.some(input => input.getAttribute('aria-invalid') === 'true')) { note.classList.remove('wrong'); put(note, differs ? t('traffic.differs', { ...differs, value: `${differs.value} : ${100 - differs.value}` }) : ''); }
  }
  return { node, title, draw };
}
