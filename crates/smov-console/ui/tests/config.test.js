import assert from 'node:assert/strict';
import { test } from 'node:test';

import { begun, changesOf, Drafts, findingsFor, grouped, marksOf, movedSince, parseRef, skeleton, wayOf } from '../config/model.js';
import { counts, diffLines } from '../parts/lines.js';
import { neighbour, newline, offsetOf, painted, placeOf, shifted, tokens } from '../parts/yaml-text.js';

const copy = (cluster, more = {}) => ({ cluster, kind: 'VirtualService', namespace: 'n', name: 'a', resource_version: '1', yaml: `in: ${cluster}\n`, baseline: 'same', twin: 'same', findings: [], ...more });
const view = (...resources) => ({ clusters: [{ name: 'ctx1' }, { name: 'ctx2' }], resources, missing: [] });

class Storage { setItem(key, value) { this[key] = String(value); } getItem(key) { return this[key] ?? null; } removeItem(key) { delete this[key]; } }

test('the pieces of a line are the line, whatever it holds', () => {
  for (const line of ['', '  - name: canary', 'key: "a: b" # note', "- '*'", 'weight: 70', 'match: [{uri: {prefix: /a}}]', '# only a comment', 'exact: "unfinished', '  - - deep: 1', 'time: 10:31:36', 'host: "가나다" # 설명', '-', 'a:b']) assert.equal(tokens(line).map(([, text]) => text).join(''), line);
});

test('keys, texts, numbers, words and comments have colours of their own', () => {
  const classes = line => tokens(line).filter(([name]) => name).map(([name, text]) => `${name}=${text.trim()}`);
  assert.deepEqual(classes('    weight: 70 # half'), ['key=weight', 'pun=:', 'num=70', 'com=# half']);
  assert.deepEqual(classes('- exact: "true"'), ['pun=-', 'key=exact', 'pun=:', 'str="true"']);
  assert.deepEqual(classes('a: true'), ['key=a', 'pun=:', 'lit=true']);
  assert.deepEqual(classes('timeout: 3s'), ['key=timeout', 'pun=:', 'num=3s']);
  // A word with a digit is no number, a host with dots neither.
  assert.deepEqual(classes('subset: ctx2'), ['key=subset', 'pun=:']);
  assert.deepEqual(classes('host: a1.example-2.com'), ['key=host', 'pun=:']);
});

test('marks underline what they mean, also behind the end of a line', () => {
  const mark = { severity: 'error', column: 7, end_column: 17 };
  const pieces = painted('      weigth: 50', [mark]);
  assert.equal(pieces.map(([, text]) => text).join(''), '      weigth: 50');
  assert.equal(pieces.filter(([, , severity]) => severity === 'error').map(([, text]) => text).join(''), 'weigth: 50');
  assert.deepEqual(painted('ab', [{ severity: 'warning', column: 9 }]).at(-1), ['', ' ', 'warning']);
  const both = painted('abc', [{ severity: 'warning', column: 1, end_column: 4 }, { severity: 'error', column: 2, end_column: 3 }]);
  assert.deepEqual(both.map(([, text, severity]) => [text, severity]), [['a', 'warning'], ['b', 'error'], ['c', 'warning']]);
});

test('places and offsets lead to each other, counted in characters', () => {
  const text = 'a: 1\n가나: "🎬x"\n\nend';
  for (let offset = 0; offset <= text.length; offset += 1) {
    if (/[\uDC00-\uDFFF]/.test(text[offset] ?? '')) continue;
    const { line, column } = placeOf(text, offset);
    assert.equal(offsetOf(text, line, column), offset);
  }
  assert.deepEqual(placeOf(text, text.indexOf('x')), { line: 2, column: 7 });
  assert.equal(offsetOf(text, 1, 99), 4);
  assert.equal(offsetOf(text, 99), text.length);
});

