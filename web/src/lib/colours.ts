/** One colour a line, everywhere: by its place in the configuration. */

const COLOURS = 8;

export function colourIndex(names: readonly string[], name: string): number {
  const at = names.indexOf(name);
  return at < 0 ? COLOURS : (at % COLOURS) + 1;
}

/** A custom property of tokens.css. */
export const colourVar = (names: readonly string[], name: string): string => `var(--uplink-${colourIndex(names, name)})`;
