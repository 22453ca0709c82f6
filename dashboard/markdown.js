// The part of Markdown that models write most, as elements. Whatever else stands in a text, HTML
// and links among it, is shown as it was written.

/**
 * @typedef {{ kind: 'code', text: string }
 *   | { kind: 'heading', text: string }
 *   | { kind: 'list', lines: string[] }
 *   | { kind: 'paragraph', text: string }} Block
 */

const fence = /^\s*(`{3,}|~{3,})/;
const heading = /^#{1,6}\s+(.*)$/;
const item = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
// Nothing goes on beyond its line.
const inlineMark = new RegExp(
  [
    /(`+)(.+?)\1(?!`)/,
    // Bold goes around whole pieces of code.
    /\*\*(?=\S)((?:`[^`\n]*`|[^`\n])+?)\*\*/,
    /(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?!\w)/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

/**
 * A function that shows a text as the content of `target`, again and again while it grows: what is
 * complete stays as it is, so that a reader can select it.
 *
 * @param {HTMLElement} target
 */
export function markdownView(target) {
  /** @type {string[]} */
  let shown = [];
  return (/** @type {string} */ text) => {
    const blocks = blocksOf(text);
    const sources = blocks.map((block) => JSON.stringify(block));
    for (const [index, block] of blocks.entries()) {
      if (sources[index] === shown[index]) continue;
      const made = elementOf(block);
      const there = target.children[index];
      if (there === undefined) target.append(made);
      else there.replaceWith(made);
    }
    while (target.children.length > blocks.length) target.lastElementChild?.remove();
    shown = sources;
  };
}

/**
 * @param {string} text
 * @returns {Block[]}
 */
function blocksOf(text) {
  /** @type {Block[]} */
  const blocks = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; ) {
    const { block, next } = blockAt(lines, at);
    if (block !== null) blocks.push(block);
    at = next;
  }
  return blocks;
}

/**
 * The block that begins at a line, and the line after it.
 *
 * @param {readonly string[]} lines
 * @param {number} at
 * @returns {{ block: Block | null, next: number }}
 */
function blockAt(lines, at) {
  const line = lines[at] ?? '';
  if (line.trim() === '') return { block: null, next: at + 1 };
  const mark = fence.exec(line)?.[1];
  if (mark !== undefined) {
    const end = lines.findIndex((other, index) => index > at && other.trim().startsWith(mark));
    const next = end === -1 ? lines.length : end;
    return { block: { kind: 'code', text: lines.slice(at + 1, next).join('\n') }, next: next + 1 };
  }
  const title = heading.exec(line)?.[1];
  if (title !== undefined) return { block: { kind: 'heading', text: title }, next: at + 1 };
  const isList = item.test(line);
  const goesOn = isList
    ? (/** @type {string} */ other) => item.test(other) || /^\s/.test(other)
    : isText;
  let next = at + 1;
  while (next < lines.length && lines[next]?.trim() !== '' && goesOn(lines[next] ?? '')) next += 1;
  const taken = lines.slice(at, next);
  if (isList) return { block: { kind: 'list', lines: taken }, next };
  return { block: { kind: 'paragraph', text: taken.join('\n') }, next };
}

/** @param {string} line */
function isText(line) {
  return !fence.test(line) && !heading.test(line) && !item.test(line);
}

/** @param {Block} block */
function elementOf(block) {
  switch (block.kind) {
    case 'code': {
      const made = document.createElement('pre');
      made.textContent = block.text;
      return made;
    }
    case 'heading':
      return withInline(document.createElement('h4'), block.text);
    case 'list':
      return listOf(block.lines);
    case 'paragraph':
      return withInline(document.createElement('p'), block.text);
  }
}

/** @param {readonly string[]} lines */
function listOf(lines) {
  const list = document.createElement('ul');
  for (const line of lines) {
    const [, indent = '', number, text = ''] = item.exec(line) ?? [];
    const last = list.lastElementChild;
    if (!item.test(line) && last instanceof HTMLElement) {
      withInline(last, `\n${line.trim()}`);
      continue;
    }
    const made = document.createElement('li');
    made.dataset['depth'] = `${Math.min(3, Math.floor(indent.length / 2))}`;
    if (number !== undefined) made.style.listStyleType = `"${number}. "`;
    list.append(withInline(made, text));
  }
  return list;
}

/**
 * Adds a text with its code, bold and italic parts.
 *
 * @template {HTMLElement} Kind
 * @param {Kind} target
 * @param {string} text
 * @returns {Kind}
 */
function withInline(target, text) {
  let rest = text;
  for (let found = inlineMark.exec(rest); found !== null; found = inlineMark.exec(rest)) {
    const [all, , code, bold, italic] = found;
    target.append(rest.slice(0, found.index));
    if (code !== undefined) target.append(withText('code', code));
    else if (bold !== undefined) target.append(withInline(document.createElement('b'), bold));
    else target.append(withInline(document.createElement('i'), italic ?? ''));
    rest = rest.slice(found.index + all.length);
  }
  target.append(rest);
  return target;
}

/**
 * @param {string} tag
 * @param {string} text
 */
function withText(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
