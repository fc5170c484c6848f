import { describe, expect, it } from "vitest";
import { endpoint, grouped, inOrderOf, matches, rowsOf, shares, sorted, spansOf, updated, type Row } from "../src/lib/flows";
import type { Flow } from "../src/lib/types";

function flow(id: string, more: Partial<Flow> = {}): Flow {
  return {
    id, client: "192.168.77.2", client_port: 40000, server: "203.0.113.10", server_port: 443, domain: null, path: "converted", gateway: "hag",
    rule: "default", mode: "load-balancing", why: "", state: "active", bytes_down: 0, bytes_up: 0, by_uplink: {}, subflows: [], started_s: 0, ...more,
  };
}
const row = (id: string, down_bps: number, more: Partial<Flow> = {}): Row => ({ flow: flow(id, more), down_bps, up_bps: 0, seen_s: 0 });
const byId = (rows: readonly Row[]): Map<string, Row> => new Map(rows.map((each) => [each.flow.id, each]));
const ids = (rows: readonly Row[]): string => rows.map((each) => each.flow.id).join();

describe("rates", () => {
  it("come from two looks", () => {
    const first = rowsOf([flow("a", { bytes_down: 1000 })], new Map(), 0);
    expect(first[0]?.down_bps).toBeNull();
    const second = rowsOf([flow("a", { bytes_down: 3000 }), flow("b")], byId(first), 2);
    expect(second.map((each) => each.down_bps)).toEqual([8000, null]);
  });
  it("are those of the stream where it told of the flow just now: its bytes are younger than our last look", () => {
    const asked = rowsOf([flow("a"), flow("b")], new Map(), 0);
    const told = updated(asked, [{ ...flow("a", { bytes_down: 4500 }), down_bps: 8000, up_bps: 0 }], 4.5);
    const again = rowsOf([flow("a", { bytes_down: 5000 }), flow("b", { bytes_down: 5000 })], byId(told), 5);
    expect(again.map((each) => each.down_bps)).toEqual([8000, 8000]);
  });
  it("stay where there are more busy flows than the stream tells of", () => {
    const rows = [row("quiet", 5)];
    const busy = Array.from({ length: 200 }, (_, at) => ({ ...flow(`b${at}`), down_bps: 9, up_bps: 0 }));
    expect(updated(rows, busy, 1)[0]?.down_bps).toBe(5);
    expect(updated(rows, busy.slice(1), 1)[0]?.down_bps).toBe(0);
    expect(updated(rows, [...busy.slice(1), { ...flow("z"), down_bps: 0, up_bps: 0 }], 1)[0]?.down_bps).toBe(0);
  });
});

describe("order", () => {
  const rows = [row("a", 1), row("b", 3), row("c", 2)];
  it("sorts either way, equal ones by id", () => {
    expect(ids(sorted(rows, "down_bps", true))).toBe("b,c,a");
    expect(ids(sorted(rows, "down_bps", false))).toBe("a,c,b");
    expect(ids(sorted([row("z", 1), row("y", 1)], "down_bps", true))).toBe("y,z");
  });
  it("stands still under the pointer, new ones come behind", () => {
    expect(ids(inOrderOf([...rows, row("d", 9)], ["c", "gone", "a"]))).toBe("c,a,b,d");
  });
});

describe("filter", () => {
  const one = flow("a", { domain: "films.example", by_uplink: { dsl: { down: 1, up: 0 } }, rule: "films" });
  it.each([
    [{}, true],
    [{ q: "FILMS" }, true],
    [{ q: "443" }, true],
    [{ q: "nothing" }, false],
    [{ uplink: "dsl" }, true],
    [{ uplink: "lte" }, false],
    [{ rule: "films", client: "192.168.77.2", path: "converted" }, true],
    [{ path: "direct" }, false],
    [{ domain: "films.example" }, true],
    [{ state: "live" }, true],
    [{ state: "over" }, false],
  ])("%j: %s", (filter, expected) => expect(matches(one, filter)).toBe(expected));
});

it("groups add up and stand where their first row stands", () => {
  const groups = grouped([row("a", 5, { rule: "x", bytes_down: 10 }), row("b", 4, { rule: "y" }), row("c", 3, { rule: "x", bytes_down: 5 })], "rule");
  expect(groups.map((each) => [each.name, each.rows.length, each.down_bps, each.bytes_down])).toEqual([["x", 2, 8, 15], ["y", 1, 4, 0]]);
});

it("shares of lines add up, the largest first", () => {
  expect(shares(flow("a", { by_uplink: { dsl: { down: 1, up: 0 }, lte: { down: 2, up: 1 } } }))).toEqual([{ name: "lte", percent: 75 }, { name: "dsl", percent: 25 }]);
  expect(shares(flow("a"))).toEqual([]);
});

it("writes IPv6 endpoints in brackets", () => {
  expect(endpoint("fd77::2", 80)).toBe("[fd77::2]:80");
  expect(endpoint("192.0.2.1", 80)).toBe("192.0.2.1:80");
});

it("a timeline is spans by line, the last one up to now", () => {
  const spans = spansOf(
    [
      { at_s: -3, uplink: "dsl", event: "asked", reason: "" },
      { at_s: -2.9, uplink: "dsl", event: "established", reason: "" },
      { at_s: 1, uplink: "lte", event: "withheld", reason: "slow" },
      { at_s: 4, uplink: "dsl", event: "withdrawn", reason: "suspect" },
    ],
    10,
  );
  expect(spans.get("dsl")?.map((each) => [each.from_s, each.to_s, each.state])).toEqual([[-3, -2.9, "asked"], [-2.9, 4, "carries"], [4, 10, "gone"]]);
  expect(spans.get("lte")?.[0]).toMatchObject({ to_s: 10, state: "waits", reason: "slow" });
});

describe("what the stream tells of the busiest", () => {
  const told = (id: string, down_bps: number): Flow & { down_bps: number; up_bps: number } => ({ ...flow(id), down_bps, up_bps: 1 });
  it("is put into all rows; new ones come behind, the others rest", () => {
    const rows = updated([row("a", 9), row("b", 9), row("idle", 0)], [told("b", 3), told("new", 2)], 1);
    expect(rows.map((each) => [each.flow.id, each.down_bps])).toEqual([["a", 0], ["b", 3], ["idle", 0], ["new", 2]]);
  });
});
