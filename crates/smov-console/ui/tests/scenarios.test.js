import assert from 'node:assert/strict';
import { test } from 'node:test';

import { badgeOf, filesByCluster, sameScenarios } from '../parts/scenario-state.js';

test('only what is there, or cannot be known, has a badge', () => {
  assert.deepEqual(['active', 'partly', 'unknown', 'inactive'].map(state => badgeOf({ state })), ['active', 'partly', 'unknown', null]);
});

test('files of both clusters come first', () => {
  const files = [['ctx2', 'a'], ['both', 'c'], ['ctx1', 'b'], ['both', 'a']].map(([cluster, path]) => ({ cluster, path }));
  assert.deepEqual(filesByCluster(files).map(file => `${file.cluster}/${file.path}`), ['both/a', 'both/c', 'ctx1/b', 'ctx2/a']);
});

test('the same answer is no news', () => {
  const answer = [{ name: 'delay', state: 'inactive' }];
  assert.equal(sameScenarios(null, answer), false);
  assert.equal(sameScenarios(answer, structuredClone(answer)), true);
  assert.equal(sameScenarios(answer, [{ name: 'delay', state: 'active' }]), false);
});
