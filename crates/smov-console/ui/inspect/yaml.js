// Finds the line of a field in a block YAML text as the console's API writes it. No DOM.

/** Line, from 1, at which `spec.http[1].route[0]` begins; of the nearest field around it when the text has no such field; null for an empty text. */
export function lineOf(yaml, path) {
  const lines = yaml.split('\n').map((text, index) => ({ number: index + 1, indent: /^ */.exec(text)[0].length, text: text.trim() })).filter(({ text }) => text && !text.startsWith('#'));
  if (lines.length === 0) return null;
  const names = path.split('.').filter(Boolean).flatMap(part => { const [, name, rest] = /^([^[]*)(.*)$/.exec(part); return [name, ...[...rest.matchAll(/\[(\d+)\]/g)].map(match => Number(match[1]))].filter(item => item !== ''); });
  // An item `- a: 1` is a mapping that begins two columns further right, on the same line.
  let region = lines, found = lines[0].number;
  for (const name of names) {
    if (region.length === 0) return found;
    const indent = Math.min(...region.map(one => one.indent));
    const heads = region.map((one, index) => ({ ...one, index })).filter(one => one.indent === indent);
    let start, end;
    if (typeof name === 'number') {
      const items = heads.filter(one => one.text.startsWith('-'));
      if (!items[name]) return found;
      start = items[name].index;
      end = items[name + 1]?.index ?? region.length;
      const first = region[start], inner = first.text.replace(/^-\s*/, '');
      found = first.number;
      region = [{ number: first.number, indent: first.indent + first.text.length - inner.length, text: inner }, ...region.slice(start + 1, end)].filter(one => one.text);
    } else {
      const position = heads.findIndex(one => one.text.startsWith(`${name}:`));
      if (position < 0) return found;
      const head = heads[position];
      // A sequence may begin in its key's own column.
      end = heads.slice(position + 1).find(one => !one.text.startsWith('-'))?.index ?? region.length;
      found = head.number;
      region = region.slice(head.index + 1, end);
    }
  }
  return found;
}
