/** Flows as rows of a table: rates from two looks, filter, order that stands still when asked, groups. Pure. */

import type { Flow, TimelineEntry } from "./types";

export interface Row {
  readonly flow: Flow;
  readonly down_bps: number | null;
  readonly up_bps: number | null;
  readonly seen_s: number; // when its bytes were what they are here
}

const BUSIEST_TOLD = 200; // so many flows the stream tells of at the most
const MEASURED_S = 2; // a rate that the stream told so lately is better than one of ours

export type SortKey = "down_bps" | "up_bps" | "bytes_down" | "client" | "server" | "rule" | "started_s";
export type GroupKey = "" | "client" | "rule" | "domain";

export interface Filter {
  readonly q?: string;
  readonly client?: string;
  readonly rule?: string;
  readonly domain?: string;
  readonly uplink?: string;
  readonly path?: string;
  readonly state?: string;
}

export const isOver = (flow: Flow): boolean => flow.state === "closed";

/** An address and its port; a HAG does not know a flow's server before it is asked for one. */
export function endpoint(address: string | null, port: number | null): string {
  if (address === null) return "not named yet";
  if (!port) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export const serverName = (flow: Flow): string => flow.domain ?? flow.server ?? "not named yet";

/** The lines of a flow, in the order in which they stand everywhere. */
export const linesOf = (flow: Flow, lines: readonly string[]): string[] => {
  const own = Object.keys(flow.by_uplink);
  return [...lines.filter((name) => own.includes(name)), ...own.filter((name) => !lines.includes(name))];
};

/** Rates by what each flow carried since it was last seen. */
export function rowsOf(flows: readonly Flow[], before: ReadonlyMap<string, Row>, now_s: number): Row[] {
  return flows.map((flow) => {
    const old = before.get(flow.id);
    const passed_s = old ? now_s - old.seen_s : 0;
    if (!old || passed_s <= 0) return { flow, down_bps: null, up_bps: null, seen_s: now_s };
    if (passed_s < MEASURED_S && old.down_bps !== null) return { ...old, flow, seen_s: now_s };
    const speed = (now: number, then: number): number => Math.max(0, ((now - then) * 8) / passed_s);
    return { flow, down_bps: speed(flow.bytes_down, old.flow.bytes_down), up_bps: speed(flow.bytes_up, old.flow.bytes_up), seen_s: now_s };
  });
}

/** What the stream tells of the busiest flows put into all rows. Others rest, unless there are so many busy ones that it told not all of them. */
export function updated(rows: readonly Row[], told: readonly (Flow & { down_bps: number; up_bps: number })[], now_s: number): Row[] {
  const news = new Map(told.map((each) => [each.id, each]));
  const othersRest = told.length < BUSIEST_TOLD || told.some((each) => each.down_bps + each.up_bps === 0);
  const asRow = (flow: Flow & { down_bps: number; up_bps: number }): Row => ({ flow, down_bps: flow.down_bps, up_bps: flow.up_bps, seen_s: now_s });
  const kept = rows.map((row): Row => {
    const fresh = news.get(row.flow.id);
    if (!fresh) return othersRest && (row.down_bps || row.up_bps) ? { ...row, down_bps: 0, up_bps: 0 } : row;
    news.delete(row.flow.id);
    return asRow(fresh);
  });
  return [...kept, ...[...news.values()].map(asRow)];
}

export function matches(flow: Flow, filter: Filter): boolean {
  if (filter.client && flow.client !== filter.client) return false;
  if (filter.rule && flow.rule !== filter.rule) return false;
  if (filter.domain && serverName(flow) !== filter.domain) return false;
  if (filter.uplink && !(filter.uplink in flow.by_uplink)) return false;
  if (filter.path && flow.path !== filter.path) return false;
  if (filter.state && (filter.state === "live") === isOver(flow)) return false;
  if (!filter.q) return true;
  const wanted = filter.q.toLowerCase();
  const where = [flow.client, flow.server, String(flow.server_port), flow.domain, flow.rule, flow.id];
  return where.some((each) => each?.toLowerCase().includes(wanted));
}

function value(row: Row, key: SortKey): number | string {
  if (key === "server") return serverName(row.flow);
  if (key === "down_bps" || key === "up_bps") return row[key] ?? -1;
  return row.flow[key] ?? "";
}

export function sorted(rows: readonly Row[], key: SortKey, falling: boolean): Row[] {
  const sign = falling ? -1 : 1;
  return [...rows].sort((a, b) => {
    const x = value(a, key);
    const y = value(b, key);
    if (x === y) return a.flow.id < b.flow.id ? -1 : 1;
    return (x < y ? -1 : 1) * sign;
  });
}

/** The order of before, with what is new behind it: for a table that the pointer is over. */
export function inOrderOf(rows: readonly Row[], before: readonly string[]): Row[] {
  const byId = new Map(rows.map((row) => [row.flow.id, row]));
  const kept: Row[] = [];
  for (const id of before) {
    const row = byId.get(id);
    if (row) kept.push(row), byId.delete(id);
  }
  return [...kept, ...byId.values()];
}

export interface Group {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly down_bps: number;
  readonly up_bps: number;
  readonly bytes_down: number;
  readonly bytes_up: number;
}

export function groupName(flow: Flow, by: GroupKey): string {
  if (by === "client") return flow.client;
  if (by === "domain") return serverName(flow);
  return flow.rule ?? "none";
}

/** Groups in the order in which their first row stands. */
export function grouped(rows: readonly Row[], by: GroupKey): Group[] {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const name = groupName(row.flow, by);
    const group = found.get(name);
    if (group) group.push(row);
    else found.set(name, [row]);
  }
  const sum = (group: Row[], of: (row: Row) => number | null): number => group.reduce((all, row) => all + (of(row) ?? 0), 0);
  return [...found].map(([name, group]) => ({
    name,
    rows: group,
    down_bps: sum(group, (row) => row.down_bps),
    up_bps: sum(group, (row) => row.up_bps),
    bytes_down: sum(group, (row) => row.flow.bytes_down),
    bytes_up: sum(group, (row) => row.flow.bytes_up),
  }));
}

