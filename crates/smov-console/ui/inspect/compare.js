// Two requests side by side: the same steps, what each of them took, and where they part. Only what is recorded is compared. No DOM.

import { steps } from './steps.js';

/** Rows `{ name, left, right, same }`; a side is the step, or null where the other request has a step that this one has not. */
export function compareCalls(left, right) {
  const [mine, other] = [left, right].map(call => (call?.out ? steps(call) : []));
  const names = [...mine.map(step => step.name), ...other.map(step => step.name).filter(name => !mine.some(step => step.name === name))];
  const said = step => JSON.stringify(step && [step.state, step.outcome, step.lines.map(line => [line.key, line.key === 'inspect.line.skipped' ? line.values : null])]);
  // Times differ always and draws nearly so: what was decided is what counts.
  return names.map(name => {
    const [a, b] = [mine, other].map(list => list.find(step => step.name === name) ?? null);
    return { name, left: a, right: b, same: said(a) === said(b) };
  });
}
