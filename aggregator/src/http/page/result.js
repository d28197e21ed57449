// The result of a job: its rows, searched, sorted and paged; the downloads; how the counts of its keys are distributed.
//
// It deliberately knows no state of the job. What would surprise: it shows one version of the result, and reads all
// again when the job has a later one, which counts what was lost before.

import { ask, download, jobPath } from './api.js';
import { chart, ranks } from './charts.js';
import { button, isOff, make, problem, section, setOff, setText, table } from './elements.js';
import { digits, strange, strangeText } from './shown.js';

const PAGE = 100;
const TYPING_MS = 300;
// A search reads the whole result, which may be large.
const PATIENCE_MS = 120_000;

export const areCounts = (columns) => columns.length === 2 && columns[0] === 'key' && columns[1] === 'count';
const isNumber = (cell) => typeof cell === 'number' || typeof cell === 'bigint';
export const cell = (value) => isNumber(value) ? String(value) : strange(value);

export const resultSection = (id) => {
  let [version, offset, more, asking, typing] = [null, 0, false, null, null];

  const search = make('input', { id: 'search', type: 'search', autocomplete: 'off', spellcheck: 'false' });
  const orders = ['key', 'value'].map((order) => make('option', { value: order }, order));
  const sort = make('select', { id: 'sort' }, ...orders);
  const sorting = make('label', { hidden: true }, 'Sort by', sort);
  const place = make('div');
  const status = make('p', { role: 'status', id: 'rows' });
  const step = (name, by) => {
    const element = button(name, () => !isOff(element) && load(offset + by), { id: name.toLowerCase() });
    setOff(element, true);
    return element;
  };
  const [previous, next] = [step('Previous', -PAGE), step('Next', PAGE)];
  const links = ['tsv', 'csv', 'json', 'ndjson'].map((format) =>
    make('a', { href: download(id, format), download: true, 'aria-label': `Download all as ${format}` }, format));
  const distribution = chart('How often the most frequent keys occur', ranks, (pairs) => {
    const [first, last] = [pairs[0], pairs.at(-1)];
    return `The most frequent key, ${first[0]}, occurs ${digits(first[1])} times; number ${pairs.length}, ${last[0]},`
      + ` ${digits(last[1])} times. Both scales are logarithmic.`;
  });
  distribution.element.hidden = true;
  const element = section('Result', { id: 'result', hidden: true },
    make('div', { class: 'tools' }, make('label', {}, 'Search', search), sorting,
      make('p', { class: 'downloads' }, 'Download all: ', ...links)),
    place, make('div', { class: 'pager' }, previous, next, status), distribution.element);

  const path = (at, order, text) =>
    jobPath(id, `/result?offset=${at}&limit=${PAGE}&search=${encodeURIComponent(text)}&sort=${order}`);

  const showRows = ({ columns, rows, offset: at, more: isMore }) => {
    [offset, more] = [at, isMore];
    sorting.hidden = !areCounts(columns);
    const headings = columns.map((name, number) =>
      [strangeText(name), rows.length && rows.every((row) => isNumber(row[number])) ? 'number' : null]);
    const text = search.value;
    if (rows.length) {
      place.replaceChildren(table('Rows of the result', headings, rows.map((row) => row.map(cell))));
      setText(status, `Rows ${digits(at + 1)} to ${digits(at + rows.length)}${more ? '' : ', the last'}`);
    } else {
      place.replaceChildren();
      setText(status, text ? `No row has “${text}”. Search for less of it.` : 'The result has no rows.');
    }
    setOff(previous, at === 0);
    setOff(next, !more);
  };

  const load = async (at) => {
    asking?.abort();
    const mine = asking = new AbortController();
    const { signal } = mine;
    element.setAttribute('aria-busy', 'true');
    try {
      const from = path(Math.max(at, 0), sort.value, search.value);
      showRows(await ask(from, { signal, exact: true, patience: PATIENCE_MS }));
    } catch (error) {
      if (!signal.aborted) {
        place.replaceChildren(problem(error, () => load(at)));
        setText(status, '');
      }
    }
    if (asking === mine) {
      element.removeAttribute('aria-busy');
    }
  };

  const showDistribution = async () => {
    try {
      const { rows } = await ask(path(0, 'value', ''), { exact: true, patience: PATIENCE_MS });
      distribution.element.hidden = rows.length < 2;
      if (rows.length > 1) {
        distribution.show(rows.map(([key, number]) => [strangeText(key, 30), number]));
      }
    } catch {
      // The table above says why nothing can be read.
      distribution.element.hidden = true;
    }
  };

  search.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => load(0), TYPING_MS);
  });
  sort.addEventListener('change', () => load(0));

  return {
    element,
    // Shows a version, or nothing where it is null.
    show: async (next) => {
      if (next === version) {
        return;
      }
      version = next;
      element.hidden = version === null;
      if (version !== null) {
        await load(0);
        if (!sorting.hidden) {
          showDistribution();
        }
      }
    },
    refresh: () => place.querySelector('.problem') && load(offset),
    close: () => {
      asking?.abort();
      clearTimeout(typing);
    },
  };
};
