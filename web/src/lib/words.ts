/** The sentence at the top of every page, and the words for states. Pure. */

import type { Status, Uplink } from "./types";

export type Tone = "good" | "warn" | "bad" | "idle";

export interface Word {
  readonly tone: Tone;
  readonly word: string;
}

/** How a line is: its state, or what it is kept from though it is up. */
export function uplinkWord(uplink: Uplink): Word {
  switch (uplink.state) {
    case "up":
      if (uplink.cap_stage === "cut") return { tone: "bad", word: "cut" };
      if (uplink.harmful.length) return { tone: "warn", word: "withheld" };
      if (uplink.cap_stage !== "normal" && uplink.cap_stage !== "") return { tone: "warn", word: uplink.cap_stage };
      if (uplink.broken_families.length || isStripped(uplink)) return { tone: "warn", word: "limited" };
      return { tone: "good", word: "up" };
    case "suspect":
      return { tone: "warn", word: "suspect" };
    case "down":
      return { tone: "bad", word: "down" };
    case "disabled":
      return { tone: "idle", word: "disabled" };
    default:
      return { tone: "idle", word: uplink.state || "unknown" };
  }
}

export function isStripped(uplink: Uplink): boolean {
  return uplink.mptcp.state === "stripped" || uplink.mptcp.state === "join-stripped";
}

/** Whether what was measured of a line is of now: a line that is down has not been heard since. */
export const answers = (uplink: Uplink): boolean => uplink.state === "up" || uplink.state === "suspect";

/** Why a line is as it is, "" where there is nothing to say. */
export function uplinkWhy(uplink: Uplink): string {
  const harm = uplink.harmful.map((each) => `${each.direction}: ${each.reason}`).join("; ");
  const families = uplink.broken_families.map((each) => `IPv${each.family}: ${each.reason}`).join("; ");
  return [uplink.reason, harm, families, isStripped(uplink) ? uplink.mptcp.reason : ""].filter(Boolean).join("; ");
}

export function stateWord(state: string): Word {
  switch (state) {
    case "bonded":
      return { tone: "good", word: "Bonded" };
    case "degraded":
      return { tone: "warn", word: "Degraded" };
    case "unbonded":
      return { tone: "bad", word: "Unbonded" };
    case "off":
      return { tone: "bad", word: "Off" };
    default:
      return { tone: "idle", word: state };
  }
}

export function gatewayWord(gateway: { state: string; draining: boolean; overloaded: boolean }): Word {
  if (gateway.state === "up" && gateway.draining) return { tone: "warn", word: "draining" };
  if (gateway.state === "up" && gateway.overloaded) return { tone: "warn", word: "overloaded" };
  if (gateway.state === "up") return { tone: "good", word: "up" };
  return { tone: gateway.state === "down" ? "bad" : "idle", word: gateway.state };
}

/** Health in one sentence, as the rule of the page: state, lines in use, and what is not as it should be. */
export function sentenceOf(status: Status): string {
  if (status.role === "hag") return status.state === "bonded" ? `Serving. ${status.reason}` : `${stateWord(status.state).word}. ${status.reason}`;
  const used = status.uplinks.filter((each) => each.state === "up" && !each.harmful.length && each.cap_stage !== "cut");
  const lines = used.map((each) => each.name).join(" + ");
  const withheld = status.uplinks
    .filter((each) => each.state === "up" && each.harmful.length)
    .map((each) => ` ${each.name} withheld (${each.harmful[0]?.direction ?? ""}): ${each.harmful[0]?.reason ?? ""}.`)
    .join("")
    .replace(/\.\./g, ".");
  if (status.state === "bonded") return `Bonded over ${lines || "no line"}.${withheld}`;
  if (status.state === "degraded") return `Degraded${lines ? `, over ${lines}` : ""}. ${status.reason}`;
  return `${stateWord(status.state).word}. ${status.reason}`;
}

/** Rates over all lines, null while none is known. */
export function totals(status: Status): { down_bps: number | null; up_bps: number | null } {
  const sum = (key: "down_bps" | "up_bps"): number | null => {
    const known = status.uplinks.map((each) => each[key]).filter((each) => each !== null);
    return known.length ? known.reduce((a, b) => a + b, 0) : null;
  };
  return { down_bps: sum("down_bps"), up_bps: sum("up_bps") };
}

/** How the steering modes are called where a person chooses. */
export const MODES: Readonly<Record<string, string>> = {
  "load-balancing": "Load balancing: all lines at once, as fast as possible",
  "priority-based": "Priority: fill the first line, then the next",
  "active-standby": "Active-standby: one line, the next if it fails",
  "smallest-delay": "Smallest delay: the quickest line",
  redundant: "Redundant: ask over two lines at once, the first answer wins",
  direct: "Direct: not through the gateway, one line",
  block: "Block: refuse the connection",
};
