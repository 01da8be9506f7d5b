// The same request a hundred times: where they arrived, against the odds. No DOM.

import { CLUSTERS, interval } from '../core.js';

/** The chance, 0 to 1, of each place (`ctx1`, `ctx2`, `none` = no pod); null where an end spreads over several clusters and nobody can say. */
export function odds(chances) {
  if (!chances) return null;
  const sums = { ctx1: 0, ctx2: 0, none: 0 };
  for (const { percent, end } of chances) {
    if (end.kind === 'status') sums.none += percent;
    else if (end.kind !== 'cluster') return null;
    else {
      const places = end.kubeClusters;
      if (places.length !== 1 || !(places[0] in sums)) return null;
      sums[places[0]] += percent;
    }
  }
  return Object.fromEntries(Object.entries(sums).map(([place, percent]) => [place, percent / 100]));
}

/** What came of the requests of these ids: per place the count, the interval in which 95 of 100 such runs stay, and whether it did. */
export function tally(ids, rows, chances) {
  const wanted = new Set(ids), seen = new Map(rows.filter(row => wanted.has(row.id)).map(row => [row.id, row]));
  const chance = odds(chances), places = [...CLUSTERS, 'none'];
  const counts = Object.fromEntries([...places, 'unknown'].map(place => [place, 0]));
  for (const row of seen.values()) counts[row.cluster === null || row.cluster === undefined ? 'none' : CLUSTERS.includes(row.cluster) ? row.cluster : 'unknown'] += 1;
  const done = seen.size;
  const lines = places.map(place => {
    const p = chance ? chance[place] : null, range = p === null ? null : interval(done, p);
    return { place, count: counts[place], p, range, inside: range === null || done === 0 ? null : counts[place] >= range[0] && counts[place] <= range[1] };
  });
  return { done, missing: ids.length - done, unknown: counts.unknown, lines, rows: ids.map(id => seen.get(id)).filter(Boolean) };
}
