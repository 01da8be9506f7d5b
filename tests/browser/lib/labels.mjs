// Acts as a person does: finds a control by the name that is seen or read aloud, never by an id or a class.

/** Runs in the page: the control of this name, or an error that lists what there is. */
function control(wanted, kind) {
  const seen = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  // A switch is drawn by its label.
  const shown = element => seen(element) || (element.labels?.[0] ? seen(element.labels[0]) : false);
  const labelled = element => (element.getAttribute('aria-labelledby') ?? '').split(' ').map(id => document.getElementById(id)?.textContent.trim()).filter(Boolean).join(' ');
  // Behind a name of the navigation stands the key that does the same.
  const plain = element => { const copy = element.cloneNode(true); for (const part of copy.querySelectorAll('kbd,[aria-hidden=true]')) part.remove(); return copy.textContent.trim().replace(/(\D)\d$/, '$1'); };
  const name = element => (element.getAttribute('aria-label') || labelled(element) || element.labels?.[0]?.textContent.trim() || plain(element)).replace(/\s+/g, ' ');
  const kinds = { any: 'a[href],button,summary,input,select,[role=button],[role=tab],[role=switch],[role=option],[role=menuitem],[role=row][tabindex]' };
  const dialog = [...document.querySelectorAll('dialog[open]')].at(-1);
  const all = [...(dialog ?? document).querySelectorAll(kinds[kind] ?? kind)].filter(shown);
  const pattern = wanted.startsWith('/') ? new RegExp(wanted.slice(1, wanted.lastIndexOf('/'))) : null;
  const found = all.find(element => (pattern ? pattern.test(name(element)) : name(element) === wanted));
  if (!found) throw new Error(`nothing is called ${wanted}; there are: ${all.map(name).filter(Boolean).join(' | ').slice(0, 1500)}`);
  return found;
}

/** A person in front of `page`: counts what they do. */
export class Person {
  constructor(page) { Object.assign(this, { page, actions: 0 }); }

  /** Begins a task. */
  begin() { this.actions = 0; }

  /** Presses what is called so; `/…/` is a pattern. */
  async press(name, patience = 8000) {
    await this.#wait(name, patience);
    this.actions += 1;
    await this.page.run(`{ const found = (${control})(${JSON.stringify(name)}, 'any'); found.scrollIntoView({ block: 'center' }); found.focus(); found.click(); }`);
  }

  async #wait(name, patience) {
    const end = Date.now() + patience;
    for (;;) {
      try { await this.page.run(`{ const found = (${control})(${JSON.stringify(name)}, 'any'); if (found.disabled || found.getAttribute('aria-disabled') === 'true') throw new Error('it cannot be pressed yet: ' + ${JSON.stringify(name)}); }`); return; }
      catch (error) { if (Date.now() > end) throw error; }
      await new Promise(done => setTimeout(done, 50));
    }
  }
}
