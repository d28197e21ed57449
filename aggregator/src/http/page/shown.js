// What strangers wrote, and numbers, as people may see them.
//
// It deliberately knows no job and asks nobody. Keys, names and reasons may hold anything: they become text nodes and
// never markup; what would command or mislead a reader is spelt out. What would surprise: sizes and percents are cut,
// never rounded up, so that what is not complete never looks complete.

import { button, make } from './elements.js';

// Control characters, what turns the direction of text or has no width at all, and halves of pairs.
const MISLEADS = /[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;
const SHORT = new Map([['\t', '\\t'], ['\n', '\\n'], ['\r', '\\r']]);
const CUT = 160;

const spelt = (character) => SHORT.get(character) ?? `\\u{${character.codePointAt(0).toString(16)}}`;

// The characters of bytes that may not be UTF-8; each byte that is not comes as a number.
const decoded = function* (base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at];
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    let character = first;
    try {
      character = decoder.decode(bytes.subarray(at, at + length));
    } catch {
      // The byte stays a number.
    }
    yield character;
    at += typeof character === 'number' ? 1 : length;
  }
};

// Pairs of a piece of text and whether it is an escape. It is lazy, so that cutting a long value is cheap.
const pieces = function* (value) {
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) {
      if (at > 0) {
        yield [', ', false];
      }
      yield* pieces(item);
    }
  } else if (typeof value?.base64 === 'string') {
    for (const character of decoded(value.base64)) {
      if (typeof character === 'number') {
        yield [`\\x${character.toString(16).padStart(2, '0')}`, true];
      } else {
        yield* pieces(character);
      }
    }
  } else {
    const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '');
    for (const character of text) {
      yield MISLEADS.test(character) ? [spelt(character), true] : [character, false];
    }
  }
};

// A value as plain text, for titles and labels.
export const strangeText = (value, limit = CUT) => {
  let [text, left] = ['', limit];
  for (const [piece] of pieces(value)) {
    if (left-- === 0) {
      return `${text}…`;
    }
    text += piece;
  }
  return text;
};

// A value as an element; escapes look different from text that merely spells one. A long value is cut, with a button.
export const strange = (value, limit = CUT) => {
  const element = make('bdi', { class: 'strange' });
  let [run, runIsEscape, left] = ['', false, limit];
  const flush = () => run && element.append(runIsEscape ? make('span', { class: 'escape' }, run) : run);
  for (const [piece, isEscape] of pieces(value)) {
    if (left-- === 0) {
      flush();
      const show = () => {
        const whole = strange(value, Infinity);
        element.replaceWith(whole);
        whole.tabIndex = -1;
        whole.focus();
      };
      element.append('…', button('show all', show, { class: 'small' }));
      return element;
    }
    if (isEscape !== runIsEscape) {
      flush();
      [run, runIsEscape] = ['', isEscape];
    }
    run += piece;
  }
  flush();
  if (!element.firstChild && value !== null && value !== undefined) {
    element.append(make('span', { class: 'escape' }, 'empty'));
  }
  return element;
};

export const count = (number, one, several = `${one}s`) => `${digits(number)} ${number === 1 ? one : several}`;

export const digits = (number) => number.toLocaleString('en');

export const size = (bytes) => {
  if (bytes < 1024) {
    return `${Math.floor(bytes)} B`;
  }
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [tenths, unit] = [bytes * 10 / 1024, 0];
  while (tenths >= 10240 && unit + 1 < units.length) {
    tenths /= 1024;
    unit += 1;
  }
  return `${(Math.floor(tenths) / 10).toFixed(1)} ${units[unit]}`;
};

export const percent = (part) => `${Math.floor(part * 100)} %`;

// A span as the command line writes it: 0:07, 1:02:03, 2d 0:00:00.
export const span = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, '0');
  const [days, hours, minutes] = [86400, 3600, 60].map((length) => Math.floor(seconds / length));
  const tail = `${two(minutes % 60)}:${two(seconds % 60)}`;
  return days ? `${days}d ${hours % 24}:${tail}` : hours ? `${hours}:${tail}` : `${minutes}:${two(seconds % 60)}`;
};

// A span in one unit, for ages at a glance.
export const age = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min']];
  const [length, unit] = units.find(([long]) => seconds >= long) ?? [1, 's'];
  return `${Math.floor(seconds / length)} ${unit}`;
};

export const moment = (ms) => new Date(ms).toLocaleString('sv');
