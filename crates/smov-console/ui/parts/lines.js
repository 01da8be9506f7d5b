// The shortest diff of two texts, line by line, in the form in which the server gives its diffs: op ' ', '+', '-', and '@' where lines are left out.

const CONTEXT = 3, MOST_EDITS = 1000;

/** Lines with `op`, `text` and their numbers `old`, `new` (from 1); empty when both texts say the same. */
export function diffLines(oldText, newText) {
  const a = split(oldText), b = split(newText);
  let head = 0, tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const middle = edits(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const steps = [...Array(head).fill(' '), ...middle, ...Array(tail).fill(' ')];
  const lines = [];
  let x = 0, y = 0, skipped = false;
  steps.forEach((op, place) => {
    const shown = steps.slice(Math.max(0, place - CONTEXT), place + CONTEXT + 1).some(step => step !== ' ');
    if (shown && skipped) lines.push({ op: '@', text: '', old: x + 1, new: y + 1 });
    skipped = !shown;
    if (shown) lines.push({ op, text: op === '+' ? b[y] : a[x], ...(op === '+' ? {} : { old: x + 1 }), ...(op === '-' ? {} : { new: y + 1 }) });
    if (op !== '+') x += 1;
    if (op !== '-') y += 1;
  });
  return lines;
}

function split(text) {
  const lines = (text ?? '').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** Myers: of each round the furthest place on every diagonal, walked back at the end. */
function edits(a, b) {
  const n = a.length, m = b.length, replaced = [...Array(n).fill('-'), ...Array(m).fill('+')];
  if (n === 0 || m === 0) return replaced;
  const bound = Math.min(n + m, MOST_EDITS), offset = bound + 1, furthest = new Int32Array(2 * bound + 3), rounds = [];
  const goesDown = (v, at, count) => at === offset - count || (at !== offset + count && v[at - 1] < v[at + 1]);
  for (let count = 0; count <= bound; count += 1) {
    rounds.push(furthest.slice());
    for (let at = offset - count; at <= offset + count; at += 2) {
      let x = goesDown(furthest, at, count) ? furthest[at + 1] : furthest[at - 1] + 1, y = x - (at - offset);
      while (x < n && y < m && a[x] === b[y]) { x += 1; y += 1; }
      furthest[at] = x;
      if (x >= n && y >= m) return back(rounds, offset, n, m, goesDown);
    }
  }
  return replaced;
}

function back(rounds, offset, n, m, goesDown) {
  const steps = [];
  let x = n, y = m;
  for (let count = rounds.length - 1; count >= 0; count -= 1) {
    const v = rounds[count], at = x - y + offset, down = goesDown(v, at, count), before = down ? at + 1 : at - 1;
    const from = count === 0 ? 0 : v[before], start = from + (count > 0 && !down ? 1 : 0);
    while (x > start) { steps.push(' '); x -= 1; y -= 1; }
    if (count > 0) { steps.push(down ? '+' : '-'); x = from; y = from - (before - offset); }
  }
  return steps.reverse();
}

/** How many lines come and go. */
export function counts(lines) {
  return { added: lines.filter(line => line.op === '+').length, removed: lines.filter(line => line.op === '-').length };
}
