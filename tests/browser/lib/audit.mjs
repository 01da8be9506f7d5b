// What every view must hold: contrast, names, sizes, ids, headings.

/** Contrast, names, sizes, ids, headings: everything on the screen now. Runs in the page. */
export function audit() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const seen = new Map();
  const rgba = color => {
    if (!seen.has(color)) { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; seen.set(color, [r, g, b, a / 255]); }
    return seen.get(color);
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const light = color => { const [r, g, b] = color.map(value => { const c = value / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
  const shown = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true });
  const ground = element => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) { const color = rgba(getComputedStyle(node).backgroundColor); if (color[3] > 0) layers.push(color); if (color[3] === 1) break; }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const faint = [], unnamed = [], small = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('template,script,noscript,.sr,.skip,option,:disabled,[aria-disabled=true]') || !shown(element)) continue;
    const style = getComputedStyle(element), back = ground(element);
    let opacity = 1;
    for (let node = element; node; node = node.parentElement) opacity *= Number(getComputedStyle(node).opacity);
    const ink = rgba(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const value = contrast(over([...ink.slice(0, 3), ink[3] * opacity], back), back);
    if (value < (large ? 3 : 4.5)) faint.push(`${value.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 24)}`);
  }
  const named = element => element.getAttribute('aria-label') || element.textContent.trim() || element.closest('label')?.textContent.trim() || (element.getAttribute('aria-labelledby') && document.getElementById(element.getAttribute('aria-labelledby'))?.textContent) || element.labels?.[0]?.textContent.trim();
  for (const element of document.querySelectorAll('a[href],button,input,select,textarea,summary,[tabindex="0"],[role=listbox]')) {
    if (!shown(element) || element.closest('template')) continue;
    if (!named(element)) unnamed.push(element.outerHTML.slice(0, 80));
    if (element.matches('[tabindex="0"]:not(button),.skip,.sw input')) continue;
    const box = element.getBoundingClientRect();
    if (Math.round(box.width * 10) < 240 || Math.round(box.height * 10) < 240) {
      // A smaller target passes when a 24 px circle on its middle touches no other target (WCAG 2.5.8, spacing).
      const middle = target => { const around = target.getBoundingClientRect(); return [around.x + around.width / 2, around.y + around.height / 2]; };
      const [x, y] = middle(element);
      const near = [...(element.closest('.seats,.seg,header,section,nav') ?? document.body).querySelectorAll('button,a[href],input')].some(other => { if (other === element || !shown(other)) return false; const [a, b] = middle(other); return Math.hypot(a - x, b - y) < 23.9; });
      if (near || !element.matches('.seat')) small.push(`${Math.round(box.width)}x${Math.round(box.height)} ${element.outerHTML.slice(0, 60)}`);
    }
  }
  const ids = [...document.querySelectorAll('[id]')].map(element => element.id), twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  return { faint: [...new Set(faint)], unnamed, small, twice, h1: [...document.querySelectorAll('h1')].filter(shown).length };
}