test('Enter keeps the indent, and Tab moves lines there and back', () => {
  assert.equal(newline('  http:', 7), '\n    ');
  assert.equal(newline('  - name: a', 11), '\n    ');
  assert.equal(newline('a: 1', 4), '\n');
  const text = 'a:\n  b: 1\n  c: 2\n';
  const moved = shifted(text, 5, 14, false);
  assert.equal(moved.text, 'a:\n    b: 1\n    c: 2\n');
  assert.equal(shifted(moved.text, moved.start, moved.end, true).text, text);
  assert.equal(shifted('ab', 1, 1, false).text, 'a  b');
  assert.equal(shifted('b', 0, 0, true).text, 'b');
});

test('F8 goes round, and passes over what has no place', () => {
  const findings = [{ line: 9, column: 1 }, { line: 3, column: 2 }, { line: 0, column: 0 }];
  assert.equal(neighbour(findings, { line: 1, column: 1 }, 1).line, 3);
  assert.equal(neighbour(findings, { line: 3, column: 2 }, 1).line, 9);
  assert.equal(neighbour(findings, { line: 9, column: 1 }, 1).line, 3);
  assert.equal(neighbour(findings, { line: 3, column: 2 }, -1).line, 9);
  assert.equal(neighbour([{ line: 0 }], { line: 1, column: 1 }, 1), null);
});

test('a diff leads from one text to the other, with no more lines than needed', () => {
  let seed = 7;
  const random = below => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % below; };
  const common = (a, b) => {
    const table = Array.from({ length: a.length + 1 }, () => Array(b.length + 1).fill(0));
    for (let i = 0; i < a.length; i += 1) for (let j = 0; j < b.length; j += 1) table[i + 1][j + 1] = a[i] === b[j] ? table[i][j] + 1 : Math.max(table[i][j + 1], table[i + 1][j]);
    return table[a.length][b.length];
  };
  for (let turn = 0; turn < 300; turn += 1) {
    const text = () => Array.from({ length: random(9) }, () => 'abc'[random(3)]);
    const [a, b] = [text(), text()], lines = diffLines(a.map(one => `${one}\n`).join(''), b.map(one => `${one}\n`).join(''));
    const { added, removed } = counts(lines), kept = common(a, b);
    assert.deepEqual([added, removed], [b.length - kept, a.length - kept], `${a} → ${b}`);
    for (const line of lines) {
      if (line.op !== '+' && line.op !== '@') assert.equal(a[line.old - 1], line.text);
      if (line.op !== '-' && line.op !== '@') assert.equal(b[line.new - 1], line.text);
    }
  }
  assert.deepEqual(diffLines('a\n', 'a\n'), []);
});

test('objects are listed by kind with what is to be seen on them', () => {
  const data = view(copy('ctx1', { twin: 'differs', findings: [{ severity: 'error' }] }), copy('ctx2', { baseline: 'changed' }), { ...copy('ctx1'), kind: 'Gateway', name: 'g', twin: 'absent' });
  data.missing.push({ cluster: 'ctx2', kind: 'VirtualService', namespace: 'n', name: 'gone', yaml: 'x' });
  const groups = grouped(data);
  assert.deepEqual(groups.map(group => [group.kind, group.rows.map(row => row.name)]), [['VirtualService', ['a', 'gone']], ['Gateway', ['g']]]);
  const [a, gone] = groups[0].rows;
  assert.deepEqual([a.errors, marksOf(a), marksOf(gone), marksOf(groups[1].rows[0])], [1, ['differs', 'changed'], ['missing'], []]);
});

