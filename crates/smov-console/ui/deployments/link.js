// The control of the link between the clusters: the only one in the page. It shows what holds and asks before it cuts anything.

import { linkKind } from '../core.js';
import { call, h, help, icon, mark, put, t, toast } from '../dom.js';
import { drawLinkChip } from '../operations.js';
import { confirm } from '../parts/confirm.js';
import { predictLink } from './predict.js';

/** What each button asks for. */
const LINKS = { plain: { state: 'up', latency_ms: 0, jitter_ms: 0 }, slow: { state: 'up', latency_ms: 8, jitter_ms: 2 }, stalled: { state: 'stalled' }, cut: { state: 'cut' } };
/** After how many seconds it is put back by itself, where that is wished. */
const BACK_AFTER = 30;

export class LinkControl {
  constructor(store) {
    this.store = store;
    this.chip = h('span', { class: 'chip', id: 'link-state', role: 'status' }, icon('check'), h('span'));
    this.back = h('span', { class: 'muted s' });
    this.buttons = Object.keys(LINKS).map(kind => h('button', { type: 'button', data: { link: kind }, t: `link.${kind}`, on: { click: () => this.#ask(kind) } }));
    this.node = h('section', { class: 'card between', id: 'link-control', 'aria-labelledby': 'h-link-control', hidden: true },
      h('h2', { id: 'h-link-control', t: 'link.title' }), help('link'), this.chip, this.back, h('span', { class: 'seg', role: 'group', ta: 'link.title' }, ...this.buttons));
  }

  async #ask(kind) {
    const { store } = this;
    if (kind === linkKind(store.link)) return;
    if (kind === 'plain' || kind === 'slow') {
      try { await call('/api/v1/link', LINKS[kind]); } catch (error) { toast(t('link.failed', { reason: error.message }), true); }
      return;
    }
    const prediction = predictLink(kind, store);
    const shares = prediction.away.filter(([, percent]) => percent !== null && percent > 0).map(([id, percent]) => t('deployments.predict.link.share', { service: t(`svc.${id}`), percent }));
    await confirm({
      title: t(`deployments.link.ask.${kind}`), action: t(`deployments.link.do.${kind}`), level: 'some',
      lines: [
        h('p', { class: 'predict some' }, icon('warn'), h('span', null, shares.length > 0 ? t(`deployments.predict.link.${kind}`, { shares: shares.join(', ') }) : t('deployments.predict.complex'))),
        ...(prediction.redis ? [t('deployments.predict.link.redis', { cluster: prediction.redis })] : []),
        t('deployments.predict.link.endpoints'),
      ],
      options: [{ key: 'back', label: t('deployments.back', { n: BACK_AFTER }), checked: true }],
      run: ({ back }) => call('/api/v1/link', { ...LINKS[kind], ...(back ? { restore_after_s: BACK_AFTER } : {}) }).then(() => null),
    });
  }

  draw() {
    const { link } = this.store, kind = linkKind(link);
    this.node.hidden = kind === 'none';
    if (kind === 'none') return;
    drawLinkChip(this.chip, link);
    for (const button of this.buttons) mark(button, 'aria-pressed', String(button.dataset.link === kind));
    this.tick();
  }

  tick() {
    const at = this.store.link?.restore_at;
    put(this.back, at ? t('deployments.back.in', { n: Math.max(0, Math.ceil((at / 1000 - Date.now()) / 1000)) }) : '');
  }
}
