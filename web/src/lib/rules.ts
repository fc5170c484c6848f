/** Rules as the configuration's tree has them: every scalar is text. Pure. */

import type { Edit } from "./draft.svelte";

export interface RuleTree {
  name: string;
  precedence: string;
  traffic?: Record<string, string[]> | null;
  steering: { mode: string; uplinks?: string[]; standby?: string; weights?: string[]; sending?: unknown };
}

export interface Placed {
  readonly index: number; // where it stands in the text
  readonly rule: RuleTree;
}

const PRECEDENCE_MAX = 255;
const STEP = 10;

export function rulesOf(tree: Record<string, unknown> | null): Placed[] {
  const rules = Array.isArray(tree?.["rules"]) ? (tree["rules"] as RuleTree[]) : [];
  return rules
    .map((rule, index) => ({ rule, index }))
    .filter((each) => typeof each.rule === "object" && each.rule !== null)
    .sort((a, b) => precedence(a.rule) - precedence(b.rule) || a.index - b.index);
}

const precedence = (rule: RuleTree): number => Number(rule.precedence) || 0;

/** What moves a rule from one place of the order to another: precedences change hands, nothing else does. */
export function moved(rules: readonly Placed[], from: number, to: number): Edit[] {
  const order = [...rules];
  const [taken] = order.splice(from, 1);
  if (!taken) return [];
  order.splice(to, 0, taken);
  const numbers = spaced(rules.map((each) => precedence(each.rule)));
  return order.flatMap((each, at): Edit[] =>
    precedence(each.rule) === numbers[at] ? [] : [{ path: `rules[${each.index}].precedence`, value: numbers[at] }],
  );
}

/** The same numbers where each is larger than the one before; else evenly spaced ones. */
function spaced(numbers: readonly number[]): number[] {
  if (numbers.every((each, at) => at === 0 || each > numbers[at - 1]!)) return [...numbers];
  const step = Math.max(1, Math.min(STEP, Math.floor(PRECEDENCE_MAX / Math.max(1, numbers.length))));
  return numbers.map((_, at) => Math.min(PRECEDENCE_MAX, (at + 1) * step));
}

/** A precedence behind all others. */
export function nextPrecedence(rules: readonly Placed[]): number {
  const most = Math.max(0, ...rules.map((each) => precedence(each.rule)));
  if (most + STEP <= PRECEDENCE_MAX) return most + STEP;
  const taken = new Set(rules.map((each) => precedence(each.rule)));
  for (let free = PRECEDENCE_MAX; free >= 0; free -= 1) if (!taken.has(free)) return free;
  return PRECEDENCE_MAX;
}

const WORDS: Readonly<Record<string, string>> = {
  source: "from",
  source_mac: "from",
  source_interface: "from",
  destination: "to",
  destination_port: "port",
  protocol: "protocol",
  dscp: "DSCP",
  domain: "to",
  application: "application",
  time: "at",
};

/** What a rule is for, in a few words. */
export function trafficWords(rule: RuleTree): string {
  const parts = Object.entries(rule.traffic ?? {})
    .filter(([, values]) => Array.isArray(values) && values.length)
    .map(([key, values]) => `${WORDS[key] ?? key} ${values.join(", ")}`);
  return parts.length ? parts.join(" · ") : "everything";
}

/** What becomes of it, in a few words. */
export function steeringWords(rule: RuleTree): string {
  const { mode, uplinks = [], weights = [] } = rule.steering ?? { mode: "?" };
  if (mode === "block") return "blocked";
  if (mode === "direct" && !uplinks.length) return "direct over the best line";
  const lines = uplinks.map((name, at) => (weights[at] ? `${name} ${weights[at]} %` : name));
  const joint = mode === "load-balancing" ? " + " : " → ";
  return `${mode} over ${lines.length ? lines.join(joint) : "all lines"}`;
}
