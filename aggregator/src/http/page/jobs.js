// The list of jobs, the newest first, which moves by itself.
//
// It deliberately knows nothing of what is in a job beyond its row. What would surprise: the list stays alive while
// another view is shown, so that whoever comes back finds it where it was.

import { ask } from './api.js';
import { bar, button, code, isOff, make, problem, scrolling, setOff, setText } from './elements.js';
import { moment, digits, strange, strangeText } from './shown.js';
import { ageOf, hasEnded, mapped, reduced } from './standing.js';

const PAGE = 100;
const COLUMNS = ['Job', 'State', 'Map', 'Reduce', 'Losses', 'Age'];

export const badge = () => make('span', { class: 'badge' });
export const showState = (element, job) => {
  setText(element, job.state);
  element.setAttribute('data-state', job.state);
};

const rowOf = (job) => {
  const id = job.job;
  const label = `${strangeText(job.program)}, job ${id.slice(0, 8)}`;
  const parts = { state: badge(), map: bar(`Map, ${label}`), reduce: bar(`Reduce, ${label}`), losses: make('span') };
  parts.age = make('time', { datetime: new Date(job.created_ms).toISOString(), title: moment(job.created_ms) });
  const link = make('a', { href: `#/jobs/${encodeURIComponent(id)}` }, strange(job.program, 60));
  // Roles are said in so many words, because the narrow layout takes them away in some browsers.
  const cell = (name, ...children) => make('td', { role: 'cell', 'data-name': name }, ...children);
  const row = make('tr', { role: 'row', 'data-job': id },
    make('th', { role: 'rowheader', scope: 'row' }, link, make('span', { class: 'id' }, id)),
    cell('State', parts.state), cell('Map', parts.map.element), cell('Reduce', parts.reduce.element),
    cell('Losses', parts.losses), cell('Age', parts.age));
  return { id, job, row, parts };
};

const showRow = ({ job, parts }, nowMs) => {
  showState(parts.state, job);
  parts.map.show(mapped(job), hasEnded(job));
  parts.reduce.show(reduced(job));
  setText(parts.losses, digits(job.losses.count));
  parts.losses.className = job.losses.count ? 'bad' : 'dim';
  setText(parts.age, ageOf(job, nowMs));
};

export const jobsView = () => {
  const known = new Map();
  // Of a job that was removed here, events may still be on their way.
  const removed = new Set();
  // The same rows as on the screen, in the same order.
  const order = [];
  let [more, loading, scrollY] = [true, null, 0];

  const body = make('tbody', { role: 'rowgroup' });
  const heading = make('h1', { tabindex: '-1' }, 'Jobs');
  const total = make('p', { class: 'dim', role: 'status' });
  const trouble = make('div');
  const moreButton = button(`Show ${PAGE} more`, () => !isOff(moreButton) && load(order.at(-1)?.id), { id: 'more' });
  moreButton.hidden = true;
  const headings = COLUMNS.map((name) => make('th', { role: 'columnheader', scope: 'col' }, name));
  const list = make('table', { class: 'jobs', role: 'table', 'aria-label': 'Jobs, the newest first' },
    make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...headings)), body);
  const none = make('p', { hidden: true },
    'There is no job yet. Push one: ', code('producer push README.md'), '. It appears here by itself.');
  const element = make('div', {}, heading, total, trouble, none, scrolling('Jobs', list), moreButton);

  const tell = () => {
    setText(total, `${digits(order.length)}${more ? ' newest' : ''} ${order.length === 1 ? 'job' : 'jobs'}`);
    none.hidden = more || order.length > 0;
    list.hidden = order.length === 0;
  };

  const place = (job, nowMs) => {
    let entry = known.get(job.job);
    if (entry) {
      entry.job = { ...entry.job, ...job };
    } else {
      entry = rowOf(job);
      let [low, high] = [0, order.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        [low, high] = order[middle].job.created_ms < job.created_ms ? [low, middle] : [middle + 1, high];
      }
      body.insertBefore(entry.row, order[low]?.row ?? null);
      order.splice(low, 0, entry);
      known.set(entry.id, entry);
    }
    showRow(entry, nowMs);
  };

  const forget = (id) => {
    const entry = known.get(id);
    if (entry) {
      entry.row.remove();
      known.delete(id);
      order.splice(order.indexOf(entry), 1);
      tell();
    }
  };

  // Between the first and the last job of a page there are no others: those that we knew before are removed ones.
  const forgetRemoved = (jobs, before, isFirst, isLast) => {
    const ids = new Set(jobs.map((job) => job.job));
    const [from, to] = [isFirst ? Infinity : jobs[0]?.created_ms, isLast ? -Infinity : jobs.at(-1)?.created_ms];
    const isGone = ({ id, job }) => before.has(id) && !ids.has(id) && job.created_ms < from && job.created_ms > to;
    for (const { id } of order.filter(isGone)) {
      forget(id);
    }
  };

  // The newest, or those that are older than this one.
  const load = (older = null) => {
    loading ??= (async () => {
      setOff(moreButton, true);
      const before = new Set(known.keys());
      try {
        const page = await ask(`/jobs?limit=${PAGE}${older === null ? '' : `&before=${encodeURIComponent(older)}`}`);
        const nowMs = Date.now();
        forgetRemoved(page.jobs, before, older === null, !page.more);
        page.jobs.forEach((job) => place(job, nowMs));
        if (older !== null || order.length <= page.jobs.length || !page.more) {
          more = page.more;
        }
        if (!more && document.activeElement === moreButton) {
          order.at(-1)?.row.querySelector('a').focus();
        }
        moreButton.hidden = !more;
        trouble.replaceChildren();
        tell();
      } catch (error) {
        trouble.replaceChildren(problem(error, () => load(older)));
      }
      setOff(moreButton, false);
      loading = null;
    })();
    return loading;
  };

  return {
    title: 'Jobs',
    element,
    open: () => {
      load();
      scrollTo(0, scrollY);
    },
    close: () => {
      scrollY = window.scrollY;
    },
    refresh: () => load(),
    jobs: (jobs, nowMs) => {
      for (const job of jobs) {
        // An unknown job that is older than what is shown belongs to a page that is not read yet.
        const isShown = !more || job.created_ms > (order.at(-1)?.job.created_ms ?? Infinity);
        if (known.has(job.job) || (isShown && !removed.has(job.job))) {
          place(job, nowMs);
        }
      }
      tell();
    },
    tick: (nowMs) => order.forEach(({ job, parts }) => setText(parts.age, ageOf(job, nowMs))),
    remove: (id) => {
      removed.add(id);
      forget(id);
    },
  };
};
