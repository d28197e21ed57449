// What a job lost, and its dead letters: listed, sent again, dropped.
//
// It deliberately opens no letter; `producer dead show` does. What would surprise: dropping a letter forgives nothing.
// What was lost stays lost; it can only not be sent again any more.

import { ask, jobPath } from './api.js';
import { button, confirmThen, isOff, make, problem, say, section, setOff, setText, table } from './elements.js';
import { count, digits, moment, size, strange, strangeText } from './shown.js';

// Losses of one kind that are listed, and letters that one request drops.
const LISTED = 100;
const DROPPED_AT_ONCE = 500;

const named = ({ name, source }) => strange(name ?? `source ${source}`);

const lossTables = ({ chunks = [], records = [], keys = [] }) => [
  ['Lost chunks', [['Chunk', 'number'], ['Partitions'], ['Reason']], chunks, (loss) =>
    [String(loss.chunk), loss.partitions.length ? loss.partitions.join(', ') : 'all', strange(loss.reason)]],
  ['Lost records', [['Source'], ['Byte', 'number'], ['Reason']], records, (loss) =>
    [named(loss), digits(loss.offset), strange(loss.reason)]],
  ['Lost keys', [['Key'], ['Reason']], keys, (loss) => [strange(loss.key), strange(loss.reason)]],
].filter(([, , losses]) => losses.length).flatMap(([title, columns, losses, row]) => [
  make('h3', {}, `${title}: ${digits(losses.length)}`),
  table(title, columns, losses.slice(0, LISTED).map(row)),
  losses.length > LISTED ? make('p', { class: 'dim' }, `The first ${LISTED} are shown; producer status has all.`) : '',
]);

// `changed` is called after something was sent again or dropped.
export const lettersSection = (id, changed) => {
  let [job, shown, loading, letters, more] = [null, '', null, [], false];
  const chosen = new Set();

  const losses = make('div');
  const place = make('div');
  const outcome = make('div', { role: 'status', id: 'retried' });
  const retry = button('Send again what is lost', () => confirmThen({
    title: 'Send again what is lost?',
    text: 'Every lost chunk and record of which there is a letter is mapped once more. What is counted then makes a new'
      + ' version of the result.',
    yes: 'Send again',
    act: async () => {
      const { sent, under_way: before, refused } = await ask(jobPath(id, '/retry'), { post: true });
      const also = before ? `, ${digits(before)} under way already` : '';
      const words = `${count(sent, 'loss is', 'losses are')} sent again${also}.`;
      const reasons = make('ul', {}, ...refused.map((why) => make('li', {}, strange(why, 400))));
      const refusals = refused.length ? [make('p', {}, 'Not sent again, because:'), reasons] : [];
      outcome.replaceChildren(make('p', {}, words), ...refusals);
      load();
      changed();
    },
  }), { id: 'retry' });
  const drop = button('Drop the chosen letters', () => !isOff(drop) && confirmThen({
    title: `Drop ${count(chosen.size, 'letter')}?`,
    text: 'What they are about stays lost, and can no longer be sent again.',
    yes: 'Drop',
    act: async () => {
      const names = [...chosen];
      for (let at = 0; at < names.length; at += DROPPED_AT_ONCE) {
        const body = { names: names.slice(at, at + DROPPED_AT_ONCE) };
        await ask(jobPath(id, '/letters/drop'), { post: true, body });
      }
      say(`${count(names.length, 'letter is', 'letters are')} dropped.`);
      await load();
      changed();
    },
  }), { id: 'drop' });
  const moreButton = button('Show more letters', () => load(letters.at(-1)?.name), { id: 'more-letters' });
  const title = make('h3', {}, 'Dead letters');
  const part = make('div', { id: 'letters', hidden: true },
    title, place, make('div', { class: 'actions' }, drop, moreButton));
  const element = section('Losses', { id: 'losses', hidden: true },
    losses, make('div', { class: 'actions' }, retry), outcome, part);

  const choose = (name, isChosen) => {
    chosen[isChosen ? 'add' : 'delete'](name);
    setOff(drop, chosen.size === 0);
    setText(drop, chosen.size ? `Drop ${count(chosen.size, 'letter')}` : 'Drop the chosen letters');
  };

  const box = (letter, label) => {
    const element = make('input', { type: 'checkbox', 'aria-label': label, 'data-letter': letter?.name });
    element.checked = (letter ? [letter] : letters).every(({ name }) => chosen.has(name));
    element.addEventListener('change', () => {
      (letter ? [letter] : letters).forEach(({ name }) => choose(name, element.checked));
      place.querySelectorAll('input').forEach((other) => {
        const name = other.getAttribute('data-letter');
        other.checked = name === null ? letters.every((one) => chosen.has(one.name)) : chosen.has(name);
      });
    });
    return element;
  };

  const row = (letter) => {
    const short = strangeText(letter.short ?? letter.name, 40);
    const kind = letter.kind === 'records' ? count(letter.records?.length ?? 0, 'record') : letter.kind;
    const chunk = typeof letter.chunk === 'number' ? `chunk ${letter.chunk}` : '';
    const what = kind === 'chunk' ? chunk || kind : chunk ? `${kind} of ${chunk}` : kind;
    const sources = (letter.sources ?? []).map((source) => source?.name ?? `source ${source?.source ?? source}`);
    return [
      make('label', { class: 'box' }, box(letter, `Choose letter ${short}`)),
      make('span', { title: strangeText(letter.name) }, short),
      what, strange(letter.state), strange(letter.reason), strange(sources, 80), digits(letter.attempts),
      letter.time_ms ? moment(letter.time_ms) : 'unknown', size(letter.bytes),
    ];
  };

  const show = () => {
    const isLost = job?.losses.count > 0 || letters.some(({ lost }) => lost);
    part.hidden = letters.length === 0 && !place.querySelector('.problem');
    element.hidden = !isLost && part.hidden && !outcome.firstChild;
    retry.hidden = !isLost;
    moreButton.hidden = !more;
  };

  const showLetters = () => {
    const columns = [[box(null, 'Choose all letters')], ['Letter'], ['What'], ['State'], ['Reason'], ['Sources'],
      ['Attempts', 'number'], ['When'], ['Size', 'number']];
    setText(title, `Dead letters: ${digits(letters.length)}${more ? ' and more' : ''}`);
    place.replaceChildren(...(letters.length ? [table('Dead letters', columns, letters.map(row), 1)] : []));
    show();
  };

  // Reads the first letters anew, or those after a name.
  const load = (after) => {
    loading = (async (before) => {
      await before;
      try {
        const query = after === undefined ? '' : `?after=${encodeURIComponent(after)}`;
        const page = await ask(jobPath(id, `/letters${query}`));
        if (after === undefined) {
          letters = [];
          [...chosen].forEach((name) => choose(name, false));
        }
        letters.push(...page.letters);
        more = page.more;
        showLetters();
      } catch (error) {
        place.prepend(problem(error, () => load(after)));
        show();
      }
    })(loading);
    return loading;
  };

  choose('', false);

  return {
    element,
    refresh: () => place.querySelector('.problem') && load(),
    // Takes a job with all of its losses.
    show: (next) => {
      job = next;
      const now = JSON.stringify([job.losses, job.end?.version]);
      if (now !== shown) {
        shown = now;
        const words = `${count(job.losses.count, 'loss', 'losses')}: what they are about is not counted.`;
        losses.replaceChildren(job.losses.count ? make('p', {}, words) : '', ...lossTables(job.losses));
        load();
      }
      show();
    },
  };
};
