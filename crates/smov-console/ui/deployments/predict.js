// What an action will do, computed from the configured split and the endpoints that are ready now; the same rule as the proxies': a request is first drawn
// to a subset by weight, then looks for a ready endpoint there, and a subset without one answers 503 UH. It never moves to another subset.

const SERVICES = { 'user-service': 'user', 'movie-service': 'movie', 'booking-service': 'booking' };
/** Apps whose end takes more than the requests of one service. */
const SPECIAL = { redis: 'redis', istiod: 'istiod', 'api-gateway': 'gateway', 'cp-gateway': 'gateway', 'istio-ingressgateway': 'gateway' };

/** The service that an app's pods serve; null for others. */
export const serviceOf = app => SERVICES[app] ?? null;

/** Pods of the app that take requests now. */
export function readyPods(view, namespace, app) {
  return (view?.pods ?? []).filter(pod => pod.namespace === namespace && pod.app === app && pod.status === 'Running' && full(pod.ready));
}

export const full = ready => { const [have, want] = String(ready).split('/'); return have === want && want !== '0'; };

/**
 * How many ready pods an action leaves.
 * `action`: { kind: 'delete' | 'kill', pod } | { kind: 'restart' } | { kind: 'scale', replicas }.
 */
export function left(action, ready) {
  if (action.kind === 'scale') return Math.min(action.replicas, ready.length);
  // A new pod is ready before an old one goes: at least one of one stays (25 % of 1 rounded down may be missing).
  if (action.kind === 'restart') return ready.length;
  return ready.filter(pod => pod.name !== action.pod).length;
}

/**
 * The prediction: { code, level: 'none' | 'some' | 'all' | 'unknown', percent, service, cluster, flags, booking }.
 * `world` has the store's `services`, `pods`, `store`, `connected` (a boolean).
 */
export function predict(action, { cluster, namespace, app }, world) {
  const view = world.pods[cluster];
  if (!world.connected || view?.state !== 'ok') return { code: 'unseen', level: 'unknown', cluster };
  const ready = readyPods(view, namespace, app), after = left(action, ready);
  const special = SPECIAL[app];
  if (special) return ofSpecial(special, after, ready, action, cluster, world);
  const service = serviceOf(app);
  if (!service) return { code: 'other', level: 'unknown', cluster };
  const base = { service, cluster, flags: action.kind === 'kill' ? 'UF, UH' : 'UH', booking: service !== 'booking' };
  if (ready.length === 0) return { ...base, code: 'already', level: 'none' };
  if (after > 0) return { ...base, code: action.kind === 'restart' ? 'rolling' : 'left', level: 'none', left: after };
  return { ...base, ...share(service, app, cluster, namespace, world) };
}

/** What part of a service's requests is drawn to a cluster that has nobody. */
function share(service, app, cluster, namespace, world) {
  const { configured, canary = [] } = world.services[service], canaries = canary.filter(rule => rule.to === cluster).length > 0;
  const others = Object.entries(world.pods).filter(([id]) => id !== cluster);
  if (configured.state === 'ok') {
    const whole = configured.ctx1 + configured.ctx2, percent = whole > 0 ? Math.round((configured[cluster] / whole) * 100) : 0;
    return percent === 0 ? { code: 'unweighted', level: 'none', percent, canaries } : { code: 'share', level: percent === 100 ? 'all' : 'some', percent, canaries };
  }
  if (configured.state === 'none') {
    // No rule: all endpoints of both clusters are one pool.
    if (others.some(([, view]) => view?.state !== 'ok')) return { code: 'unseen', level: 'unknown' };
    return others.some(([, view]) => readyPods(view, namespace, app).length > 0) ? { code: 'pool', level: 'none', percent: 0 } : { code: 'share', level: 'all', percent: 100 };
  }
  return { code: 'complex', level: 'unknown' };
}

function ofSpecial(special, after, ready, action, cluster, world) {
  if (after > 0 && ready.length > 0) return { code: action.kind === 'restart' ? 'rolling' : 'left', level: 'none', cluster, left: after };
  if (special === 'redis' && world.store.kind !== 'redis') return { code: 'unused', level: 'none', cluster };
  return { code: special, level: special === 'istiod' ? 'none' : 'all', cluster };
}

/** What a change of the link does: `plain`, `slow`, `stalled`, `cut`. */
export function predictLink(kind, world) {
  if (kind === 'plain' || kind === 'slow') return { code: `link.${kind}`, level: 'none' };
  const away = Object.entries(world.services).map(([id, { configured }]) => [id, configured.state === 'ok' ? Math.round((configured.ctx2 / Math.max(1, configured.ctx1 + configured.ctx2)) * 100) : null]);
  return { code: `link.${kind}`, level: 'some', away, redis: world.store.kind === 'redis' ? world.store.cluster : null };
}
