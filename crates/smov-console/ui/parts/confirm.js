// One dialog for what cannot be taken back at once: what will happen, what may be chosen, and afterwards what did happen.

import { h, icon, put, t } from '../dom.js';

/**
 * Asks; `run(values)` does it when confirmed and may give `{ follow(say) }`, whose words then replace the question until the reader closes it.
 * `options`: [{ key, label, checked }] are switches whose values `run` is given. Focus starts on the safe way out and goes back to where it was.
 * Returns a promise of true (it was done) or false.
 */
export function confirm({ title, lines, level = 'some', action, options = [], run }) {
  return new Promise(done => {
    const opener = document.activeElement, switches = new Map();
    let finished = false, stop = null;
    const cancel = h('button', { type: 'button', class: 'btn' }, t('cancel'));
    const go = h('button', { type: 'button', class: `btn ${level === 'none' ? 'pri' : 'danger'}` }, action);
    const trouble = h('p', { class: 'notice err', role: 'alert', hidden: true }, icon('x'), h('span'));
    const outcome = h('p', { class: 'outcome', role: 'status' });
    const name = h('h2', { id: 'h-confirm' }, title);
    const body = h('div', { class: 'confirm-body', id: 'confirm-body' }, ...lines.map(line => (typeof line === 'string' ? h('p', null, line) : line)));
    const choices = options.map(option => {
      const box = h('input', { type: 'checkbox', checked: option.checked });
      switches.set(option.key, box);
      return h('label', { class: 'sw' }, box, h('i'), h('span', null, option.label));
    });
    const dialog = h('dialog', { class: 'confirm', 'aria-labelledby': 'h-confirm', 'aria-describedby': 'confirm-body' }, name, body, ...choices, trouble, outcome, h('div', { class: 'confirm-end' }, cancel, go));
    const busy = on => { for (const button of [cancel, go]) button.disabled = on; };
    cancel.addEventListener('click', () => dialog.close());
    go.addEventListener('click', async () => {
      busy(true);
      trouble.hidden = true;
      try {
        const result = await run(Object.fromEntries([...switches].map(([key, box]) => [key, box.checked])));
        finished = true;
        busy(false);
        if (!result?.follow) { dialog.close(); return; }
        go.hidden = true;
        for (const choice of choices) choice.hidden = true;
        put(cancel, t('close'));
        cancel.focus();
        stop = result.follow(text => put(outcome, text));
      } catch (error) {
        busy(false);
        put(trouble.lastElementChild, error.message);
        trouble.hidden = false;
        go.focus();
      }
    });
    dialog.addEventListener('close', () => {
      stop?.();
      dialog.remove();
      if (opener?.isConnected) opener.focus();
      done(finished);
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}
