// Lines of steps and of the headline as text in the reader's language.

import { duration } from '../core.js';
import { flagSentence, h, t } from '../dom.js';

/** Why a rule did not take the request, in words. */
export function mismatchText(mismatch) {
  const { on, name = '', wanted = '', found = null } = mismatch;
  if (on === 'header' || on === 'query') return t(`inspect.mismatch.${on}${found === null ? '.absent' : ''}`, { name, wanted, found });
  if (on === 'withoutHeader') return t('inspect.mismatch.excluded', { name });
  return t('inspect.mismatch.plain', { what: t(`inspect.mismatch.on.${on}`), wanted, found });
}

/** Values as people read them: times with units, mismatches in words. */
function spoken(values) {
  const said = { ...values };
  if ('time' in said) said.time = duration(said.time);
  if (said.mismatches) said.reason = said.mismatches.map(mismatchText).join(' / ');
  return said;
}

/** The text of `{ key, values }` or `{ text }`. */
export const textOf = ({ text, key, values }) => (text !== undefined ? text : t(key, spoken(values)));

/** A text whose ‹…› are the facts: those stand out. */
export function emphasised(text) {
  return text.split(/‹|›/).map((piece, index) => (index % 2 === 1 ? h('em', null, piece) : piece)).filter(piece => piece !== '');
}

/** The headline as one text, for a title or a screen reader. */
export const plain = text => text.replace(/[‹›]/g, '');

/** What a label of a ruler says. */
export const rulerLabel = name => (name === 'delay' || name === 'abort' ? t(`inspect.ruler.${name}`) : name);

/** The sentence of a ruler. */
export function rulerSentence({ total, at, segments }) {
  const ranges = segments.map(one => t('inspect.ruler.range', { from: one.from, to: one.to, name: one.label ? rulerLabel(one.label) : t('inspect.ruler.rest') })).join(', ');
  const hit = segments.find(one => one.hit);
  const where = hit?.label ? rulerLabel(hit.label) : t('inspect.ruler.rest');
  return at === null ? t('inspect.ruler.unsaid', { total, ranges, where }) : t('inspect.ruler.said', { total, at, ranges, where });
}

export { flagSentence };
