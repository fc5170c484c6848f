import { describe, expect, it } from "vitest";
import { diff, hunks, merge } from "../src/lib/diff";

const text = (...lines: string[]): string => lines.join("\n");
const shown = (before: string, after: string): string => diff(before, after).map((each) => ({ same: " ", gone: "-", new: "+" })[each.kind] + each.text).join("\n");

describe("diff", () => {
  it("tells what went and came, in place", () => expect(shown(text("a", "b", "c"), text("a", "x", "c", "d"))).toBe(text(" a", "-b", "+x", " c", "+d")));
  it("of equal texts is all the same", () => expect(shown("a\nb", "a\nb")).toBe(" a\n b"));
  it("of nothing and something", () => expect(shown("", "a")).toBe("-\n+a"));
  it("shows only what is near a change", () => {
    const long = Array.from({ length: 30 }, (_, at) => `l${at}`);
    const found = hunks(diff(text(...long), text(...long.map((line, at) => (at === 15 ? "changed" : line)))), 2);
    expect(found.map((each) => each?.text ?? "…")).toEqual(["l13", "l14", "l15", "changed", "l16", "l17"]);
  });
});

describe("merge", () => {
  const base = text("a", "b", "c", "d", "e");
  it("puts edits of different places together", () => expect(merge(base, text("a", "B", "c", "d", "e"), text("a", "b", "c", "d", "e", "f"))).toBe(text("a", "B", "c", "d", "e", "f")));
  it("takes one side where only it changed, also what went", () => expect(merge(base, base, text("a", "e"))).toBe(text("a", "e")));
  it("takes what both did the same once", () => expect(merge(base, text("a", "X", "c", "d", "e"), text("a", "X", "c", "d", "e"))).toBe(text("a", "X", "c", "d", "e")));
  it("does not guess where both touched the same lines", () => expect(merge(base, text("a", "mine", "c", "d", "e"), text("a", "theirs", "c", "d", "e"))).toBeNull());
});
