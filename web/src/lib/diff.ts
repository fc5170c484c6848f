/** Lines that differ, and two people's edits of one text put together. Pure. */

export interface DiffLine {
  readonly kind: "same" | "gone" | "new";
  readonly text: string;
}

/** Pairs of equal lines, longest common subsequence; what both ends share is not searched. */
function common(a: readonly string[], b: readonly string[]): [number, number][] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const rows = a.length - head - tail;
  const columns = b.length - head - tail;
  const lengths = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1));
  for (let i = rows - 1; i >= 0; i -= 1)
    for (let j = columns - 1; j >= 0; j -= 1)
      lengths[i]![j] = a[head + i] === b[head + j] ? lengths[i + 1]![j + 1]! + 1 : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!);
  const pairs: [number, number][] = [];
  for (let k = 0; k < head; k += 1) pairs.push([k, k]);
  for (let i = 0, j = 0; i < rows && j < columns; ) {
    if (a[head + i] === b[head + j]) pairs.push([head + i++, head + j++]);
    else if (lengths[i + 1]![j]! >= lengths[i]![j + 1]!) i += 1;
    else j += 1;
  }
  for (let k = tail; k > 0; k -= 1) pairs.push([a.length - k, b.length - k]);
  return pairs;
}

const linesOf = (text: string): string[] => text.split("\n");

export function diff(before: string, after: string): DiffLine[] {
  const a = linesOf(before);
  const b = linesOf(after);
  const found: DiffLine[] = [];
  let i = 0;
  let j = 0;
  for (const [x, y] of [...common(a, b), [a.length, b.length] as [number, number]]) {
    while (i < x) found.push({ kind: "gone", text: a[i++]! });
    while (j < y) found.push({ kind: "new", text: b[j++]! });
    if (x < a.length) found.push({ kind: "same", text: a[i++]! }), (j += 1);
  }
  return found;
}

/** Only what changed, with some lines around it; null stands for lines left out. */
export function hunks(lines: readonly DiffLine[], around = 3): (DiffLine | null)[] {
  const near = new Set<number>();
  lines.forEach((line, at) => {
    if (line.kind !== "same") for (let k = at - around; k <= at + around; k += 1) near.add(k);
  });
  const found: (DiffLine | null)[] = [];
  lines.forEach((line, at) => {
    if (near.has(at)) found.push(line);
    else if (found.at(-1) !== null && found.length) found.push(null);
  });
  while (found.at(-1) === null) found.pop();
  return found;
}

/** Both edits of `base` in one text; null where they touch the same lines. */
export function merge(base: string, mine: string, theirs: string): string | null {
  const o = linesOf(base);
  const a = linesOf(mine);
  const b = linesOf(theirs);
  const inA = new Map(common(o, a));
  const inB = new Map(common(o, b));
  const merged: string[] = [];
  let [i, x, y] = [0, 0, 0];
  while (i <= o.length) {
    let end = i;
    while (end < o.length && !(inA.has(end) && inB.has(end))) end += 1;
    const toA = end < o.length ? inA.get(end)! : a.length;
    const toB = end < o.length ? inB.get(end)! : b.length;
    const chunk = [o.slice(i, end), a.slice(x, toA), b.slice(y, toB)].map((each) => each.join("\n") + (each.length ? "\n" : ""));
    const [was, ours, other] = chunk as [string, string, string];
    if (ours !== was && other !== was && ours !== other) return null;
    merged.push(...(ours === was ? b.slice(y, toB) : a.slice(x, toA)));
    if (end < o.length) merged.push(o[end]!);
    [i, x, y] = [end + 1, toA + 1, toB + 1];
  }
  return merged.join("\n");
}
