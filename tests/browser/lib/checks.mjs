// One line per check, and what checks ask the page's server for.

import { mkdirSync } from 'node:fs';
import { pause } from './chromium.mjs';

/** The page's address: the script's first argument. */
export const base = new URL(process.argv[2] ?? 'http://localhost:8080').origin;
/** The folder for screenshots: the second. */
export const out = process.argv[3] ?? 'page-check';
/** A short run, for CI. */
export const quick = process.argv.includes('--quick');
const only = process.argv.find(argument => argument.startsWith('--only='))?.slice(7).split(',');
mkdirSync(out, { recursive: true });

let passed = 0, failed = 0;
/** Runs one check and prints what came of it. */
export async function check(name, body) {
  try { const note = await body(); passed += 1; console.log(`ok    ${name}${note ? ` (${note})` : ''}`); }
  catch (error) { failed += 1; console.log(`FAIL  ${name}\n      ${error.message.split('\n').slice(0, 6).join('\n      ')}`); }
}
export function must(truth, message) { if (!truth) throw new Error(message); }
export function same(got, wanted, what) { must(JSON.stringify(got) === JSON.stringify(wanted), `${what}: ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`); }
export const state = async () => (await fetch(`${base}/api/v1/state`)).json();
export const post = (path, body) => fetch(base + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
export const load = change => post('/api/v1/load', { running: false, rate: 12, target: 'all', canary: false, ...change });
/** No traffic any more, and all of it counted. */
export const quiet = async () => { await load({}); let before = -1; for (let i = 0; i < 40; i += 1) { const { totals } = await state(); if (totals.sent === before) return; before = totals.sent; await pause(700); } };

/** Runs the parts that were asked for, one after the other; prints the sum and sets the exit code. */
export async function run(parts) {
  for (const part of parts) {
    if (only && !only.includes(part.name)) continue;
    try { await part(); } catch (error) { failed += 1; console.log(`FAIL  ${part.name}: ${error.message}`); }
  }
}
/** The last line. */
export function conclude() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
