/** What the API says: the types are made of its OpenAPI description (`npm run types`); these are our names for them. */

import type { components } from "./openapi";

type Schemas = components["schemas"];

export type BondState = Schemas["StatusDocument"]["state"];
export type Role = Schemas["UserBody"]["role"];
export type Status = Schemas["StatusDocument"];
export type Uplink = Schemas["UplinkStatus"];
export type Gateway = Schemas["GatewayStatus"];
export type DataCap = Schemas["DataCapStatus"];
export type Subflow = Schemas["Subflow"];
export type TimelineEntry = Schemas["FlowEvent"];
export type FlowDetail = Schemas["FlowTold"];
export type Flow = Schemas["FlowEntry"];
export type FlowsDocument = Schemas["FlowsPage"];
export type FlowExplained = Schemas["FlowDocument"];
export type Explanation = Schemas["ExplainDocument"];
export type HagEvent = Schemas["EventEntry"];
export type History = Schemas["HistoryDocument"];
export type ConfigDocument = Schemas["ConfigDocument"];
export type Generation = Schemas["GenerationEntry"];
export type Generations = Schemas["GenerationsDocument"];
export type Planned = Schemas["PlanDocument"];
export type Outcome = Schemas["OutcomeDocument"];
export type Difference = Schemas["DiffDocument"];
export type Edited = Schemas["EditDocument"];
export type Customer = Schemas["CustomerEntry"];
export type SpeedTest = Schemas["SpeedtestDocument"];
export type Finding = Schemas["FindingEntry"];

/** The stream tells of the busiest only, with their rates. */
export interface BusiestFlows {
  flows: (Flow & { down_bps: number; up_bps: number })[];
  total: number;
  incomplete: number[];
}

/** Who is logged in, as `GET session` answers. */
export interface Me {
  user: string;
  role: Role;
  must_change_password: boolean;
  box_role: "cpe" | "hag";
  expires_unix_s: number | null;
  csrf_token: string | null;
  certificate_sha256: string | null;
}
