// A deployment's and a pod's state in words, a moment's figures, and an amount of memory: pure functions of data to keys and values.

import { full } from './predict.js';

/** Key and values of a deployment's state. `known` false = never green. */
export function deploymentState(deployment, pods, known, nowMs) {
  if (!known) return ['deployments.state.unknown', {}, 'unknown'];
  if (deployment.wanted === 0) return ['deployments.state.off', {}, 'idle'];
  const mine = pods.filter(pod => pod.namespace === deployment.namespace && pod.app === (deployment.app || deployment.name));
  const looping = mine.find(pod => /BackOff|Error|Failed/.test(pod.status));
  if (looping) return ['deployments.state.failing', { status: looping.status }, 'err'];
  if (deployment.ready >= deployment.wanted) {
    const more = mine.filter(pod => pod.status === 'Running').length;
    return more > deployment.wanted ? ['deployments.state.rolling', {}, 'warn'] : ['deployments.state.ok', {}, 'ok'];
  }
  const waiting = mine.filter(pod => !full(pod.ready) && pod.status !== 'Terminating' && pod.started).map(pod => nowMs - pod.started / 1000);
  const seconds = waiting.length > 0 ? Math.max(0, Math.round(Math.min(...waiting) / 1000)) : null;
  const light = deployment.ready === 0 ? 'err' : 'warn';
  return seconds === null ? ['deployments.state.starting', {}, light] : ['deployments.state.waiting', { seconds }, light];
}

/** `1.2 MiB`: memory as people read it. */
export function memory(bytes) {
  if (bytes === null || bytes === undefined) return null;
  const mebibytes = bytes / (1 << 20);
  return mebibytes >= 1024 ? `${(mebibytes / 1024).toFixed(1)} GiB` : `${mebibytes.toFixed(mebibytes < 10 ? 1 : 0)} MiB`;
}

/** `12m`: thousandths of a processor, as kubectl prints them. */
export const processors = millicores => (millicores === null || millicores === undefined ? null : `${millicores < 10 ? millicores.toFixed(1) : Math.round(millicores)}m`);

/** The line that says what an action did, from the two entries of the timeline: key and values. */
export function followUp(began, ready) {
  const effect = ready?.effect ?? began?.effect;
  if (!effect) return ['deployments.follow.waiting', {}];
  const failed = `${effect.at_least ? '≥ ' : ''}${effect.failed}`;
  if (effect.ready_ms === undefined) return ['deployments.follow.open', { failed }];
  const values = { failed, ready: seconds(effect.ready_ms) };
  if (effect.served_ms === undefined) return [effect.open ? 'deployments.follow.ready' : 'deployments.follow.unasked', values];
  return ['deployments.follow.served', { ...values, served: seconds(effect.served_ms) }];
}

export const seconds = ms => (ms / 1000).toFixed(1);

/** Where a moment leads: an address of this page, or null. */
export function linkOf(moment) {
  const request = moment.effect?.request;
  if (request) return `/inspect?req=${encodeURIComponent(request)}`;
  const [kind, , name] = String(moment.ref ?? '').split('/');
  if (moment.kind === 'change' && moment.ref) return `/config?ref=${encodeURIComponent(moment.ref)}&cluster=${moment.cluster ?? ''}`;
  if (kind === 'Pod' && name) return `/deployments?cluster=${moment.cluster ?? ''}&pod=${encodeURIComponent(name)}`;
  return null;
}

/** Which filter shows a moment. */
export const GROUPS = { all: null, faults: ['fault', 'ejection', 'uneject', 'kill', 'restart', 'ready'], changes: ['change', 'scale', 'link', 'scenario', 'restart'] };
export const passes = (moment, group) => !GROUPS[group] || GROUPS[group].includes(moment.kind);

/** A bounded list of lines: what is cut off by the end of a piece waits for the next. */
export class Lines {
  #rest = '';
  constructor(capacity) { this.capacity = capacity; this.lines = []; this.dropped = 0; }
  /** Takes a piece of text; gives the whole lines in it. */
  take(text) {
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop();
    this.lines.push(...parts);
    const over = this.lines.length - this.capacity;
    if (over > 0) { this.lines.splice(0, over); this.dropped += over; }
    return parts;
  }
  clear() { this.lines = []; this.dropped = 0; this.#rest = ''; }
}
