// The few kinds of elements that all views are made of.
//
// It deliberately knows no job and no address. What would surprise: there is no way in here to make an element out of
// markup; children are elements or text.

export const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(attribute, value === true ? '' : value);
    }
  }
  element.append(...children);
  return element;
};

// Sets a text only where it is another one, so that nothing is laid out or announced in vain.
export const setText = (element, text) => {
  if (element.textContent !== text) {
    element.textContent = text;
  }
};

export const button = (text, act, attributes = {}) => {
  const element = make('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', act);
  return element;
};

// A button that is off keeps the focus, which a disabled one would lose.
export const setOff = (element, off) => element.setAttribute('aria-disabled', String(off));
export const isOff = (element) => element.getAttribute('aria-disabled') === 'true';

export const problem = (error, again) =>
  make('div', { class: 'problem', role: 'alert' },
    make('p', {}, error.message), ...(again ? [button('Try again', again)] : []));

export const code = (text) => make('code', {}, text);

export const section = (title, attributes, ...children) =>
  make('section', attributes, make('h2', {}, title), ...children);

// What is wider than the page scrolls inside itself; it can have the focus, so that arrow keys scroll it.
export const scrolling = (label, ...children) =>
  make('div', { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': label }, ...children);

// What cells were made with: what is in them may have been unfolded since.
const said = new WeakMap();

// A table out of columns, which are [heading, class], and rows, which are arrays of cells; cell number `head` heads its
// row.
export const table = (caption, columns, rows, head = 0) => {
  const heading = ([text, kind]) => make('th', { scope: 'col', class: kind }, text);
  const cell = (content, at) => {
    const attributes = { class: columns[at]?.[1], scope: at === head ? 'row' : null };
    const element = make(at === head ? 'th' : 'td', attributes, content);
    said.set(element, element.textContent);
    return element;
  };
  return scrolling(caption, make('table', {},
    make('caption', { class: 'unseen' }, caption),
    make('thead', {}, make('tr', {}, ...columns.map(heading))),
    make('tbody', {}, ...rows.map((row) => make('tr', {}, ...row.map(cell))))));
};

// Shows a table where one with the same columns may be. Cells that say the same stay as they are: with the focus, with
// what is chosen in them, and as far as they are scrolled.
export const renew = (place, next) => {
  const [old, body] = [place.querySelector('tbody'), next.querySelector('tbody')];
  if (!old) {
    place.replaceChildren(next);
    return;
  }
  const rows = [...body.rows];
  for (const [at, row] of rows.entries()) {
    const there = old.rows[at];
    if (!there) {
      old.append(row);
      continue;
    }
    for (const [number, cell] of [...row.cells].entries()) {
      if (said.get(cell) !== said.get(there.cells[number])) {
        there.cells[number].replaceWith(cell);
      }
    }
  }
  while (old.rows.length > rows.length) {
    old.lastChild.remove();
  }
};

// A progress bar with the text beside it; `show` takes a part from 0 to 1 (null: nobody knows) and that text.
export const bar = (label) => {
  const progress = make('progress', { max: '1', 'aria-label': label });
  const text = make('span', { class: 'bar-text' });
  const show = ({ part, text: words }, isOver = false) => {
    if (part === null) {
      progress.removeAttribute('value');
    } else if (progress.getAttribute('value') !== String(part)) {
      progress.setAttribute('value', part);
    }
    progress.hidden = part === null && isOver;
    setText(text, words);
  };
  return { element: make('div', { class: 'bar' }, progress, text), show };
};

// Says something to those who do not see the page, once.
export const say = (text) => setText(document.getElementById('says'), text);

const dialog = make('dialog', { 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text' });
document.body.append(dialog);
dialog.addEventListener('close', () => {
  // What had the focus before may be gone by now.
  const focused = document.activeElement;
  if (!focused || focused === document.body || dialog.contains(focused) || !focused.checkVisibility()) {
    document.querySelector('h1')?.focus();
  }
});

// Asks before something is done, and stays open with the reason where it could not be done.
export const confirmThen = ({ title, text, yes, act }) => {
  const place = make('div');
  const confirm = button(yes, async () => {
    if (isOff(confirm)) {
      return;
    }
    setOff(confirm, true);
    place.replaceChildren();
    try {
      await act();
      dialog.close();
    } catch (error) {
      place.replaceChildren(problem(error));
      setText(confirm, `${yes}: try again`);
    }
    setOff(confirm, false);
  }, { id: 'confirm', class: 'danger' });
  const leave = button('Go back', () => dialog.close(), { id: 'leave', autofocus: true });
  dialog.replaceChildren(
    make('h2', { id: 'dialog-title' }, title), make('p', { id: 'dialog-text' }, text), place,
    make('div', { class: 'actions' }, leave, confirm));
  dialog.showModal();
};
