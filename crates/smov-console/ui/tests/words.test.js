import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('../', import.meta.url);
const source = name => readFileSync(new URL(name, folder), 'utf8');
const FILES = readdirSync(folder, { recursive: true }).map(name => name.replaceAll('\\', '/')).filter(name => /\.(js|html)$/.test(name) && !/^(tests|i18n)\//.test(name));
const PARTS = readdirSync(new URL('i18n/', folder)).filter(name => name.endsWith('ko.js')).map(name => name.slice(0, -'ko.js'.length));
const words = async lang => Object.assign({}, ...await Promise.all(PARTS.map(async part => (await import(`../i18n/${part}${lang}.js`)).default)));
const [korean, english] = await Promise.all([words('ko'), words('en')]);

// docs/glossary.md is the one source of what terms mean; what the page must know before it has asked for it is a copy, held to it here.
const GLOSSARY = new Map(readFileSync(new URL('../../../docs/glossary.md', folder), 'utf8').split('\n### ').slice(1).map(section => {
  const [key, , names, , ko, , en] = section.split('\n');
  const [nameKo, nameEn] = names.split(' · ').map(name => name.replaceAll('**', ''));
  return [key, { ko, en, name: { ko: nameKo, en: nameEn } }];
}));

test('names and flags of the page are the glossary\'s', () => {
  for (const [lang, words] of Object.entries({ ko: korean, en: english })) {
    for (const [word, text] of Object.entries(words)) {
      const [, name] = word.match(/^help\.(.+)\.name$/) ?? [], [, flag] = word.match(/^flag\.([A-Z]+)$/) ?? [];
      if (name) assert.equal(text, GLOSSARY.get(name)?.name[lang], word);
      if (flag) assert.equal(text, GLOSSARY.get(`flag.${flag}`)?.[lang], word);
    }
  }
  const flags = [...GLOSSARY.keys()].filter(key => key.startsWith('flag.'));
  assert.ok(flags.length >= 13);
  for (const flag of flags) assert.ok(flag in korean, flag);
});

test('no part of the dictionary says the same key anew', async () => {
  const keys = (await Promise.all(PARTS.map(async part => Object.keys((await import(`../i18n/${part}ko.js`)).default)))).flat();
  assert.deepEqual(keys.filter((key, i) => keys.indexOf(key) !== i), []);
});

test('both languages have the same keys', () => assert.deepEqual(Object.keys(korean).sort(), Object.keys(english).sort()));

test('both languages fill in the same values', () => {
  const values = text => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
  for (const key of Object.keys(korean)) assert.deepEqual(values(korean[key]), values(english[key]), key);
});

test('English has no Hangul, Korean says 트래픽설정', () => {
  for (const [key, text] of Object.entries(english)) if (key !== 'keys.l') assert.doesNotMatch(text, /[가-힣]/, key);
  assert.equal(korean['split.configured'], '트래픽설정');
});

test('every key that the page names is in the dictionaries', () => {
  for (const file of FILES) {
    const text = source(file);
    const named = [...text.matchAll(/\bt\('([\w.-]+)'/g), ...text.matchAll(/data-t[ap]?="([\w.-]+)"/g), ...text.matchAll(/\b(?:t|ta): '([\w.-]+)'/g)].map(match => match[1]);
    for (const key of named) assert.ok(key in korean, `${file}: ${key}`);
    for (const [, key] of [...text.matchAll(/data-help="([\w.-]+)"/g), ...text.matchAll(/\bhelp\('([\w.-]+)'\)/g)]) {
      assert.ok(GLOSSARY.has(key), `${file}: docs/glossary.md has no ${key}`);
      assert.ok(`help.${key}.name` in korean, `${file}: help.${key}.name`);
    }
  }
});

test('data never becomes markup, and nothing is inline', () => {
  for (const file of FILES) assert.doesNotMatch(source(file), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|javascript:/, file);
  assert.doesNotMatch(source('index.html'), / style="| on[a-z]+="|<style|<script>(?!<)/);
});

test('no address outside the own origin', () => {
  for (const file of [...FILES, 'ui.css']) assert.doesNotMatch(source(file).replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\//, file);
});
