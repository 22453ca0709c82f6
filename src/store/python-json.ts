/**
 * Parses JSON as Python's json module writes it: NaN, Infinity and -Infinity may stand bare. They
 * become `{"__float__": "Infinity"}` and the like, which is how mlx-lm writes them into
 * config.json, so that the result is plain JSON again. Numbers that overflow to infinity become
 * the same.
 *
 * @throws SyntaxError when the text is not JSON either way
 */
export function parsePythonJson(text: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text, tagInfinity);
  } catch (error) {
    const tagged = text.replace(stringOrBareFloat, (match) =>
      match.startsWith('"') ? match : `{"__float__":"${match}"}`,
    );
    if (tagged === text) throw error;
    parsed = JSON.parse(tagged, tagInfinity);
  }
  return parsed;
}

/**
 * A whole string literal, so that nothing inside one is touched, or a float that JSON does not
 * have.
 */
const stringOrBareFloat = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?Infinity|NaN/g;

function tagInfinity(_key: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value;
  return { __float__: value > 0 ? 'Infinity' : '-Infinity' };
}
