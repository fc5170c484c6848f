import { describe, expect, it } from "vitest";
import { addSample, emptySamples, stack } from "../src/lib/ring";

describe("samples", () => {
  it("seconds that were not heard are gaps, never zero", () => {
    const samples = emptySamples();
    addSample(samples, 10.2, { dsl: 5 }, 60);
    addSample(samples, 13.9, { dsl: 7, lte: 1 }, 60);
    expect(samples.times).toEqual([10, 11, 12, 13]);
    expect(samples.series.get("dsl")).toEqual([5, null, null, 7]);
    expect(samples.series.get("lte")).toEqual([null, null, null, 1]);
  });
  it("two in one second are the later one, and late ones are left out", () => {
    const samples = emptySamples();
    addSample(samples, 10.1, { dsl: 5 }, 60);
    addSample(samples, 10.9, { dsl: 6 }, 60);
    addSample(samples, 4, { dsl: 1 }, 60);
    expect(samples.times).toEqual([10]);
    expect(samples.series.get("dsl")).toEqual([6]);
  });
  it("keeps what it shall and no more, also after a long sleep", () => {
    const samples = emptySamples();
    for (let at = 0; at < 100; at += 1) addSample(samples, at, { dsl: at }, 30);
    expect(samples.times).toHaveLength(31);
    addSample(samples, 1e6, { dsl: 1 }, 30);
    expect(samples.times).toHaveLength(31);
    expect(samples.series.get("dsl")?.filter((each) => each !== null)).toEqual([1]);
  });
});

it("stacks on what is there: a gap in one line is a gap in it alone", () => {
  expect(stack([[1, null, 3], [2, 2, null]])).toEqual([
    [[0, 1], null, [0, 3]],
    [[1, 3], [0, 2], null],
  ]);
});
