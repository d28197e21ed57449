// One job: how it stands, what it waits for, what it found and what it lost.
//
// It deliberately computes nothing of that; it arranges what the other files know. What would surprise: events move the
// numbers at once, but what an event need not carry (losses by name, what is lacking) is asked for, at most every two
// seconds.

import { ask, jobPath } from './api.js';
import { bars, chart, curve } from './charts.js';
import { bar, button, confirmThen, make, problem, renew, say, section, setText, table } from './elements.js';
import { badge, showState } from './jobs.js';
import { lettersSection } from './letters.js';
import { resultSection } from './result.js';
import { count, digits, moment, size, span, strange, strangeText } from './shown.js';
import { hasEnded, hasResult, mapped, note, rates, reduced, stages } from './standing.js';
import { topSection } from './top.js';

const ASK_MS = 2000;
const SHOWN_MS = 300_000;

// A job, with what an event says of it; of the losses that may be the number alone.
const merged = (job, event) => event ? { ...job, ...event, losses: { ...job.losses, ...event.losses } } : job;

export const jobView = (id, leave) => {
  let [job, facts, timer, fresh] = [null, '', null, null];
  let [isAsking, isWanted, isClosed] = [false, false, false];

  const heading = make('h1', { tabindex: '-1' }, 'Job');
  const state = badge();
  const place = make('div');
  const stageList = make('ol', { class: 'stages', 'aria-label': 'Stages' });
  const waits = make('p', { class: 'waits', hidden: true });
  const [map, reduce] = [bar('Map'), bar('Reduce')];
  const alarms = make('ul', { class: 'alarms', 'aria-label': 'Alarms', hidden: true });
  const factList = make('dl', { class: 'facts' });
  const speed = chart('Throughput', curve((rate) => `${size(rate)}/s`, SHOWN_MS), ({ spans }) => {
    const [last, most] = [spans.at(-1).rate, Math.max(...spans.map(({ rate }) => rate))];
    return `Now ${size(last)}/s, at most ${size(most)}/s in the last ${SHOWN_MS / 60_000} minutes.`;
  });
  speed.element.hidden = true;
  const skew = chart('Pairs in each partition of the result', bars, (pairs) => {
    const [sum, most] = [pairs.reduce((all, number) => all + number, 0), Math.max(...pairs)];
    const ratio = sum ? (most / (sum / pairs.length)).toFixed(2) : '1.00';
    return `Skew: the largest, partition ${pairs.indexOf(most)}, has ${digits(most)} pairs, ${ratio} times the mean`
      + ' (the dashed line).';
  });
  const sizes = make('details', {}, make('summary', {}, 'As a table'));
  const partitions = section('Partitions', { id: 'partitions', hidden: true }, skew.element, sizes);
  const counters = section('Counters', { id: 'counters', hidden: true });
  const stepPlace = make('div');
  const steps = section('Steps', { id: 'steps', hidden: true }, stepPlace);

  const post = async (path, says) => {
    const answer = await ask(jobPath(id, path), { post: true });
    say(says);
    return answer;
  };
  const cancel = button('Cancel', () => confirmThen({
    title: 'Cancel this job?',
    text: 'It ends without a result, and what is counted so far is given up.',
    yes: 'Cancel the job',
    act: async () => show(await post('/cancel', 'The job is cancelled.')),
  }), { id: 'cancel', class: 'danger' });
  const remove = button('Remove', () => confirmThen({
    title: 'Remove this job?',
    text: 'The job, its result and its dead letters are deleted from the store. They cannot be brought back.',
    yes: 'Remove the job',
    act: async () => {
      await post('/remove', 'The job is removed.');
      leave(id);
    },
  }), { id: 'remove', class: 'danger' });
  cancel.hidden = remove.hidden = true;

  const result = resultSection(id);
  const top = topSection(id);
  const letters = lettersSection(id, () => load());
  const body = make('div', { hidden: true },
    section('Progress', { id: 'progress' }, stageList, waits, alarms,
      make('div', { class: 'bars' }, make('span', {}, 'Map'), map.element, make('span', {}, 'Reduce'), reduce.element),
      factList, speed.element),
    top.element, result.element, letters.element,
    make('div', { class: 'pair' }, partitions, counters), steps);
  const element = make('div', { 'data-job': id },
    make('p', {}, make('a', { href: '#/' }, 'Jobs'), ' / ', make('span', { class: 'id' }, strangeText(id))),
    make('div', { class: 'title' }, heading, state, make('div', { class: 'actions' }, cancel, remove)), place, body);

  const showFacts = (nowMs) => {
    const { end, retrying = [], retrying_records: records = [] } = job;
    const again = retrying.length + records.length;
    const pairs = [
      ['Made', `${moment(job.created_ms)}, ${span(nowMs - job.created_ms)} ago`],
      end && ['Took', span(end.took_ms)],
      ['Input', typeof job.input_bytes === 'number' ? size(job.input_bytes) : 'a stream'],
      ['Counted', `${size(job.covered_bytes)} in ${count(job.covered_chunks, 'chunk')}`],
      ['Chunks', typeof job.chunks === 'number' ? digits(job.chunks) : 'not known yet'],
      ['Losses', digits(job.losses.count)],
      again > 0 && ['Sent again', count(again, 'chunk or record', 'chunks and records')],
      job.late_messages > 0 && ['Came too late', count(job.late_messages, 'message')],
      end && ['Mapped pairs', digits(end.pairs)],
      end && hasResult(job) && ['Result', `${count(end.result_pairs, 'pair')}, ${size(end.bytes)}`],
      end && hasResult(job) && ['Version', `${end.version}${end.version > 1 ? ', amended' : ''}`],
    ].filter(Boolean);
    if (facts !== JSON.stringify(pairs)) {
      facts = JSON.stringify(pairs);
      const fact = ([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value));
      factList.replaceChildren(...pairs.map(fact));
    }
  };

  const showSpeed = (nowMs) => {
    const spans = rates(id);
    speed.element.hidden = spans.length === 0;
    if (spans.length) {
      speed.show({ spans, nowMs });
    }
  };

  const showEnd = ({ end }) => {
    const named = Object.entries(end?.counters ?? {});
    counters.hidden = named.length === 0;
    const rows = named.map(([name, number]) => [strange(name), digits(number)]);
    counters.replaceChildren(counters.firstChild, table('Counters', [['Counter'], ['Number', 'number']], rows));
    const parts = end?.part_sizes ?? [];
    partitions.hidden = parts.length === 0;
    if (parts.length) {
      skew.show(parts.map(({ pairs }) => pairs));
      const columns = [['Partition', 'number'], ['Pairs', 'number'], ['Size', 'number']];
      const rows = parts.map(({ pairs, bytes }, at) => [String(at), digits(pairs), size(bytes)]);
      sizes.replaceChildren(sizes.firstChild, table('Partitions', columns, rows));
    }
  };

  const showSteps = () => {
    const known = job.steps ?? [];
    const named = [[job.after, 'the step before'], [job.then, 'the step after']].filter(([other]) => other);
    const rows = known.length ? known : named.map(([other, program]) => ({ job: other, program, state: '' }));
    steps.hidden = rows.length < (known.length ? 2 : 1);
    const link = (step) => step.job === job.job ? `${step.job} (this one)`
      : make('a', { href: `#/jobs/${encodeURIComponent(step.job)}` }, strangeText(step.job));
    renew(stepPlace, table('Steps', [['Step', 'number'], ['Program'], ['State'], ['Job']],
      rows.map((step, at) => [String(at + 1), strange(step.program), step.state, link(step)]), 3));
  };

  const show = (next) => {
    if (isClosed) {
      return;
    }
    const before = job;
    job = next;
    const [ended, nowMs] = [hasEnded(job), Date.now()];
    const program = strangeText(job.program);
    setText(heading, program);
    showState(state, job);
    document.title = `${job.state} – ${program} – rabbit-reduce`;
    if (before && before.state !== job.state) {
      say(`The job is ${job.state}.`);
    }
    stageList.replaceChildren(...stages(job).map(([name, when]) =>
      make('li', { class: when, 'aria-current': when === 'present' ? 'step' : null }, name)));
    const why = job.end?.reason;
    const isAgain = ended && (job.retrying?.length || job.retrying_records?.length);
    const words = why ? ['Failed: ', strange(why, 2000)] : job.waits_for ? ['Waits for ', strange(job.waits_for, 1000)]
      : isAgain ? ['Something of it is being sent again; a new version of the result follows.'] : [];
    waits.hidden = words.length === 0;
    waits.className = why ? 'waits bad' : 'waits';
    waits.replaceChildren(...words);
    alarms.hidden = !job.alarms?.length;
    alarms.replaceChildren(...(job.alarms ?? []).map((alarm) => make('li', {}, strange(alarm, 1000))));
    map.show(mapped(job), ended);
    reduce.show(reduced(job));
    showFacts(nowMs);
    showSpeed(nowMs);
    if (!before || before.end?.version !== job.end?.version) {
      showEnd(job);
    }
    if (job.steps || !before) {
      showSteps();
    }
    [cancel.hidden, remove.hidden] = [ended, !ended];
    top.show(job.program, !ended);
    result.show(hasResult(job) ? job.end?.version ?? 1 : null);
    body.hidden = false;
  };

  // Asks for the job with everything. Whoever asks again within two seconds is heard once they are over; what events
  // said while the answer was under way is newer than the answer.
  const load = async () => {
    if (isAsking) {
      isWanted = true;
      return;
    }
    [isAsking, isWanted, fresh] = [true, false, null];
    try {
      const whole = merged(await ask(jobPath(id)), fresh);
      note(whole, Date.now());
      show(whole);
      letters.show(whole);
      place.replaceChildren();
    } catch (error) {
      const isGone = error.status === 404;
      place.replaceChildren(problem(error, isGone ? null : load));
      if (isGone) {
        body.hidden = cancel.hidden = remove.hidden = true;
      }
    }
    timer = setTimeout(() => {
      isAsking = false;
      if (isWanted && !isClosed) {
        load();
      }
    }, ASK_MS);
  };

  return {
    title: 'Job',
    element,
    open: load,
    close: () => {
      isClosed = true;
      clearTimeout(timer);
      [result, top].forEach((part) => part.close());
    },
    refresh: () => {
      load();
      [result, letters].forEach((part) => part.refresh());
    },
    jobs: (jobs) => {
      const mine = jobs.find((other) => other.job === id);
      if (mine && job) {
        fresh = mine;
        show(merged(job, mine));
        load();
      }
    },
    gone: (ids) => ids.includes(id) && load(),
    tick: (nowMs) => {
      if (job) {
        showFacts(nowMs);
        if (!hasEnded(job)) {
          showSpeed(nowMs);
        }
      }
    },
  };
};
