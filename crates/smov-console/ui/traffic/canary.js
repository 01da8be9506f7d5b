// The canary rule: a header that goes before the split, and a test of it with ten requests.

import { Lanes } from '../core.js';
import { announce, h, help, icon, put, t, tone } from '../dom.js';
import { choiceField, guarded, textField, toggle } from './fields.js';
import { handedOn } from './predict.js';

const PATHS = { user: '/users/', movie: '/movies/', booking: '/bookings/' };

/** Sends ten requests with the header of the rule that is live, and counts where they arrived. */
export async function tryCanary(ask, service, header, value, told) {
  const counts = { sent: 0, answered: 0, clusters: {}, unreached: 0 }, lanes = new Lanes(3);
  await Promise.all(Array.from({ length: 10 }, () => lanes.run(async () => {
    counts.sent += 1;
    try {
      const answer = await ask(service, PATHS[service], { canary: false, headers: { [header]: value } });
      await answer.arrayBuffer();
      const cluster = answer.headers.get('x-service-cluster');
      if (cluster) counts.clusters[cluster] = (counts.clusters[cluster] ?? 0) + 1; else counts.unreached += 1;
    } catch { counts.unreached += 1; }
    counts.answered += 1;
    told(counts);
  })));
  return counts;
}

export function canaryCard(form, { ask, heard }) {
  const title = h('h3', { id: 'h-canary', tabindex: '-1' }), order = h('span', { class: 'chip' }), edited = h('span', { class: 'chip warn' });
  const on = toggle(form, 'canary.on', 'traffic.canary.on');
  const header = textField(form, 'canary.header', { label: 'traffic.canary.header' });
  const kind = choiceField(form, 'canary.kind', { label: 'traffic.canary.kind', choices: () => [['exact', t('traffic.canary.exact')], ['prefix', t('traffic.canary.prefix')]] });
  const value = textField(form, 'canary.value', { label: 'traffic.canary.value' });
  const target = choiceField(form, 'canary.target', { label: 'traffic.canary.target', choices: () => form.subsets().map(subset => [subset, form.subsetName(subset)]) });
  const send = h('button', { type: 'button', class: 'btn', on: { click: test } }, icon('play'), h('span')), result = h('span', { class: 's', role: 'status' });
  const notes = h('p', { class: 's muted' }), deaf = h('p', { class: 's warnc' });
  const fields = h('div', { class: 'f4' }, header.node, kind.node, value.node, target.node);
  const tryOut = h('div', { class: 'hd' }, send, result);
  const body = h('div', { class: 'stack sm' }, fields, deaf, tryOut, notes), guard = guarded(form, ['canary'], body);
  const node = h('section', { class: 'card rule', id: 'part-canary', 'aria-labelledby': 'h-canary' }, h('div', { class: 'hd' }, icon('route'), title, help('canary'), order, edited, on.node), guard.node);
  let busy = false;

  async function test() {
    if (busy) return;
    busy = true;
    const { service } = form, name = form.live('canary.header'), wanted = form.home(form.live('canary.target'));
    draw();
    const counts = await tryCanary(ask, service, name, form.live('canary.value'), soFar => put(result, t('traffic.canary.sending', { n: soFar.answered })));
    busy = false;
    const arrived = counts.clusters[wanted] ?? 0, where = [...Object.entries(counts.clusters).sort().map(([cluster, n]) => t('traffic.canary.part', { cluster, n })), ...(counts.unreached > 0 ? [t('traffic.canary.unreached', { n: counts.unreached })] : [])].join(', ');
    tone(result, arrived === 10 ? 's okc' : 's errc');
    const text = arrived === 10 ? t('traffic.canary.all', { cluster: wanted }) : t('traffic.canary.mixed', { where, cluster: wanted ?? '?' });
    put(result, text);
    announce(text);
    heard({ service, arrived, n: 10 });
    draw();
  }

  function draw() {
    put(title, t('traffic.canary'));
    on.draw();
    const usable = guard.draw(), active = form.get('canary.on') === true, lead = form.lead(), place = lead?.at;
    on.node.hidden = !usable;
    put(order, !active ? t('traffic.canary.off') : t('traffic.canary.order', { n: form.live('canary.on') ? place.canary + 1 : 1 }));
    edited.hidden = !form.editedSections().has('canary');
    put(edited, t('traffic.edited'));
    fields.hidden = !active;
    for (const field of [header, kind, value, target]) field.draw();
    const live = usable && form.live('canary.on') === true;
    tryOut.hidden = !live;
    send.disabled = busy;
    put(send.lastElementChild, t(form.editedSections().has('canary') ? 'traffic.canary.test.live' : 'traffic.canary.test'));
    const name = form.get('canary.header');
    deaf.hidden = !active || !name || handedOn(name);
    put(deaf, t('traffic.canary.deaf', { header: name ?? '' }));
    const others = place ? place.total - (place.default >= 0 ? 1 : 0) - (place.canary >= 0 ? 1 : 0) - place.unreached : 0;
    put(notes, [active ? t('traffic.canary.note') : t('traffic.canary.offnote'), others > 0 ? t('traffic.rules.others', { n: others }) : '', place?.unreached > 0 ? t('traffic.rules.unreached', { n: place.unreached }) : ''].filter(Boolean).join(' '));
  }
  return { node, title, draw, clear: () => { put(result, ''); tone(result, 's'); } };
}
