import { describe, expect, it } from "vitest";
import type { Status, Uplink } from "../src/lib/types";
import { gatewayWord, sentenceOf, totals, uplinkWhy, uplinkWord } from "../src/lib/words";

function uplink(name: string, more: Partial<Uplink> = {}): Uplink {
  return {
    name, kind: "dsl", interface: name, state: "up", reason: "", rtt_ms: 20, loss: 0, jitter_ms: null, jitter_up_ms: null, jitter_down_ms: null, loss_up: null,
    loss_down: null, down_bps: 1, up_bps: 2, bytes_down: 0, bytes_up: 0, probe_bytes_today: 0, kept_off_bytes: 0, cap_stage: "normal",
    mptcp: { state: "ok", reason: "", age_s: null, capable_ok: 0, capable_failed: 0, joins_ok: 0, joins_failed: 0, joins_lost: 0 }, harmful: [], broken_families: [], ...more,
  };
}
const slow = { direction: "down", reason: "slows the bond (RTT 240 ms)", again_s: 60 };
const status = (state: Status["state"], uplinks: Uplink[], reason = ""): Status => ({ role: "cpe", state, reason, uplinks }) as unknown as Status;

describe("the sentence", () => {
  it("names the lines in use and those withheld, with the reason", () =>
    expect(sentenceOf(status("bonded", [uplink("dsl"), uplink("lte"), uplink("wifi", { harmful: [slow] })]))).toBe(
      "Bonded over dsl + lte. wifi withheld (down): slows the bond (RTT 240 ms).",
    ));
  it("says why it is degraded", () =>
    expect(sentenceOf(status("degraded", [uplink("dsl"), uplink("lte", { state: "down" })], "lte is down (no carrier)."))).toBe(
      "Degraded, over dsl. lte is down (no carrier).",
    ));
  it("says where connections go when nothing is bonded", () =>
    expect(sentenceOf(status("unbonded", [uplink("dsl")], "Gateway hag is down. New connections go directly over the best uplink."))).toMatch(/^Unbonded\. Gateway hag is down/));
});

describe("words for lines", () => {
  it.each([
    [{}, "up", "good"],
    [{ harmful: [slow] }, "withheld", "warn"],
    [{ cap_stage: "cut" }, "cut", "bad"],
    [{ cap_stage: "throttle" }, "throttle", "warn"],
    [{ broken_families: [{ family: 6, reason: "no route" }] }, "limited", "warn"],
    [{ state: "suspect" }, "suspect", "warn"],
    [{ state: "down" }, "down", "bad"],
    [{ state: "disabled" }, "disabled", "idle"],
  ] as [Partial<Uplink>, string, string][])("%j: %s", (more, word, tone) => expect(uplinkWord(uplink("dsl", more))).toEqual({ word, tone }));
  it("collects every reason", () =>
    expect(uplinkWhy(uplink("dsl", { reason: "late", harmful: [slow], broken_families: [{ family: 6, reason: "no route" }] }))).toBe(
      "late; down: slows the bond (RTT 240 ms); IPv6: no route",
    ));
});

it("a draining gateway is up, and says so", () => expect(gatewayWord({ state: "up", draining: true, overloaded: false }).word).toBe("draining"));

it("sums what is known only", () => {
  expect(totals(status("bonded", [uplink("a"), uplink("b", { down_bps: null })]))).toEqual({ down_bps: 1, up_bps: 4 });
  expect(totals(status("bonded", [uplink("a", { down_bps: null, up_bps: null })]))).toEqual({ down_bps: null, up_bps: null });
});
