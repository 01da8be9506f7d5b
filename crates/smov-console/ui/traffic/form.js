// The state behind the form: live rules of both clusters, one draft per service, what is shown of them. No DOM; storage comes from outside.

import { CLUSTERS, changes, edit, emptyDraft, equal, fromText, homeOf, overtaken, readCluster, rebase, shown, targets, withoutSection } from './draft.js';
import { PROPOSED, SECTIONS, sectionOf } from './sections.js';
import { problemOf } from './validate.js';

const equalSpec = (item, start) => !start || JSON.stringify(item.object.spec) === JSON.stringify(start.object.spec);

export class Form {
  #drafts = {}; #pictures = null; #problems = null;

  /** `storage` keeps texts by key: { get, set }. `onChange` hears of every change of what is shown. */
  constructor(storage, onChange) {
    Object.assign(this, { storage, onChange, service: 'user', resources: null, reach: [], error: null, applying: false });
  }

  get host() { return `${this.service}-service`; }
  get draft() { return this.draftOf(this.service); }
  draftOf(service) { return (this.#drafts[service] ??= fromText(this.storage.get(`traffic.${service}`) ?? '')); }
  #keep(draft) {
    this.#drafts[this.service] = draft;
    this.storage.set(`traffic.${this.service}`, JSON.stringify(draft));
    this.#changed();
  }
  #changed() { this.#pictures = null; this.#problems = null; this.onChange(); }

  choose(service) { this.service = service; this.#changed(); }
  /** The answer of GET /resources. */
  load({ clusters, resources }) {
    Object.assign(this, { reach: clusters, resources, error: null });
    this.#pictures = null;
    // Written again without another content (a reset to the same, a new mesh): nothing that a person would have to decide.
    if (this.overtaken().length > 0 && this.livePictures().every(picture => Object.values(picture.live).every(item => !item || equalSpec(item, this.draft.base[`${picture.cluster}/${item.kind}`])))) { this.rebase(); return; }
    this.#changed();
  }
  /** Another one when any rule is another. */
  stamp() { return JSON.stringify((this.resources ?? []).map(item => [item.cluster, item.kind, item.name, item.resource_version])); }
  failed(error) { this.error = error; this.#changed(); }

  get readable() { return this.reach.filter(cluster => cluster.reachable).map(cluster => cluster.name); }
  /** The clusters that a change goes to. */
  get targets() { return targets(this.draft, this.readable); }

  /** Both clusters' pictures; a draft's pictures stand on what it began with. */
  pictures() { return (this.#pictures ??= this.resources ? CLUSTERS.filter(cluster => this.readable.includes(cluster)).map(cluster => readCluster(this.resources, cluster, this.host, this.draft.base)) : []); }
  livePictures() { return this.resources ? CLUSTERS.filter(cluster => this.readable.includes(cluster)).map(cluster => readCluster(this.resources, cluster, this.host)) : []; }
  /** The picture whose values stand in the form: the gateway's cluster where it is among the targets. */
  lead() { const wanted = this.targets[0] ?? this.readable[0]; return this.pictures().find(picture => picture.cluster === wanted) ?? null; }

  get(key) { const lead = this.lead(); return lead ? shown(this.draft, lead, key) : null; }
  live(key) { return this.lead()?.values[key] ?? null; }
  edited(key) { return key in this.draft.edits; }
  editedSections() { return new Set(Object.keys(this.draft.edits).map(sectionOf)); }
  /** While a change is being applied, going back to the old value is an edit too: the rebase that follows decides. */
  set(key, value) { this.#keep(edit(this.draft, this.pictures(), key, value, this.applying)); }
  setAll(values) { let { draft } = this; for (const [key, value] of Object.entries(values)) draft = edit(draft, this.pictures(), key, value, this.applying); this.#keep(draft); }
  aim(target) { this.#keep({ ...this.draft, target }); }
  discard() { this.#keep({ ...emptyDraft(), target: this.draft.target }); }
  discardSection(section) { this.#keep(withoutSection(this.draft, section)); }
  /** These results went in: their rules are the draft's new starting point, the others stay as the draft knew them. */
  settle(done) {
    const base = { ...this.draft.base };
    for (const { cluster, ref } of done) { const key = `${cluster}/${ref.split('/')[0]}`, now = this.livePictures().find(picture => picture.cluster === cluster)?.live[ref.split('/')[0]]; if (now) base[key] = { ...base[key], resource_version: now.resource_version, object: now.object }; }
    this.#keep({ ...this.draft, base });
  }
  /** These edits, as they were sent, are live on the clusters that they were sent to: they are none any more, whatever the draft aims at by now. What was typed meanwhile stays. */
  landed(sent) {
    const edits = Object.fromEntries(Object.entries(this.draft.edits).filter(([key, value]) => !(key in sent && equal(sent[key], value))));
    this.#keep(rebase({ ...this.draft, edits }, this.livePictures()));
  }
  /** The draft on top of what is live now. */
  rebase() { this.#keep(rebase(this.draft, this.livePictures())); }

  reason(section) { return this.lead()?.reasons[section] ?? null; }
  resource(section) { const kind = SECTIONS[section.split('.')[0]]; return this.lead()?.live[kind] ?? null; }
  /** What the other target's copy says where it differs from the one in the form; null where it does not. */
  differs(key) {
    const lead = this.lead(), other = this.pictures().find(picture => picture !== lead);
    if (!lead || !other || key in this.draft.edits || other.reasons[sectionOf(key)] || equal(lead.values[key], other.values[key])) return null;
    const value = other.values[key];
    return { cluster: other.cluster, value: value === null || value === undefined || value === '' ? '–' : value };
  }
  /** Keys whose live values differ between the clusters. */
  differences() {
    const [first, second] = this.livePictures();
    if (!first || !second) return [];
    return [...new Set([...Object.keys(first.values), ...Object.keys(second.values)])].filter(key => !equal(first.values[key], second.values[key]));
  }

  problems() {
    if (this.#problems) return this.#problems;
    const found = new Map();
    for (const [key, value] of Object.entries(this.draft.edits)) { const problem = problemOf(key, value, name => this.get(name)); if (problem) found.set(key, problem); }
    return (this.#problems = found);
  }

  changes() { return changes(this.draft, this.pictures().filter(picture => this.targets.includes(picture.cluster))); }
  overtaken() { return overtaken(this.draft, this.livePictures()); }
  home(subset) { const lead = this.lead(); return lead ? homeOf(lead, subset) : null; }
  subsets() { return this.lead()?.subsets ?? []; }

  /** All values before and after, for predictions: of the gateway's cluster, whose rules the lamps follow; null where that one is not changed. */
  outlook() {
    const picture = this.pictures().find(one => one.cluster === 'ctx1');
    if (!picture || !this.targets.includes('ctx1')) return null;
    const after = { ...picture.values };
    for (const key of Object.keys(this.draft.edits)) if (!picture.reasons[sectionOf(key)]) after[key] = this.draft.edits[key];
    // What a part proposes counts from the moment it is switched on.
    const started = key => (key.startsWith('retry.') ? after['retry.mode'] === 'custom' && picture.values['retry.mode'] !== 'custom' : after[`${key.slice(0, key.lastIndexOf('.'))}.on`] === true);
    for (const key of Object.keys(PROPOSED)) if ((after[key] === undefined || after[key] === null) && started(key)) after[key] = PROPOSED[key];
    return { before: picture.values, after };
  }
}
