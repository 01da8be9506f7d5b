// What the theatre's REST API answers, in the shapes that the lists and the seat map draw; and the way of the arrow keys in a grid.

/** A list from the REST API, whatever envelope it came in. */
export function listOf(body, ...names) {
  if (Array.isArray(body)) return body;
  for (const name of [...names, 'items', 'data', 'results']) if (Array.isArray(body?.[name])) return body[name];
  return [];
}

/** How many there are: as the header of a paged list says, else as the envelope says, else what came. */
export function countOf(header, body, came) {
  const told = header === null || header === undefined || header === '' ? NaN : Number(header);
  return [told, body?.total, body?.count].find(Number.isInteger) ?? came;
}

/** A seat map of any tolerated shape: rows, seats per row, the set of taken seats. */
export function seatMapOf(body) {
  const taken = new Set();
  let rows = Array.isArray(body?.rows) ? body.rows.map(row => (typeof row === 'string' ? row : String(row.row ?? row.name ?? ''))) : null;
  let columns = Number(body?.columns ?? body?.cols ?? body?.seats_per_row) || 12;
  for (const seat of body?.taken ?? body?.booked ?? []) taken.add(typeof seat === 'string' ? seat : seat.seat ?? seat.id);
  if (Array.isArray(body?.seats)) {
    for (const seat of body.seats) {
      if (typeof seat === 'string') continue;
      const id = seat.seat ?? seat.id;
      if (seat.taken || seat.status === 'taken' || seat.available === false) taken.add(id);
      const number = Number(String(id).slice(1));
      if (number > columns) columns = number;
    }
    rows ??= [...new Set(body.seats.filter(seat => typeof seat !== 'string').map(seat => String(seat.seat ?? seat.id)[0]))].sort();
  }
  if (!rows || rows.length === 0) rows = [...'ABCDEFGH'];
  return { rows, columns, taken };
}

/** Where an arrow key leads in a grid of `rows` × `columns`; null for other keys. */
export function gridMove(key, row, column, rows, columns) {
  switch (key) {
    case 'ArrowLeft': return [row, Math.max(0, column - 1)];
    case 'ArrowRight': return [row, Math.min(columns - 1, column + 1)];
    case 'ArrowUp': return [Math.max(0, row - 1), column];
    case 'ArrowDown': return [Math.min(rows - 1, row + 1), column];
    case 'Home': return [row, 0];
    case 'End': return [row, columns - 1];
    case 'PageUp': return [0, column];
    case 'PageDown': return [rows - 1, column];
    default: return null;
  }
}
