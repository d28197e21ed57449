// How a job stands: how far it is, what its state means, how fast it went.
//
// It deliberately knows no element and asks nobody. What would surprise: of a job that has ended, chunks tell how far
// it came and bytes do not, since a program need not count bytes.

import { age, count, digits, percent, size } from './shown.js';

const ENDED = ['done', 'done with losses', 'failed', 'cancelled'];
const STAGES = ['publishing', 'counting', 'finishing'];
const KEPT_MS = 300_000;

export const hasEnded = (job) => ENDED.includes(job.state);
export const hasResult = (job) => job.state === 'done' || job.state === 'done with losses';

export const mapped = (job) => {
  const { input_bytes: input, covered_bytes: bytes, chunks, covered_chunks: covered } = job;
  if (input && !hasEnded(job)) {
    const part = Math.min(bytes / input, 1);
    return { part, text: `${percent(part)} of ${size(input)}` };
  }
  if (typeof chunks === 'number') {
    return { part: chunks ? covered / chunks : 1, text: `${digits(covered)} of ${count(chunks, 'chunk')}` };
  }
  return { part: null, text: count(covered, 'chunk') };
};

export const reduced = (job) => {
  const { partitions, finished_partitions: finished } = job;
  return { part: partitions ? finished / partitions : 0, text: `${digits(finished)} of ${digits(partitions)}` };
};

// The stages of a job: pairs of what it is called and `past`, `present` or `future`.
export const stages = (job) => {
  // A job that ended without a result was somewhere before: its chunks tell whether its input was published.
  const published = typeof job.chunks === 'number' ? 1 : 0;
  const ended = hasEnded(job);
  const reached = hasResult(job) ? STAGES.length : ended ? published : STAGES.indexOf(job.state);
  const when = (at) => at < reached ? 'past' : at === reached && !ended ? 'present' : 'future';
  const list = [...STAGES.map((name, at) => [name, when(at)]), ended ? [job.state, 'present'] : ['done', 'future']];
  return list.map(([name, when]) => [name[0].toUpperCase() + name.slice(1), when]);
};

export const ageOf = (job, nowMs) => age(nowMs - job.created_ms);

// Covered bytes over time, of the jobs that run, for the last minutes.
const history = new Map();

export const note = (job, nowMs) => {
  const samples = history.get(job.job) ?? [];
  if (hasEnded(job) && !samples.length) {
    return;
  }
  const before = samples.at(-1);
  if (!hasEnded(job) || job.covered_bytes > (before?.bytes ?? 0)) {
    samples.push({ ms: nowMs, bytes: job.covered_bytes });
  }
  // One sample that is older stays, for the span that begins with it reaches into those minutes.
  while (samples.length > 2 && samples[1].ms < nowMs - KEPT_MS) {
    samples.shift();
  }
  history.set(job.job, samples);
  for (const [id, [first]] of history.size > 200 ? history : []) {
    if (history.get(id).at(-1).ms < nowMs - KEPT_MS || !first) {
      history.delete(id);
    }
  }
};

// Spans of `{ fromMs, toMs, rate }`, the rate in bytes per second.
export const rates = (id) => {
  const samples = history.get(id) ?? [];
  return samples.slice(1).map((sample, at) => {
    const before = samples[at];
    const seconds = Math.max(sample.ms - before.ms, 1) / 1000;
    return { fromMs: before.ms, toMs: sample.ms, rate: Math.max(sample.bytes - before.bytes, 0) / seconds };
  });
};
