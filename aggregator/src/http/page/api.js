// Questions to the server, its events, and whether it can be reached.
//
// It deliberately knows no view; what arrives goes to whoever listens. What would surprise: the stream of events is
// closed while the page is hidden, since a browser opens six connections to a server and every tab takes one.

const ROOT = '/api/v1';
const PATIENCE_MS = 30_000;
const CHECK_MS = 10_000;
// A stream that is silent for so long may be a dead connection.
const SILENCE_MS = 60_000;
const AGAIN_MS = 2_000;

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const GONE = `The server at ${location.host} does not answer. See whether "aggregator --http" still runs there;`
  + ' this page tries again by itself.';
const REMEDIES = new Map([
  [401, 'Load the page again and give the token as the password.'],
  [403, 'Open the page by an address that the aggregator was told with --http or --http-host.'],
  [404, 'It may have been removed meanwhile: look for it in the list of jobs.'],
  [409, 'The job may have changed meanwhile: look at its state, then try again.'],
  [429, 'Wait some seconds, then try again.'],
  [502, 'Start an aggregator, or see whether the broker runs.'],
  [503, 'Start an aggregator, or see whether the broker runs.'],
  [504, 'Start an aggregator, or see whether the broker runs; then try again.'],
]);

// What an answer that is no success says, and what to do about it.
const explained = (status, text) => {
  let said = text.trim();
  try {
    said = JSON.parse(text).error ?? said;
  } catch {
    // It is plain text, or nothing.
  }
  said = String(said || `The server refused with status ${status}`).slice(0, 1000);
  const remedy = REMEDIES.get(status) ?? (status >= 500 ? 'See what the aggregator logs.' : 'Look at the job again.');
  return `${said[0].toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? '' : '.'} ${remedy}`;
};

// Whole numbers beyond what a double holds become big ones, where the browser tells their digits.
const exactly = (_, value, context) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
    ? BigInt(context.source) : value;

export const ask = async (path, { body, post = false, signal, patience = PATIENCE_MS, exact = false } = {}) => {
  const request = { signal: AbortSignal.any([AbortSignal.timeout(patience), ...(signal ? [signal] : [])]) };
  if (post) {
    request.method = 'POST';
    request.headers = { 'X-Rabbit-Reduce': '1', 'content-type': 'application/json' };
    request.body = JSON.stringify(body ?? {});
  }
  let answer;
  let text;
  try {
    answer = await fetch(ROOT + path, request);
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    check();
    throw new ApiError(GONE, 0);
  }
  if (!answer.ok) {
    if (answer.status > 501) {
      check();
    }
    throw new ApiError(explained(answer.status, text), answer.status);
  }
  try {
    return JSON.parse(text, exact ? exactly : undefined);
  } catch {
    throw new ApiError('The server sent what this page cannot read. Load the page again: it may be an older one.', 0);
  }
};

export const jobPath = (id, rest = '') => `/jobs/${encodeURIComponent(id)}${rest}`;
export const download = (id, format) => `${ROOT}${jobPath(id, `/result.${format}`)}`;

// The stream of events. `trouble` is null, or why nobody can be reached.
let listener = null;
let source = null;
let trouble = null;
let [heardMs, checkedMs] = [0, 0];
let wasOpen = false;
let failures = 0;
let checking = null;
let timer = null;

const report = (reason) => {
  const before = trouble;
  trouble = reason;
  listener.trouble(reason, before);
};

const close = () => {
  source?.close();
  source = null;
};

const connect = () => {
  close();
  source = new EventSource(`${ROOT}/events`);
  source.addEventListener('open', () => {
    [heardMs, failures] = [Date.now(), 0];
    if (wasOpen) {
      listener.missed();
    }
    wasOpen = true;
    if (trouble === null) {
      report(null);
    } else {
      check();
    }
  });
  for (const kind of ['jobs', 'gone', 'broker']) {
    source.addEventListener(kind, (event) => {
      heardMs = Date.now();
      listener[kind](JSON.parse(event.data));
    });
  }
  source.addEventListener('trouble', () => {
    heardMs = Date.now();
    check();
  });
  source.addEventListener('error', () => {
    close();
    failures += 1;
    check();
  });
};

const whyNobodyAnswers = async () => {
  try {
    const answer = await fetch('/readyz', { cache: 'no-store', signal: AbortSignal.timeout(CHECK_MS) });
    const reason = answer.ok ? null : explained(answer.status, await answer.text());
    return answer.status === 503 ? `No aggregator can be reached. ${reason}` : reason;
  } catch {
    return GONE;
  }
};

// Asks whether the server and an aggregator are there, again and again until they are; then opens the stream if it is
// closed. Nothing else takes the trouble away, so that two opinions never take turns on the screen.
const check = () => {
  checking ??= (async () => {
    clearTimeout(timer);
    const reason = await whyNobodyAnswers();
    checking = null;
    if (document.hidden) {
      return;
    }
    checkedMs = Date.now();
    if (reason !== null) {
      report(reason);
      timer = setTimeout(check, AGAIN_MS);
    } else if (source !== null) {
      report(null);
      if (checkedMs - heardMs > SILENCE_MS) {
        connect();
      }
    } else {
      if (failures > 2) {
        report('The server answers, but it sends no events. Load the page again, and see what the aggregator logs.');
      }
      timer = setTimeout(connect, failures ? AGAIN_MS / 2 : 0);
    }
  })();
};

// `whoever` has the functions `jobs`, `gone`, `broker`, `trouble`, and `missed`: events may have been.
export const listen = (whoever) => {
  listener = whoever;
  heardMs = checkedMs = Date.now();
  connect();
  setInterval(() => {
    if (!document.hidden && trouble === null && Date.now() - checkedMs > CHECK_MS) {
      check();
    }
  }, 1000);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      clearTimeout(timer);
      close();
    } else {
      check();
    }
  });
};
