// Runs before the first paint: theme, language and projector mode are attributes of the root element, so nothing flashes.
(function () {
  var root = document.documentElement;
  var query = new URLSearchParams(location.search);
  function kept(key) { try { return localStorage.getItem('smov.' + key); } catch (_) { return null; } }
  var theme = query.get('theme') || kept('theme');
  if (theme !== 'light' && theme !== 'dark') theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  root.dataset.theme = theme;
  var lang = query.get('lang') || kept('lang');
  // Without a wish the server's default stays, which it wrote into the root element.
  if (lang === 'en' || lang === 'ko') root.lang = lang;
  if (lang !== 'en' && lang !== 'ko') root.dataset.langUnset = '';
  var projector = query.get('projector') !== null ? query.get('projector') : kept('projector');
  if (projector === '1' || projector === '') root.dataset.projector = '';
  if (kept('steps') === 'done') root.dataset.stepsDone = '';
  var preload = document.createElement('link');
  preload.rel = 'modulepreload';
  preload.href = '/ui/i18n/' + root.lang + '.js';
  document.head.append(preload);
})();