test('a draft outlives the page, is none when it says what is stored, and a broken one is no error', () => {
  const storage = new Storage(), drafts = new Drafts(storage);
  drafts.set('ctx1', 'K/n/a', { text: 'mine', versions: { ctx1: '1' } }, 'stored');
  assert.deepEqual(new Drafts(storage).get('ctx1', 'K/n/a'), { text: 'mine', versions: { ctx1: '1' }, bases: {} });
  assert.deepEqual(drafts.all(), ['ctx1/K/n/a']);
  assert.equal(drafts.get('ctx2', 'K/n/a'), null);
  drafts.set('ctx1', 'K/n/a', { text: 'stored' }, 'stored');
  assert.equal(drafts.get('ctx1', 'K/n/a'), null);
  storage.setItem('smov.config.draft.ctx1/K/n/b', '{broken');
  assert.equal(drafts.get('ctx1', 'K/n/b'), null);
  const refusing = new Drafts({ setItem() { throw new Error('full'); }, getItem() { throw new Error('no'); }, removeItem() { throw new Error('no'); } });
  refusing.set('ctx1', 'K/n/a', { text: 'x' }, '');
  refusing.drop('ctx1', 'K/n/a');
  assert.equal(refusing.get('ctx1', 'K/n/a'), null);
});

test('a draft is sent against the versions that it began with, in every cluster', () => {
  const before = grouped(view(copy('ctx1'), copy('ctx2', { resource_version: '5' })))[0].rows[0];
  const draft = { text: 'mine', ...begun(before) };
  assert.deepEqual(draft.bases, { ctx1: 'in: ctx1\n', ctx2: 'in: ctx2\n' });
  assert.deepEqual(changesOf({ cluster: 'ctx1', draft, both: true, clusters: ['ctx1', 'ctx2'] }), [{ cluster: 'ctx1', yaml: 'mine', resource_version: '1' }, { cluster: 'ctx2', yaml: 'mine', resource_version: '5' }]);
  assert.equal(changesOf({ cluster: 'ctx2', draft, both: false, clusters: ['ctx1', 'ctx2'] }).length, 1);
  const now = grouped(view(copy('ctx1'), copy('ctx2', { resource_version: '6' })))[0].rows[0];
  assert.deepEqual(movedSince(draft, before, ['ctx1', 'ctx2']), []);
  assert.deepEqual(movedSince(draft, now, ['ctx1', 'ctx2']), ['ctx2']);
  assert.deepEqual(movedSince(draft, { copies: {} }, ['ctx1']), ['ctx1']);
  assert.deepEqual(changesOf({ cluster: 'ctx1', draft: { text: 'new' }, both: false, clusters: ['ctx1'] }), [{ cluster: 'ctx1', yaml: 'new' }]);
});

test('findings of the same text are said once, those of other objects name them', () => {
  const finding = (cluster, ref, more = {}) => ({ cluster, ref, code: 'c', path: 'p', line: 3, ...more });
  const results = [
    { cluster: 'ctx1', ref: 'K/n/a', findings: [finding('ctx1', 'K/n/a'), finding('ctx1', 'K/n/b', { line: 9 })] },
    { cluster: 'ctx2', ref: 'K/n/a', findings: [finding('ctx2', 'K/n/a'), finding('ctx2', 'K/n/a', { code: 'other' })] },
  ];
  let opened = null;
  const shown = findingsFor(results, 'ctx1', one => { opened = one; });
  assert.deepEqual(shown.map(one => [one.elsewhere ?? 'here', one.code, one.line]), [['here', 'c', 3], ['ctx1 K/n/b', 'c', 9], ['ctx2 K/n/a', 'other', 3]]);
  shown[1].open();
  assert.equal(opened.ref, 'K/n/b');
});

test('addresses, skeletons and outcomes', () => {
  assert.deepEqual(parseRef('VirtualService/n/a'), { kind: 'VirtualService', namespace: 'n', name: 'a' });
  assert.equal(parseRef('nonsense'), null);
  assert.match(skeleton('PeerAuthentication', 'security.istio.io/v1'), /^apiVersion: security\.istio\.io\/v1\nkind: PeerAuthentication\nmetadata:\n {2}name: my-peer-authentication\n {2}namespace: theater-msa\nspec:\n {2}mtls:\n/);
  assert.match(skeleton('Other', 'x/v1'), /spec: \{\}\n$/);
  assert.deepEqual(['created', 'unchanged', 'conflict', 'unreachable'].map(wayOf), ['done', 'none', 'bad', 'bad']);
});
