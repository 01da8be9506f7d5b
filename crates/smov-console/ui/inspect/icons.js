// Icons of the inspector: strokes on a grid of 24, drawn where the sprite of the page has none.

import { s } from '../dom.js';

const PATHS = {
  route: 'M6 19V9a4 4 0 0 1 4-4h8M14 1l4 4-4 4M6 13h8a4 4 0 0 1 4 4v2',
  split: 'M4 4h16v16H4zM8.5 8.500h.01M15.500 8.500h.01M12 12h.01M8.500 15.500h.01M15.500 15.500h.01',
  fault: 'M13 2L5 14h6l-1 8 8-12h-6z',
  cors: 'M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zM2 12h20M12 2c3 3 3 17 0 20M12 2c-3 3-3 17 0 20',
  attempt: 'M4 4v6h6M4.500 10a8 8 0 1 1-.5 5',
  limit: 'M4 18a8 8 0 1 1 16 0M12 18l4-6',
  balance: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 12h.01',
  connect: 'M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3',
  peer: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21a8 8 0 0 1 16 0',
  authorize: 'M12 2l8 3v6c0 5-3.500 9-8 11-4.500-2-8-6-8-11V5z',
  admit: 'M12 2l8 3v6c0 5-3.500 9-8 11-4.500-2-8-6-8-11V5z',
  forward: 'M4 5h16v14H4zM8 9h8M8 13h5',
  mirror: 'M12 2v20M8 7l-5 5 5 5M16 7l5 5-5 5',
  observe: 'M4 12l5 5L20 6',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.500 16.500L21 21',
};

export const draw = name => s('svg', { class: 'i', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: PATHS[name] }));
