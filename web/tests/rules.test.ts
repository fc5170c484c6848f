import { describe, expect, it } from "vitest";
import { moved, nextPrecedence, rulesOf, steeringWords, trafficWords, type RuleTree } from "../src/lib/rules";
import { controlOf, entriesOf, resolve, tidy } from "../src/lib/schema";

const rule = (name: string, precedence: number, more: Partial<RuleTree> = {}): RuleTree => ({ name, precedence: String(precedence), steering: { mode: "load-balancing" }, ...more });
const tree = { rules: [rule("late", 30), rule("early", 10), rule("middle", 20)] };
const names = (rules: readonly { rule: RuleTree }[]): string => rules.map((each) => each.rule.name).join();

/** The order after the edits are made. */
function after(edits: readonly { path: string; value: unknown }[]): string {
  const copy = structuredClone(tree);
  for (const edit of edits) copy.rules[Number(/\d+/.exec(edit.path)?.[0])]!.precedence = String(edit.value);
  return names(rulesOf(copy));
}

describe("order", () => {
  it("is that of precedence, not of the text", () => expect(names(rulesOf(tree))).toBe("early,middle,late"));
  it.each([
    [0, 2, "middle,late,early"],
    [2, 0, "late,early,middle"],
    [0, 1, "middle,early,late"],
    [1, 1, "early,middle,late"],
  ])("moved from %i to %i", (from, to, expected) => expect(after(moved(rulesOf(tree), from, to))).toBe(expected));
  it("changes only the precedences that must change", () => expect(moved(rulesOf(tree), 0, 1)).toEqual([{ path: "rules[2].precedence", value: 10 }, { path: "rules[1].precedence", value: 20 }]));
  it("spaces anew where two are the same", () => {
    const same = rulesOf({ rules: [rule("a", 5), rule("b", 5), rule("c", 5)] });
    expect(moved(same, 0, 2).map((each) => each.value)).toEqual([10, 20, 30]);
  });
  it("a new rule comes last, also where no number is free behind", () => {
    expect(nextPrecedence(rulesOf(tree))).toBe(40);
    expect(nextPrecedence(rulesOf({ rules: [rule("a", 255)] }))).toBe(254);
    expect(nextPrecedence([])).toBe(10);
  });
  it("a text without rules has none", () => expect(rulesOf({ rules: null })).toEqual([]));
});

describe("words", () => {
  it("say what a rule is for", () => {
    expect(trafficWords(rule("a", 1))).toBe("everything");
    expect(trafficWords(rule("a", 1, { traffic: { domain: ["*.films.example"], destination_port: ["443"] } }))).toBe("to *.films.example · port 443");
  });
  it("say what becomes of it", () => {
    expect(steeringWords(rule("a", 1))).toBe("load-balancing over all lines");
    expect(steeringWords(rule("a", 1, { steering: { mode: "active-standby", uplinks: ["dsl", "lte"] } }))).toBe("active-standby over dsl → lte");
    expect(steeringWords(rule("a", 1, { steering: { mode: "load-balancing", uplinks: ["dsl", "lte"], weights: ["30", "70"] } }))).toBe("load-balancing over dsl 30 % + lte 70 %");
    expect(steeringWords(rule("a", 1, { steering: { mode: "block" } }))).toBe("blocked");
  });
});

describe("forms from the schema", () => {
  it("follow references and keep the description beside them", () =>
    expect(resolve({ $defs: { A: { type: "object", description: "far" } } }, { $ref: "#/$defs/A", description: "near" })).toMatchObject({ type: "object", description: "near" }));
  it("choose a control", () => {
    expect(controlOf("mode", { enum: ["a"] })).toBe("choice");
    expect(controlOf("uplinks", { type: "array" })).toBe("lines");
    expect(controlOf("source", { type: "array", items: { type: "string" } })).toBe("list");
    expect(controlOf("application", { type: "array", items: { enum: ["voip"] } })).toBe("choices");
    expect(controlOf("rate", { type: ["string", "number"] })).toBe("text");
  });
  it("leave out what is empty", () => expect(tidy({ name: "a", traffic: { source: [], domain: ["x"] }, sending: {}, note: "" })).toEqual({ name: "a", traffic: { domain: ["x"] } }));
  it("split lists by commas and lines", () => expect(entriesOf("a, b\n c,,")).toEqual(["a", "b", "c"]));
});
