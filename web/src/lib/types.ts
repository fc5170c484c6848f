/** What the API says, as far as pages read it. Keys are added, never renamed; what is not known is null. */

export type BondState = "bonded" | "degraded" | "unbonded" | "off";
export type Role = "viewer" | "operator" | "admin";

export interface Harm {
  direction: string;
  reason: string;
  again_s: number;
}

export interface Mptcp {
  state: string;
  reason: string;
  age_s: number | null;
  capable_ok: number;
  capable_failed: number;
  joins_ok: number;
  joins_failed: number;
  joins_lost: number;
}

export interface Uplink {
  name: string;
  kind: string;
  interface: string;
  state: string;
  reason: string;
  rtt_ms: number | null;
  loss: number | null;
  jitter_ms: number | null;
  jitter_up_ms: number | null;
  jitter_down_ms: number | null;
  loss_up: number | null;
  loss_down: number | null;
  down_bps: number | null;
  up_bps: number | null;
  bytes_down: number | null;
  bytes_up: number | null;
  probe_bytes_today: number | null;
  kept_off_bytes: number;
  cap_stage: string;
  mptcp: Mptcp;
  harmful: Harm[];
  broken_families: { family: number; reason: string }[];
}

export interface Gateway {
  name: string;
  address: string;
  state: string;
  reason: string;
  draining: boolean;
  overloaded: boolean;
  weight: number;
  rtt_ms: number | null;
  pool_ready: number;
  channel: { state: string; reason: string; uplink: string | null; version: string | null } | null;
}

export interface Worker {
  index: number;
  pid: number | null;
  state: string;
  reason: string;
  listening: boolean;
  starts: number;
  stats: Record<string, unknown>;
}

export interface DataCap {
  name: string;
  uplinks: string[];
  stage: string;
  reason: string;
  percent: number;
  warned_percent: number | null;
  period_begin: string;
  period_end: string;
  used_bytes: number;
  used_down_bytes: number;
  used_up_bytes: number;
  volume_bytes: number | null;
  volume_down_bytes: number | null;
  volume_up_bytes: number | null;
  by_uplink: Record<string, { down: number; up: number }>;
  counted_since: string;
  corrected_at: string | null;
  forecast_bytes: number | null;
  forecast_percent: number | null;
  reached_at: string | null;
  earlier: { period_begin: string; used_bytes: number; used_down_bytes: number; used_up_bytes: number }[];
}

export interface Rival {
  id: string;
  severity: string;
  found: string;
  act: string;
}

export interface Status {
  schema: number;
  role: "cpe" | "hag";
  version: string;
  state: BondState;
  reason: string;
  intercepting: boolean;
  intercepting_ipv6: boolean;
  uplinks: Uplink[];
  gateways: Gateway[];
  workers: Worker[];
  firewall: { enabled: boolean; allowed: number | null; blocked_input: number | null; blocked_forward: number | null } | null;
  flows_active: number;
  config_generation: number;
  pending_confirm_s: number | null;
  config_file_differs: boolean;
  config_notice: string;
  drift: { repairs: number; lost: Record<string, number>; last: { at: string; repaired: string[]; took_ms: number } | null };
  rivals: Rival[];
  data_caps: DataCap[];
}

export interface Subflow {
  uplink: string;
  state: string;
  backup: boolean;
  rtt_ms: number | null;
}

export interface TimelineEntry {
  at_s: number;
  uplink: string;
  event: string;
  reason: string;
}

export interface Flow {
  id: string;
  client: string;
  client_port: number;
  server: string;
  server_port: number;
  domain: string | null;
  path: string;
  gateway: string | null;
  rule: string;
  mode: string;
  why: string;
  state: string;
  bytes_down: number;
  bytes_up: number;
  by_uplink: Record<string, { down: number; up: number }>;
  subflows: Subflow[];
  started_s: number;
  ended_s?: number | null;
  client_name?: string | null;
}

export interface FlowDetail extends Flow {
  timeline?: TimelineEntry[];
  kept_off?: Record<string, number>;
  costs?: Record<string, { cost: number; metered: boolean }>;
  domain_source?: string;
  domain_confidence?: string | null;
}

export interface FlowsDocument {
  schema: number;
  flows: Flow[];
  total?: number;
  incomplete: number[];
}

/** The stream tells of the busiest only, with their rates. */
export interface BusiestFlows {
  flows: (Flow & { down_bps: number; up_bps: number })[];
  total: number;
  incomplete: number[];
}

export interface FlowExplained {
  flow: FlowDetail;
  text: string[];
}

export interface Explanation {
  path: string;
  rule: string;
  mode: string;
  why: string;
  gateway: string | null;
  rules: { name: string; precedence: number | null; result: string; descriptor: string | null; wanted: string | null; found: string | null }[];
  uplinks: { name: string; state: string; use: string; reason: string }[];
  gateways: { name: string; reach: string; reason: string }[];
  notes: string[];
  text: string[];
}

export interface HagEvent {
  id: number;
  at: string;
  kind: string;
  severity: "info" | "good" | "warning" | "problem";
  text: string;
  subject?: string | null;
}

export interface History {
  range: string;
  step_s: number;
  begin_unix_s: number;
  series: Record<string, (number | null)[]>;
}

export interface Issue {
  file?: string;
  line: number | null;
  path: string;
  message: string;
}

export interface Standing {
  generation: number;
  pending_confirm_s: number | null;
  file_differs: boolean;
  notice: string;
}

export interface ConfigDocument extends Standing {
  text: string;
}

export interface Generation {
  number: number;
  created: string;
  by: string;
  note: string;
  result: string;
  reason: string;
}

export interface Planned {
  changes: string[];
  steps: string[];
  obstacles: string[];
}

export interface Outcome {
  result: "in force" | "pending" | "unchanged" | string;
  generation: number;
  changes: string[];
  notice?: string;
}

export interface Me {
  user: string;
  role: Role;
  must_change_password: boolean;
  box_role: "cpe" | "hag";
  expires_unix_s: number | null;
  csrf_token: string | null;
}
