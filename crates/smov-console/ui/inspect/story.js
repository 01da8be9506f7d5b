// One request's records put in order: which proxy called whom, what of it decides where the request went. No DOM.

/** `movie-service-ctx2` of the pod `movie-service-ctx2-6b54f8c6d6-h9bs9`. */
export const workloadOf = pod => (pod ?? '').split('-').slice(0, -2).join('-') || (pod ?? '');
/** Microseconds at which a phase began, from the record's start; null when it was not come to. */
export const phaseAt = (record, name) => record.phases.find(([phase]) => phase === name)?.[1] ?? null;
/** When the last byte was through, in microseconds from the record's start. */
export const endOf = record => Math.max(phaseAt(record, 'observe') ?? 0, record.duration);
export const has = (record, flag) => record.flags.split(',').includes(flag);
/** Did the proxy write it down itself, or was it worked out from a log and the configuration? */
export const isComputed = record => record.source === 'computed';

/** `{ host, port, subset }` of `outbound|8082|ctx2|movie-service.theater-msa.svc.cluster.local`. */
export function clusterParts(name) {
  const [, port = '', subset = '', host = name ?? ''] = (name ?? '').split('|');
  return { port, subset, host, service: host.split('.')[0] };
}
/** What people call a cluster of a proxy: its subset, else its service. */
export const clusterLabel = name => { const { subset, service } = clusterParts(name); return subset || service; };

/** The number that people count rules by: `spec.http[1]` is rule 2; null for the default route, which nobody wrote. */
export function ruleNumber(origin) {
  const found = /\[(\d+)\]$/.exec(origin?.path ?? '');
  return found ? Number(found[1]) + 1 : null;
}
export const refOf = origin => `${origin.resource.kind}/${origin.resource.namespace}/${origin.resource.name}`;

/**
 * The calls of a request in the order in which they began: what a proxy sent out, and what the other side's proxies have of it. A call without
 * `out` is one whose sender kept no record.
 */
export function calls(records) {
  const sorted = [...records].sort((a, b) => a.started - b.started);
  const inbound = sorted.filter(record => record.direction === 'inbound'), taken = new Set();
  const found = sorted.filter(record => record.direction !== 'inbound').map(out => {
    const pods = new Set(out.attempts.map(attempt => attempt.pod).filter(Boolean));
    // A proxy's clock counts whole microseconds; another machine's may be a little off.
    const mine = inbound.filter(record => !taken.has(record) && pods.has(record.proxy) && record.started >= out.started - 2000 && record.started <= out.started + endOf(out) + 2000);
    for (const record of mine) taken.add(record);
    return { out, inbound: mine };
  });
  for (const record of inbound) if (!taken.has(record)) found.push({ out: null, inbound: [record] });
  return found.sort((a, b) => (a.out ?? a.inbound[0]).started - (b.out ?? b.inbound[0]).started);
}

/** The call that lights the lamp: the gateway app's to the service. Else the last one that began outside, else the first. */
export function mainCall(list, row) {
  const ofGateway = list.findIndex(({ out }) => out?.direction === 'outbound' && workloadOf(out.proxy) === 'api-gateway' && (!row || clusterParts(out.cluster).service === `${row.svc}-service` || out.virtual_host?.startsWith(`${row.svc}-service.`) || out.cluster === null));
  if (ofGateway >= 0) return ofGateway;
  const outbound = list.findIndex(({ out }) => out?.direction === 'outbound');
  return outbound >= 0 ? outbound : 0;
}

/** The record of the proxy that the last try came to; null where it has none. */
export function calleeOf({ out, inbound }) {
  const pod = out?.attempts.at(-1)?.pod;
  return [...inbound].reverse().find(record => record.proxy === pod) ?? null;
}
/** Was a request refused by an AuthorizationPolicy of this proxy? */
export const isDenied = record => ['denied', 'notAllowed'].includes(record?.authorization?.decision.verdict);

/** The Kubernetes cluster whose pod's app answered a call; null when none did: a proxy in front of an app may answer by itself. */
export function arrivedAt(call) {
  const { out } = call, last = out.attempts.at(-1), callee = calleeOf(call);
  if (!last || last.status === 0 || has(out, 'FI') || isDenied(callee)) return null;
  if (callee && callee.flags !== '-' && !(callee.attempts.at(-1)?.status > 0)) return null;
  return last.kube_cluster ?? out.peer?.kube_cluster ?? null;
}
