// The page: which view is shown, and what happens to it.
//
// It deliberately knows nothing of what views show. What would surprise: addresses are fragments (#/jobs/ID), so the
// server serves one page only; the skip link therefore moves the focus by itself.

import { listen } from './api.js';
import { brokerView } from './broker.js';
import { make, setText } from './elements.js';
import { jobView } from './job.js';
import { jobsView } from './jobs.js';
import { note } from './standing.js';

const TICK_MS = 1000;

const main = document.getElementById('main');
const trouble = document.getElementById('trouble');
const connection = document.getElementById('connection');
const list = jobsView();
let view = null;
let heardMs = null;

const showConnection = (isLive) => {
  setText(connection, isLive ? 'live' : 'not connected');
  connection.dataset.live = isLive;
};

const leaveJob = (id) => {
  list.remove(id);
  location.hash = '#/';
};

const viewOf = (hash) => {
  const [, id] = /^#\/jobs\/([^/]+)$/.exec(hash) ?? [];
  if (id !== undefined) {
    try {
      return jobView(decodeURIComponent(id), leaveJob);
    } catch {
      return list;
    }
  }
  return hash === '#/broker' ? brokerView() : list;
};

const go = () => {
  const isFirst = view === null;
  view?.close();
  view = viewOf(location.hash);
  main.replaceChildren(view.element);
  document.title = `${view.title} – rabbit-reduce`;
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.hash === (location.hash || '#/');
    link[isHere ? 'setAttribute' : 'removeAttribute']('aria-current', 'page');
  }
  scrollTo(0, 0);
  view.open();
  if (!isFirst) {
    // Whoever uses a screen reader learns what is shown now; there was no new page to say it.
    view.element.querySelector('h1').focus({ preventScroll: true });
  }
};

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});

addEventListener('hashchange', go);
go();

setInterval(() => document.hidden || view.tick(Date.now()), TICK_MS);

listen({
  jobs: (jobs) => {
    const nowMs = heardMs = Date.now();
    jobs.forEach((job) => note(job, nowMs));
    list.jobs(jobs, nowMs);
    if (view !== list) {
      view.jobs?.(jobs, nowMs);
    }
    showConnection(true);
  },
  gone: (ids) => {
    ids.forEach((id) => list.remove(id));
    view.gone?.(ids);
    showConnection(true);
  },
  broker: (broker) => {
    heardMs = Date.now();
    view.broker?.(broker);
    showConnection(true);
  },
  missed: () => view.refresh(),
  trouble: (reason, before) => {
    showConnection(reason === null);
    if (reason === before) {
      return;
    }
    const since = heardMs ? ` What is shown is as of ${new Date(heardMs).toLocaleTimeString('sv')}.` : '';
    trouble.replaceChildren(...(reason === null ? [] : [make('p', {}, reason + since)]));
    if (reason === null) {
      view.refresh();
    }
  },
});
