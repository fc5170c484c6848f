/** JSON Schema as the daemon describes configurations, as far as forms need it. Pure. */

export interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly anyOf?: readonly Schema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

export type Value = string | Value[] | { [key: string]: Value } | null;

/** Follow a reference; what stands beside it (a description) counts. */
export function resolve(root: Schema, schema: Schema): Schema {
  if (!schema.$ref) return schema;
  const found = root.$defs?.[schema.$ref.replace("#/$defs/", "")] ?? {};
  return { ...found, ...(schema.description ? { description: schema.description } : {}) };
}

export type Control = "choice" | "switch" | "number" | "list" | "choices" | "lines" | "group" | "text";

/** How a value is asked for. */
export function controlOf(name: string, schema: Schema): Control {
  if (schema.properties) return "group";
  if (schema.enum) return "choice";
  if (schema.type === "boolean") return "switch";
  if (schema.type === "array") return name === "uplinks" ? "lines" : schema.items?.enum ? "choices" : "list";
  return schema.type === "integer" ? "number" : "text";
}

/** "destination_port" as people read it. */
export const labelOf = (name: string): string => (name.charAt(0).toUpperCase() + name.slice(1)).replace(/_/g, " ").replace(/\bmac\b/i, "MAC").replace(/^Dscp/, "DSCP");

/** What somebody typed into a list: entries by commas or lines. */
export const entriesOf = (typed: string): string[] =>
  typed
    .split(/[,\n]/)
    .map((each) => each.trim())
    .filter(Boolean);

/** Leave out what is empty: the configuration's defaults hold for it. */
export function tidy(value: Value): Value {
  if (value === null || typeof value === "string" || Array.isArray(value)) return value;
  const kept = Object.entries(value)
    .map(([key, each]) => [key, tidy(each)] as const)
    .filter(([, each]) => !isEmpty(each));
  return Object.fromEntries(kept);
}

function isEmpty(value: Value): boolean {
  if (value === null || value === "") return true;
  return typeof value === "object" && (Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0);
}
