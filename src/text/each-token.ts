import { z } from 'zod';

const decoderSchema = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('Metaspace'),
    replacement: z.string(),
    prepend_scheme: z.enum(['always', 'never', 'first']).optional(),
    add_prefix_space: z.boolean().optional(),
  }),
  z.looseObject({ type: z.literal('WordPiece'), prefix: z.string(), cleanup: z.boolean() }),
]);

/** What WordPiece's clean-up undoes of its own spaces, in order. */
const cleanups: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/**
 * For a decoder that looks at one token at a time, what it makes of one; null for any other. No
 * decoder at all puts spaces between tokens.
 */
export function eachTokenText(
  decoder: object | null,
): ((token: string, isFirst: boolean) => string) | null {
  if (decoder === null) return (token, isFirst) => (isFirst ? token : ` ${token}`);
  const { data } = decoderSchema.safeParse(decoder);
  if (data === undefined) return null;
  if (data.type === 'WordPiece') {
    const { prefix, cleanup } = data;
    return (token, isFirst) => {
      const word = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      const text = isFirst ? token : word;
      if (!cleanup) return text;
      return cleanups.reduce((cleaned, [from, to]) => cleaned.replaceAll(from, to), text);
    };
  }
  const { replacement, prepend_scheme: scheme, add_prefix_space: prefixSpace } = data;
  // The space that encoding puts in front goes again.
  const dropsFirst = prefixSpace !== false && scheme !== 'never';
  return (token, isFirst) => token.replaceAll(replacement, isFirst && dropsFirst ? '' : ' ');
}
