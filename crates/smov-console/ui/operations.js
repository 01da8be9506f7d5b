// The state of both clusters, and the link between them.

import { CLUSTERS, age, deploymentLight, linkKind, podsKnown } from './core.js';
import { find, glyph, h, icon, mark, picture, put, root, t, tone } from './dom.js';

const LIGHT_ICON = { ok: 'check', warn: 'clock', err: 'x', unknown: 'clock', idle: 'pause' };

/** Connects both parts; called once, when one of them is needed. */
export function mount({ store, connected }) {
  const clusters = new Clusters(store, connected);
  const link = new Link(store);
  return {
    draw: () => { clusters.draw(); link.draw(); },
    drawLink: () => link.draw(),
    tick: () => clusters.tick(),
    words: () => { clusters.draw(); link.draw(); },
  };
}

// ---------------------------------------------------------------- clusters

class Clusters {
  #open = new Set(innerWidth > 820 ? CLUSTERS : []); #shown = '';

  constructor(store, connected) { Object.assign(this, { store, connected, host: find('deploy'), ages: [], stale: [] }); }

  /** Draws anew only what is news: a cluster that confirms the same state every second keeps its nodes, focus and scroll. */
  draw() {
    const known = CLUSTERS.map(cluster => podsKnown(this.store.pods[cluster], this.connected()));
    const shown = JSON.stringify([root.lang, known, this.store.clusters, this.store.pods], (key, value) => (key === 'as_of' ? undefined : value));
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = document.activeElement?.closest?.('#deploy summary')?.dataset.cluster;
    this.ages = [];
    this.stale = [];
    this.host.replaceChildren(...CLUSTERS.map(cluster => this.#card(cluster)));
    if (focused) this.host.querySelector(`summary[data-cluster="${focused}"]`)?.focus();
  }

  /** Ages go on while nothing else happens. */
  tick() {
    const now = Date.now();
    for (const { node, started } of this.ages) put(node, age(now - started / 1000));
    for (const { node, cluster } of this.stale) put(node, this.#why(cluster, this.store.pods[cluster]));
  }

  #why(cluster, view) {
    if (!view?.as_of) return t('deploy.never', { cluster });
    return t('deploy.stale', { cluster, age: age(Date.now() - view.as_of / 1000) });
  }

  #card(cluster) {
    const view = this.store.pods[cluster], known = podsKnown(view, this.connected());
    const cloud = this.store.clusters.find(item => item.id === cluster)?.cloud ?? '';
    const lights = (view?.deployments ?? []).map(deployment => deploymentLight(deployment, known));
    const worst = !known ? 'unknown' : ['err', 'warn'].find(light => lights.includes(light)) ?? 'ok';
    const nodes = view?.nodes ?? [];
    const card = h('section', { class: `card cluster ${known ? '' : 'stale'}`.trim(), data: { cluster, light: worst }, 'aria-label': `${cloud} ${cluster}` },
      h('header', null, glyph(cluster), h('h3', null, `${cloud} · ${cluster}`), h('span', { class: 'muted s' }, t('deploy.nodes', { n: known ? `${nodes.filter(node => node.ready).length}/${nodes.length}` : '–' })), h('span', { class: 'r' }, this.#light(worst))));
    if (!known) {
      const why = h('span', null, view?.state === 'ok' ? t('deploy.disconnected', { cluster }) : this.#why(cluster, view));
      if (view?.state !== 'ok') this.stale.push({ node: why, cluster });
      card.append(h('p', { class: 'note' }, why, view?.error ? ` · ${view.error}` : null));
    }
    if (view?.deployments) card.append(h('ul', { class: 'deps' }, ...view.deployments.map((deployment, i) => this.#deployment(deployment, lights[i], known))));
    if (view?.pods) card.append(this.#pods(cluster, view.pods, known));
    return card;
  }

  #light(light) { return h('span', { class: `chip ${{ ok: 'ok', warn: 'warn', err: 'err' }[light] ?? ''}`.trim() }, icon(LIGHT_ICON[light]), h('span', null, t(`deploy.${light}`))); }

  #deployment(deployment, light, known) {
    const dots = Array.from({ length: Math.min(8, Math.max(deployment.wanted, deployment.ready)) }, (_, i) => h('i', { class: `pd ${known ? (i < deployment.ready ? 'up' : 'dn') : 'un'}` }));
    return h('li', { data: { app: deployment.app ?? deployment.name, light } }, h('span', { class: 'dn' }, h('b', null, deployment.name), deployment.namespace === 'theater-msa' ? null : h('small', null, deployment.namespace), (deployment.app ?? deployment.name) === 'redis' && deployment.wanted > 0 ? h('small', null, t('deploy.store')) : null),
      h('span', { class: 'pds', 'aria-hidden': 'true' }, ...dots), h('span', { class: 'rw' }, known ? `${deployment.ready}/${deployment.wanted}` : t('unknown')));
  }

  #pods(cluster, pods, known) {
    const heads = ['pod', 'status', 'ready', 'restarts', 'version', 'age'];
    const rows = pods.map(pod => {
      const old = h('td', null, pod.started ? age(Date.now() - pod.started / 1000) : t('none'));
      if (pod.started) this.ages.push({ node: old, started: pod.started });
      const good = known && pod.status === 'Running' && pod.ready.split('/')[0] === pod.ready.split('/')[1];
      return h('tr', null, h('td', { class: 'mono pn', title: `${pod.name} · ${pod.ip ?? ''} · ${pod.node ?? ''}` }, pod.name), h('td', { class: good ? 'okc' : known ? 'warnc' : 'muted' }, known ? pod.status : '?'), h('td', null, known ? pod.ready : '?'), h('td', null, String(pod.restarts ?? 0)), h('td', null, pod.version ?? '–'), old);
    });
    const details = h('details', { class: 'pods' },
      h('summary', { data: { cluster } }, t('deploy.pods', { n: pods.length })),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('deploy.pods', { n: pods.length }) }, h('table', { class: 'tick pods-t' }, h('thead', null, h('tr', null, ...heads.map(head => h('th', null, t(`deploy.${head}`))))), h('tbody', null, ...rows))));
    details.open = this.#open.has(cluster);
    details.addEventListener('toggle', () => { if (details.open) this.#open.add(cluster); else this.#open.delete(cluster); });
    return details;
  }
}

// ---------------------------------------------------------------- the link between them

/** Colour and icon of the link's chip by what the link is. */
export const LINK_LIGHTS = { plain: ['ok', 'check'], slow: ['warn', 'clock'], stalled: ['err', 'pause'], cut: ['err', 'stop'], unknown: ['', 'warn'] };

/** Puts into a chip what holds, never what was asked for. */
export function drawLinkChip(chip, link) {
  const kind = linkKind(link), [light, name] = LINK_LIGHTS[kind];
  tone(chip, `chip ${light}`.trim());
  picture(chip.querySelector('svg'), name);
  put(chip.lastElementChild, t(`link.now.${kind}`, { ms: link.latency_ms, jitter: link.jitter_ms }));
  mark(chip, 'title', link.error ?? '');
}

/** The link's state, hidden where the clusters have none of smov's; it is changed in the Deployments view. */
class Link {
  constructor(store) { Object.assign(this, { store, host: find('link') }); }

  draw() {
    const { link } = this.store;
    this.host.hidden = linkKind(link) === 'none';
    if (!this.host.hidden) drawLinkChip(find('link-now'), link);
  }
}
