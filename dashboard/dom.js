/**
 * The element with this id.
 *
 * @overload
 * @param {string} id
 * @returns {HTMLElement}
 */
/**
 * @template {HTMLElement} Kind
 * @overload
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
/**
 * @param {string} id
 * @param {new () => HTMLElement} [kind]
 * @returns {HTMLElement}
 */
export function element(id, kind = HTMLElement) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

/**
 * A copy of the only child of a template.
 *
 * @param {string} template id
 * @returns {HTMLElement}
 */
export function copyOf(template) {
  const copy = element(template, HTMLTemplateElement).content.firstElementChild?.cloneNode(true);
  if (!(copy instanceof HTMLElement)) throw new Error(`the template ${template} is empty`);
  return copy;
}

/**
 * The part of a copy that `data-part` names.
 *
 * @overload
 * @param {HTMLElement} root
 * @param {string} name
 * @returns {HTMLElement}
 */
/**
 * @template {HTMLElement} Kind
 * @overload
 * @param {HTMLElement} root
 * @param {string} name
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
/**
 * @param {HTMLElement} root
 * @param {string} name
 * @param {new () => HTMLElement} [kind]
 * @returns {HTMLElement}
 */
export function part(root, name, kind = HTMLElement) {
  const found = root.querySelector(`[data-part="${name}"]`);
  if (!(found instanceof kind)) throw new Error(`there is no part ${name}`);
  return found;
}

/**
 * Text as text, whoever wrote it; nothing happens where it stands already, so that what a reader
 * has selected stays selected.
 *
 * @param {HTMLElement} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * A function that shows items as the children of `parent`. An element stays as long as its item's
 * key is there: focus, selections and open details outlive every update.
 *
 * @template Item
 * @param {HTMLElement} parent
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => { root: HTMLElement, update: (item: Item) => void }} create
 * @returns {(items: readonly Item[]) => void}
 */
export function keyedList(parent, keyOf, create) {
  /** @type {Map<string, ReturnType<typeof create>>} */
  const views = new Map();
  return (items) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, { root }] of views) {
      if (keys.has(key)) continue;
      root.remove();
      views.delete(key);
    }
    for (const [index, item] of items.entries()) {
      const view = views.get(keyOf(item)) ?? create(item);
      views.set(keyOf(item), view);
      const there = parent.children[index] ?? null;
      if (there !== view.root) parent.insertBefore(view.root, there);
      view.update(item);
    }
  };
}