/** Shares of what each line carried of a flow, in percent, largest first; empty where nothing was carried. */
export function shares(flow: Flow): { name: string; percent: number }[] {
  const all = Object.entries(flow.by_uplink).map(([name, size]) => ({ name, size: size.down + size.up }));
  const total = all.reduce((sum, each) => sum + each.size, 0);
  if (!total) return all.map(({ name }) => ({ name, percent: 100 / all.length }));
  return all.map(({ name, size }) => ({ name, percent: (size / total) * 100 })).sort((a, b) => b.percent - a.percent);
}

export interface Span {
  readonly from_s: number;
  readonly to_s: number;
  readonly state: "asked" | "carries" | "waits" | "gone";
  readonly event: string;
  readonly reason: string;
}

const MEANS: Readonly<Record<string, Span["state"]>> = {
  asked: "asked",
  established: "carries",
  "in use": "carries",
  overflowing: "carries",
  released: "carries",
  withheld: "waits",
  "in reserve": "waits",
  backup: "waits",
  standby: "waits",
};

/** A flow's timeline as spans by line: from each event to the next one of its line. */
export function spansOf(timeline: readonly TimelineEntry[], end_s: number): Map<string, Span[]> {
  const found = new Map<string, Span[]>();
  timeline.forEach((entry, at) => {
    const next = timeline.slice(at + 1).find((each) => each.uplink === entry.uplink);
    const span: Span = {
      from_s: entry.at_s,
      to_s: Math.max(entry.at_s, next?.at_s ?? end_s),
      state: MEANS[entry.event] ?? "gone",
      event: entry.event,
      reason: entry.reason,
    };
    const known = found.get(entry.uplink);
    if (known) known.push(span);
    else found.set(entry.uplink, [span]);
  });
  return found;
}
