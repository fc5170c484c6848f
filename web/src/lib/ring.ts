/** Samples of the last minutes, one a second; what was not heard is null, never zero. Pure. */

export interface Samples {
  readonly step_s: number;
  readonly times: number[];
  readonly series: Map<string, (number | null)[]>;
}

export function emptySamples(step_s = 1): Samples {
  return { step_s, times: [], series: new Map() };
}

/** Add one sample; seconds without one become nulls, and what is older than `keep_s` goes. */
export function addSample(samples: Samples, at_s: number, values: Readonly<Record<string, number | null>>, keep_s: number): void {
  const at = Math.floor(at_s / samples.step_s) * samples.step_s;
  const last = samples.times.at(-1);
  if (last !== undefined && at < last) return; // an older one that came late
  if (last !== undefined && at > last) {
    const from = Math.max(last + samples.step_s, at - keep_s);
    for (let t = from; t < at; t += samples.step_s) push(samples, t, {});
  }
  if (last === at) samples.times.pop(), samples.series.forEach((each) => each.pop());
  push(samples, at, values);
  while ((samples.times[0] ?? at) < at - keep_s) samples.times.shift(), samples.series.forEach((each) => each.shift());
}

function push(samples: Samples, at: number, values: Readonly<Record<string, number | null>>): void {
  for (const name of Object.keys(values))
    if (!samples.series.has(name)) samples.series.set(name, samples.times.map(() => null));
  samples.times.push(at);
  samples.series.forEach((each, name) => each.push(values[name] ?? null));
}

/** Where stacked values begin and end: [low, high] for each point, null where there is a gap. */
export function stack(series: readonly (readonly (number | null)[])[]): ([number, number] | null)[][] {
  const length = Math.max(0, ...series.map((each) => each.length));
  const reached = new Array<number>(length).fill(0);
  return series.map((each) =>
    reached.map((low, at) => {
      const value = each[at] ?? null;
      if (value === null) return null;
      reached[at] = low + value;
      return [low, low + value] as [number, number];
    }),
  );
}
