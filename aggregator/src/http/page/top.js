// The largest keys of a job that still runs.
//
// It deliberately knows no result: these are counts so far. What would surprise: of programs other than the two that
// count keys it asks only once, and never again unless there was an answer.

import { ask, jobPath } from './api.js';
import { make, problem, renew, section, setText, table } from './elements.js';
import { digits, percent } from './shown.js';
import { cell } from './result.js';

const EVERY_MS = 3000;
const KEYS = 20;
const COUNTING = ['word-count', 'letter-count'];

export const topSection = (id) => {
  let [timer, runs, answered] = [null, false, false];
  const extent = make('p', { id: 'extent' });
  const place = make('div');
  const element = section('Top keys', { id: 'top', hidden: true }, extent, place);

  const show = ({ rows, counted_chunks: counted, chunks, exact }) => {
    const all = typeof chunks === 'number';
    const part = exact ? 1 : all && chunks > 0 ? counted / chunks : null;
    setText(extent, `So far: ${digits(counted)}${all ? ` of ${digits(chunks)}` : ''} chunks`
      + (part === null ? '; how many there will be is not known yet' : `, exact for at least ${percent(part)}`));
    const columns = [['Rank', 'number'], ['Key'], ['Count', 'number']];
    if (rows.length) {
      const ranked = rows.map((row, at) => [String(at + 1), ...row.map(cell)]);
      renew(place, table('The largest keys so far', columns, ranked, 1));
    } else {
      place.replaceChildren(make('p', { class: 'dim' }, 'Nothing is counted yet.'));
    }
  };

  const poll = async (program) => {
    try {
      if (!document.hidden) {
        show(await ask(jobPath(id, `/top?limit=${KEYS}`), { exact: true }));
        answered = true;
        element.hidden = !runs;
      }
    } catch (error) {
      if (!answered && !COUNTING.includes(program)) {
        return;
      }
      place.replaceChildren(problem(error));
    }
    timer = runs ? setTimeout(() => poll(program), EVERY_MS) : null;
  };

  const stop = () => {
    runs = false;
    clearTimeout(timer);
    element.hidden = true;
  };

  return {
    element,
    show: (program, isRunning) => {
      if (!isRunning) {
        stop();
      } else if (!runs) {
        runs = true;
        poll(program);
      }
    },
    close: stop,
  };
};
