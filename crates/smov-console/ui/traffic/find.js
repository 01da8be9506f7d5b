// Which of the live rules steer a service, as a sidecar in the service's namespace sees them. No DOM.

/** `user-service` in namespace `n` is `user-service.n.svc.cluster.local`; a name with a dot stays. */
export const fullName = (host, namespace) => (host.includes('.') || host.startsWith('*') ? host.toLowerCase() : `${host}.${namespace}.svc.cluster.local`.toLowerCase());

const bySeniority = (a, b) => (a.created ?? '').localeCompare(b.created ?? '') || a.name.localeCompare(b.name);
const inMesh = object => { const gateways = object.spec?.gateways ?? []; return gateways.length === 0 || gateways.includes('mesh'); };

/** The VirtualServices for a host in a cluster's mesh, the one that holds first: the oldest owns the host, later ones are ignored for it. */
export function virtualServices(resources, cluster, host, namespace) {
  const name = fullName(host, namespace);
  return resources.filter(item => item.cluster === cluster && item.kind === 'VirtualService' && inMesh(item.object) && (item.object.spec?.hosts ?? []).some(one => fullName(one, item.namespace) === name)).sort(bySeniority);
}

/** The DestinationRules for a host in a cluster, in the order in which they are merged: the oldest first. */
export function destinationRules(resources, cluster, host, namespace) {
  const name = fullName(host, namespace);
  return resources.filter(item => item.cluster === cluster && item.kind === 'DestinationRule' && item.namespace === namespace && fullName(item.object.spec?.host ?? '', item.namespace) === name).sort(bySeniority);
}

/** The DestinationRule whose top-level policy holds (the first that has one), else the first. */
export const steering = rules => rules.find(item => item.object.spec?.trafficPolicy) ?? rules[0] ?? null;

/** Labels of a subset: the first definition of a name wins. */
export function subsetLabels(rules, name) {
  for (const item of rules) for (const subset of item.object.spec?.subsets ?? []) if (subset.name === name) return subset.labels ?? {};
  return null;
}

/** Names of all subsets, in their order. */
export const subsetNames = rules => [...new Set(rules.flatMap(item => (item.object.spec?.subsets ?? []).map(subset => subset.name)))];

/** The cluster that a subset's pods say they live in; null where its labels do not say. */
export function clusterOfSubset(rules, name) {
  const labels = subsetLabels(rules, name);
  return labels?.cluster ?? labels?.['topology.istio.io/cluster'] ?? null;
}
