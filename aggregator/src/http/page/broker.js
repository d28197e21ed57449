// The broker: its queues, and the workers that were seen.
//
// It deliberately knows no job. What would surprise: a worker is here only if the aggregator that answers has folded
// something of it in the last minutes; one that is idle, or whose work went elsewhere, is not.

import { ask } from './api.js';
import { make, problem, renew, section, table } from './elements.js';
import { age, digits, size, strange } from './shown.js';

export const brokerView = () => {
  let broker = null;
  const heading = make('h1', { tabindex: '-1' }, 'Broker');
  const place = make('div');
  const [queues, workers] = [make('div'), make('div')];
  const element = make('div', {}, heading, place,
    section('Queues', { id: 'queues' }, queues),
    section('Workers', { id: 'workers' }, workers,
      make('p', { class: 'dim' }, 'Those whose work the aggregator that answers has seen in the last minutes.')));

  const showWorkers = (nowMs) => {
    const columns = [['Worker'], ['Chunks', 'number'], ['Bytes', 'number'], ['Rate', 'number'], ['Seen', 'number']];
    const rows = broker.workers.map((worker) => [
      strange(worker.name, 80), digits(worker.chunks), size(worker.bytes), `${size(worker.bytes_per_second)}/s`,
      `${age(nowMs - worker.seen_ms)} ago`,
    ]);
    if (rows.length) {
      renew(workers, table('Workers', columns, rows));
    } else {
      workers.replaceChildren(make('p', {}, 'None was seen.'));
    }
  };

  const show = (next) => {
    broker = next;
    const columns = [['Queue'], ['Messages', 'number'], ['Consumers', 'number'], ['Note']];
    const rows = broker.queues.map(({ name, messages, consumers }) => [
      strange(name, 80), digits(messages), digits(consumers), messages > 0 && consumers === 0 ? 'nobody reads it' : '',
    ]);
    renew(queues, table('Queues', columns, rows));
    showWorkers(Date.now());
  };

  const load = async () => {
    try {
      show(await ask('/broker'));
      place.replaceChildren();
    } catch (error) {
      place.replaceChildren(problem(error, load));
    }
  };

  return {
    title: 'Broker',
    element,
    open: load,
    close: () => {},
    refresh: load,
    broker: show,
    tick: (nowMs) => broker && showWorkers(nowMs),
  };
};
