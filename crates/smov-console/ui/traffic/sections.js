// The parts of the form, the values that each of them has, and what a part proposes when it is switched on.

/** Parts of the form in their order, and the kind of resource that each edits. */
export const SECTIONS = { weight: 'VirtualService', canary: 'VirtualService', fault: 'VirtualService', retry: 'VirtualService', pool: 'DestinationRule', outlier: 'DestinationRule', mirror: 'VirtualService' };

/** The part of a value: `fault.default.delay.on` is one of `fault`. */
export const sectionOf = key => { const first = key.slice(0, key.indexOf('.')); return first === 'timeout' ? 'retry' : first; };

/** Rules that a fault can be put on. */
export const FAULT_RULES = ['default', 'canary'];

/** Fields of `connectionPool`: name in the form, path in the block, kind of value, Istio's default. */
export const POOL = [
  { key: 'maxConnections', path: ['tcp', 'maxConnections'], kind: 'count', istio: 'unlimited' },
  { key: 'connectTimeout', path: ['tcp', 'connectTimeout'], kind: 'duration', istio: '10s' },
  { key: 'http1MaxPendingRequests', path: ['http', 'http1MaxPendingRequests'], kind: 'count', istio: 'unlimited' },
  { key: 'http2MaxRequests', path: ['http', 'http2MaxRequests'], kind: 'count', istio: 'unlimited' },
  { key: 'maxRequestsPerConnection', path: ['http', 'maxRequestsPerConnection'], kind: 'count', istio: 'unlimited' },
  { key: 'maxRetries', path: ['http', 'maxRetries'], kind: 'count', istio: 'unlimited' },
  { key: 'idleTimeout', path: ['http', 'idleTimeout'], kind: 'duration', istio: '1h' },
];

/** Fields of `outlierDetection`. */
export const OUTLIER = [
  { key: 'consecutive5xxErrors', path: ['consecutive5xxErrors'], kind: 'count', istio: '5' },
  { key: 'consecutiveGatewayErrors', path: ['consecutiveGatewayErrors'], kind: 'count', istio: 'off' },
  { key: 'interval', path: ['interval'], kind: 'duration', istio: '10s' },
  { key: 'baseEjectionTime', path: ['baseEjectionTime'], kind: 'duration', istio: '30s' },
  { key: 'maxEjectionPercent', path: ['maxEjectionPercent'], kind: 'share', istio: '10' },
  { key: 'minHealthPercent', path: ['minHealthPercent'], kind: 'share', istio: '0' },
  { key: 'splitExternalLocalOriginErrors', path: ['splitExternalLocalOriginErrors'], kind: 'flag', istio: 'false' },
  { key: 'consecutiveLocalOriginFailures', path: ['consecutiveLocalOriginFailures'], kind: 'count', istio: '5' },
];

/** What a part proposes when it is switched on and nothing is there yet. */
export const PROPOSED = {
  'canary.header': 'x-canary', 'canary.kind': 'exact', 'canary.value': 'true', 'canary.target': 'ctx2',
  ...Object.fromEntries(FAULT_RULES.flatMap(rule => [[`fault.${rule}.delay.time`, '3s'], [`fault.${rule}.delay.percent`, 30], [`fault.${rule}.abort.status`, 500], [`fault.${rule}.abort.percent`, 30]])),
  'retry.attempts': 2, 'retry.perTry': '', 'retry.on': '', 'mirror.percent': 100, 'mirror.target': '',
  'outlier.consecutive5xxErrors': 2, 'outlier.interval': '5s', 'outlier.baseEjectionTime': '20s', 'outlier.maxEjectionPercent': 100,
};
