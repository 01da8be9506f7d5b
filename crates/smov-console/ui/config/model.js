// What the configuration view knows without a DOM: which objects there are, what is marked on them, drafts, skeletons, addresses.

export const refOf = item => `${item.kind}/${item.namespace}/${item.name}`;
export const parseRef = ref => { const [kind, namespace, name] = (ref ?? '').split('/'); return name ? { kind, namespace, name } : null; };

const KINDS = ['VirtualService', 'DestinationRule', 'Gateway', 'ServiceEntry', 'WorkloadEntry', 'PeerAuthentication', 'AuthorizationPolicy', 'RequestAuthentication', 'Sidecar', 'Telemetry'];
const rank = kind => { const place = KINDS.indexOf(kind); return place < 0 ? KINDS.length : place; };

/** All objects by kind: `[{ kind, rows: [{ ref, namespace, name, copies: { ctx1, … }, missing: [cluster], errors, warnings }] }]`. */
export function grouped(view) {
  const rows = new Map();
  const row = item => {
    const ref = refOf(item);
    if (!rows.has(ref)) rows.set(ref, { ref, kind: item.kind, namespace: item.namespace, name: item.name, copies: {}, missing: {}, errors: 0, warnings: 0 });
    return rows.get(ref);
  };
  for (const item of view.resources) {
    const known = row(item);
    known.copies[item.cluster] = item;
    known.errors += item.findings.filter(finding => finding.severity === 'error').length;
    known.warnings += item.findings.filter(finding => finding.severity === 'warning').length;
  }
  for (const item of view.missing) row(item).missing[item.cluster] = item;
  const kinds = new Map();
  for (const item of [...rows.values()].sort((one, other) => rank(one.kind) - rank(other.kind) || one.kind.localeCompare(other.kind) || one.namespace.localeCompare(other.namespace) || one.name.localeCompare(other.name))) {
    if (!kinds.has(item.kind)) kinds.set(item.kind, []);
    kinds.get(item.kind).push(item);
  }
  return [...kinds].map(([kind, list]) => ({ kind, rows: list }));
}

/** What is worth a mark on a row: `differs`, `changed`, `added`, `missing`. */
export function marksOf(row) {
  const copies = Object.values(row.copies), marks = [];
  if (copies.some(copy => copy.twin === 'differs')) marks.push('differs');
  if (copies.some(copy => copy.baseline === 'changed')) marks.push('changed');
  if (copies.some(copy => copy.baseline === 'added')) marks.push('added');
  if (Object.keys(row.missing).length > 0) marks.push('missing');
  return marks;
}

/** Texts that were begun and not applied, kept by the tab over a reload. Each remembers the versions (by cluster) and texts that it began with. */
export class Drafts {
  constructor(storage, prefix = 'smov.config.draft.') { Object.assign(this, { storage, prefix }); }
  #key(cluster, ref) { return `${this.prefix}${cluster}/${ref}`; }
  get(cluster, ref) {
    try {
      const draft = JSON.parse(this.storage.getItem(this.#key(cluster, ref)));
      return typeof draft?.text === 'string' ? draft : null;
    } catch { return null; }
  }
  /** A text that is what is stored is no draft. */
  set(cluster, ref, { text, versions = {}, bases = {} }, stored) {
    try {
      if (text === stored) this.storage.removeItem(this.#key(cluster, ref));
      else this.storage.setItem(this.#key(cluster, ref), JSON.stringify({ text, versions, bases }));
    } catch { /* a tab without storage keeps it as long as it is open */ }
  }
  drop(cluster, ref) { try { this.storage.removeItem(this.#key(cluster, ref)); } catch { /* there was none */ } }
  /** `cluster/Kind/namespace/name` of all. */
  all() {
    try { return Object.keys(this.storage).filter(key => key.startsWith(this.prefix)).map(key => key.slice(this.prefix.length)); } catch { return []; }
  }
}

const SPECS = {
  VirtualService: ['hosts:', '- user-service', 'http:', '- route:', '  - destination:', '      host: user-service'],
  DestinationRule: ['host: user-service', 'trafficPolicy:', '  loadBalancer:', '    simple: LEAST_REQUEST'],
  Gateway: ['selector:', '  istio: cp-gateway', 'servers:', '- port:', '    number: 80', '    name: http', '    protocol: HTTP', '  hosts:', "  - '*'"],
  ServiceEntry: ['hosts:', '- api.example.com', 'location: MESH_EXTERNAL', 'resolution: DNS', 'ports:', '- number: 443', '  name: https', '  protocol: TLS'],
  WorkloadEntry: ['address: 192.0.2.10', 'labels:', '  app: my-app'],
  PeerAuthentication: ['mtls:', '  mode: STRICT'],
  AuthorizationPolicy: ['selector:', '  matchLabels:', '    app: user-service', 'action: ALLOW', 'rules:', '- to:', '  - operation:', "      methods: ['GET']"],
  RequestAuthentication: ['selector:', '  matchLabels:', '    app: user-service', 'jwtRules:', '- issuer: issuer.example.com', '  jwks: \'{"keys":[]}\''],
  Sidecar: ['egress:', '- hosts:', '  - ./*', '  - istio-system/*'],
  Telemetry: ['accessLogging:', '- providers:', '  - name: envoy'],
};

/** A text to begin a new object with. */
export function skeleton(kind, apiVersion, namespace = 'theater-msa') {
  const name = `my-${kind.replace(/[A-Z]/g, (letter, at) => (at ? '-' : '') + letter.toLowerCase())}`;
  const spec = SPECS[kind] ?? [];
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\n${spec.length ? `spec:\n${spec.map(line => `  ${line}\n`).join('')}` : 'spec: {}\n'}`;
}

/** What a draft begins with: the versions and texts of all copies. */
export function begun(row) {
  const of = field => Object.fromEntries(Object.entries(row?.copies ?? {}).map(([cluster, copy]) => [cluster, copy[field]]));
  return { versions: of('resource_version'), bases: of('yaml') };
}

/** The changes to send: the draft for this cluster, and for the others where it is to be the same everywhere, each against the version it began with. */
export function changesOf({ cluster, draft, both, clusters }) {
  const versions = draft.versions ?? {};
  const change = name => ({ cluster: name, yaml: draft.text, ...(versions[name] ? { resource_version: versions[name] } : {}) });
  return [cluster, ...(both ? clusters.filter(name => name !== cluster) : [])].map(change);
}

/** Clusters whose copy is another than the draft began with. */
export function movedSince(draft, row, clusters) {
  return clusters.filter(cluster => (draft.versions?.[cluster] ?? null) !== (row?.copies[cluster]?.resource_version ?? null));
}

/** What the check's results say of this object here, and of others: the latter name theirs and open it. */
export function findingsFor(results, cluster, open) {
  const out = [];
  results.forEach(result => {
    for (const finding of result.findings) {
      const same = finding.cluster === cluster && (finding.ref === result.ref || finding.ref === '');
      if (same) out.push(finding);
      // The same text in the other cluster has the same mistakes; only what is different there is said.
      else if (finding.ref !== result.ref || !results.some(own => own.cluster === cluster && own.findings.some(known => known.code === finding.code && known.path === finding.path && known.line === finding.line))) out.push({ ...finding, elsewhere: `${finding.cluster} ${finding.ref}`, open: () => open(finding) });
    }
  });
  return out;
}

/** The way of an outcome: `done`, `none`, `bad`. */
export const wayOf = outcome => (['created', 'configured', 'deleted'].includes(outcome) ? 'done' : outcome === 'unchanged' ? 'none' : 'bad');
