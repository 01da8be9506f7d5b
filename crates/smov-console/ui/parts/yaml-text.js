// What an editor of YAML must know without a DOM: colours of a line, marks on it, places and offsets, and what Enter and Tab insert.

const VALUE = /("(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)|((?:^|\s)#.*$)|(?<![\w./-])(-?(?:\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?)(?:ms|s|m|h|%)?)(?![\w./-])|(?<![\w./-])(true|false|null|~|yes|no|on|off)(?![\w./-])|([{}[\],]|[|>][+-]?$)/g;
const VALUE_CLASS = ['str', 'com', 'num', 'lit', 'pun'];

/** Pieces of one line: `[class, text]`, whose texts together are the line. */
export function tokens(line) {
  const out = [];
  const push = (name, text) => { if (text) out.push([name, text]); };
  const start = /^(\s*)((?:-\s+)*(?:-$)?)/.exec(line);
  push('', start[1]);
  push('pun', start[2]);
  let rest = line.slice(start[0].length);
  const key = /^("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#"'{}[\],&*!|>%@`-][^#{}[\]]*?|-[^\s#:]+)(\s*:)(?=\s|$)/.exec(rest);
  if (key) {
    push('key', key[1]);
    push('pun', key[2]);
    rest = rest.slice(key[0].length);
  }
  let at = 0;
  for (const match of rest.matchAll(VALUE)) {
    push('', rest.slice(at, match.index));
    push(VALUE_CLASS[match.slice(1).findIndex(group => group !== undefined)], match[0]);
    at = match.index + match[0].length;
  }
  push('', rest.slice(at));
  return out;
}

/** The same pieces cut at the marks: `[class, text, severity or null]`. Marks have `column` and `end_column` from 1, in characters. */
export function painted(line, marks) {
  if (marks.length === 0) return tokens(line).map(([name, text]) => [name, text, null]);
  const severityAt = column => marks.filter(mark => column >= mark.column && column < (mark.end_column ?? mark.column + 1)).map(mark => mark.severity).sort(bySeverity)[0] ?? null;
  const out = [];
  let column = 1;
  for (const [name, text] of tokens(line)) {
    for (const character of text) {
      const severity = severityAt(column), last = out.at(-1);
      if (last && last[0] === name && last[2] === severity && last.open === name + severity + text) last[1] += character;
      else { const piece = [name, character, severity]; piece.open = name + severity + text; out.push(piece); }
      column += 1;
    }
  }
  // A mark behind the end of its line (something is missing there) still needs a place.
  const behind = marks.filter(mark => mark.column >= column).map(mark => mark.severity).sort(bySeverity)[0];
  if (behind) out.push(['', ' ', behind]);
  return out.map(([name, text, severity]) => [name, text, severity]);
}

const ORDER = ['error', 'warning', 'info'];
export const bySeverity = (one, other) => ORDER.indexOf(one) - ORDER.indexOf(other);

/** Line and column (from 1, in characters) of an offset in the text. */
export function placeOf(text, offset) {
  const before = text.slice(0, offset), start = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: [...before.slice(start)].length + 1 };
}

/** The offset of a line and column; the end of the line, or of the text, where there is no such place. */
export function offsetOf(text, line, column = 1) {
  const lines = text.split('\n');
  if (line > lines.length) return text.length;
  const before = lines.slice(0, Math.max(0, line - 1)).reduce((sum, one) => sum + one.length + 1, 0);
  return before + [...(lines[Math.max(0, line - 1)] ?? '')].slice(0, Math.max(0, column - 1)).join('').length;
}

/** What Enter inserts: the indent of the line, deeper below `key:`, aligned below what a list's item says first. */
export function newline(text, offset) {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  const indent = /^(\s*)((?:-\s+)*)/.exec(line);
  const deeper = /:\s*(#.*)?$/.test(line) ? '  ' : '';
  return `\n${indent[1]}${' '.repeat(indent[2].length)}${deeper}`;
}

/** Moves the lines that the selection touches two columns; gives the text and where the selection is then. */
export function shifted(text, start, end, back) {
  if (start === end && !back) return { text: `${text.slice(0, start)}  ${text.slice(start)}`, start: start + 2, end: start + 2 };
  const from = text.lastIndexOf('\n', start - 1) + 1, to = end > from && text[end - 1] === '\n' ? end - 1 : end;
  const lines = text.slice(from, to).split('\n');
  const moved = lines.map(line => (back ? line.replace(/^ {1,2}/, '') : line === '' ? line : `  ${line}`));
  const first = moved[0].length - lines[0].length, all = moved.join('\n').length - lines.join('\n').length;
  return { text: text.slice(0, from) + moved.join('\n') + text.slice(to), start: Math.max(from, start + first), end: Math.max(from, end + all) };
}

/** The finding after (or before) a place, round and round; findings without a place are passed over. */
export function neighbour(findings, place, direction) {
  const placed = findings.filter(finding => finding.line > 0).sort((one, other) => one.line - other.line || one.column - other.column);
  if (placed.length === 0) return null;
  const after = finding => finding.line > place.line || (finding.line === place.line && finding.column > place.column);
  const before = finding => finding.line < place.line || (finding.line === place.line && finding.column < place.column);
  return direction > 0 ? placed.find(after) ?? placed[0] : placed.findLast(before) ?? placed.at(-1);
}
