// Runs in the browser, beside the page: what tests ask about what is on the screen.

/**
 * Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3; all text here is
 * of a size that it calls small).
 */
function faintTexts() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  let texts = 0;
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const { parentElement: parent, textContent } = node;
    if (parent === null || textContent?.trim() === '' || !parent.checkVisibility()) continue;
    // What cannot be used may be faint.
    if (parent.closest(':disabled, template, .unseen') !== null) continue;
    texts += 1;
    const contrast = contrastOf(getComputedStyle(parent).color, backgroundOf(parent));
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${textContent?.trim()}`);
  }
  for (const field of document.querySelectorAll('input, select, textarea')) {
    if (!field.checkVisibility()) continue;
    texts += 1;
    const contrast = contrastOf(getComputedStyle(field).color, backgroundOf(field));
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: field ${field.id}`);
  }
  return { texts, found };
}

/** @param {Element} element */
function backgroundOf(element) {
  for (let at = /** @type {Element | null} */ (element); at !== null; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (channels(color)[3] === 1) return color;
  }
  throw new Error('nothing is opaque behind the text');
}

/** @param {string} one @param {string} other colours as `rgb(…)` or `rgba(…)` */
function contrastOf(one, other) {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** @param {string} color */
function luminance(color) {
  const [red = 0, green = 0, blue = 0] = channels(color).map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** @param {string} color */
function channels(color) {
  const parts = /^rgba?\(([^)]+)\)$/
    .exec(color)?.[1]
    ?.split(/[\s,/]+/)
    .map(Number);
  if (parts === undefined || parts.some(Number.isNaN)) throw new Error(`what colour is ${color}?`);
  return parts.length === 3 ? [...parts, 1] : parts;
}

/** Every control that can be used now, in the order of the document. */
function usableControls() {
  const controls = document.querySelectorAll('button, input, select, textarea, summary, a[href]');
  return [...controls]
    .filter((control) => control.checkVisibility() && !control.matches(':disabled'))
    .map(nameOf);
}

function focusedControl() {
  const { activeElement } = document;
  return activeElement === null || activeElement === document.body ? null : nameOf(activeElement);
}

/** @param {Element} control */
function nameOf(control) {
  return control.id || control.getAttribute('aria-label') || control.textContent?.trim() || '';
}

Object.assign(globalThis, { faintTexts, usableControls, focusedControl });
