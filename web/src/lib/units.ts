/** Units and times as every page writes them. Pure: the moment of "now" is an argument. */

export const UNKNOWN = "–";
const THIN = "\u202f"; // narrow no-break space between a figure and its unit

export interface Figure {
  readonly value: string;
  readonly unit: string;
}

/** A figure as one text. */
export function text(figure: Figure): string {
  return figure.unit ? `${figure.value}${THIN}${figure.unit}` : figure.value;
}

/** Three significant digits, never more than one decimal from 10 on. */
function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 9.995) return size >= 99.95 ? value.toFixed(0) : value.toFixed(1);
  return size === 0 ? "0" : value.toFixed(2);
}

function scaled(value: number | null | undefined, base: number, units: readonly string[]): Figure {
  if (value === null || value === undefined || !Number.isFinite(value)) return { value: UNKNOWN, unit: "" };
  let size = value;
  let step = 0;
  while (Math.abs(size) >= 999.5 && step < units.length - 1) {
    size /= base;
    step += 1;
  }
  return { value: step === 0 ? Math.round(size).toString() : digits(size), unit: units[step] ?? "" };
}

const RATES = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"] as const;
const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Bits per second. */
export const rate = (bps: number | null | undefined): Figure => scaled(bps, 1000, RATES);
/** Bytes, in powers of 1000 as contracts count them. */
export const bytes = (size: number | null | undefined): Figure => scaled(size, 1000, SIZES);

/** "15.8 of 16 Mbit/s": both in the unit of the larger. */
export function rateOf(bps: number | null, limit: number | null): Figure {
  if (limit === null || (bps ?? 0) > limit * 1.05) return rate(bps); // more than was configured: that figure is no limit
  const whole = rate(limit);
  const step = RATES.indexOf(whole.unit as (typeof RATES)[number]);
  const part = bps === null ? UNKNOWN : digits(bps / 1000 ** Math.max(step, 0));
  return { value: `${part} of ${whole.value.replace(/\.0+$/, "")}`, unit: whole.unit };
}

/** "18.1 of 50 GB". */
export function bytesOf(size: number, limit: number | null): Figure {
  if (limit === null) return bytes(size);
  const whole = bytes(limit);
  const step = SIZES.indexOf(whole.unit as (typeof SIZES)[number]);
  return { value: `${digits(size / 1000 ** Math.max(step, 0))} of ${whole.value.replace(/\.0+$/, "")}`, unit: whole.unit };
}

/** A round figure for an axis: "60 Mbit/s", not "60.0 Mbit/s". */
export const axis = (figure: Figure): string => text({ ...figure, value: figure.value.replace(/\.0+$/, "").replace(/(\.\d)0$/, "$1") });

/** Milliseconds; below 10 with one decimal. */
export function ms(value: number | null | undefined): Figure {
  if (value === null || value === undefined) return { value: UNKNOWN, unit: "" };
  return { value: value < 9.95 ? value.toFixed(1) : Math.round(value).toString(), unit: "ms" };
}

/** A share of 1 as percent, with one decimal below 10 %. */
export function share(value: number | null | undefined): Figure {
  if (value === null || value === undefined) return { value: UNKNOWN, unit: "" };
  return percent(value * 100);
}

export function percent(value: number | null | undefined): Figure {
  if (value === null || value === undefined) return { value: UNKNOWN, unit: "" };
  return { value: Math.abs(value) < 9.95 ? value.toFixed(1) : Math.round(value).toString(), unit: "%" };
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, THIN);
}

/** "4 s", "3 min 5 s", "2 h 10 min", "9 days". */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}${THIN}s`;
  if (s < 3600) return s % 60 && s < 600 ? `${Math.floor(s / 60)}${THIN}min ${s % 60}${THIN}s` : `${Math.floor(s / 60)}${THIN}min`;
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return minutes ? `${Math.floor(s / 3600)}${THIN}h ${minutes}${THIN}min` : `${Math.floor(s / 3600)}${THIN}h`;
  }
  const days = Math.floor(s / 86400);
  return days === 1 ? "1 day" : `${days} days`;
}

/** A countdown that is read aloud and seen: "0:42". */
export function countdown(seconds: number): string {
  const s = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(s / 60)}:${(s % 60).toString().padStart(2, "0")}`;
}

const two = (value: number): string => value.toString().padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

/** "14:02:07" */
export function clock(unix_s: number): string {
  const at = new Date(unix_s * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** "14:02" today, "22 Nov 14:02" this year, "22 Nov 2025" before. */
export function moment(unix_s: number | null | undefined, now_s: number): string {
  if (unix_s === null || unix_s === undefined || !Number.isFinite(unix_s)) return UNKNOWN;
  const at = new Date(unix_s * 1000);
  const now = new Date(now_s * 1000);
  const hours = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (at.toDateString() === now.toDateString()) return hours;
  const day = `${at.getDate()} ${MONTHS[at.getMonth()] ?? ""}`;
  return at.getFullYear() === now.getFullYear() ? `${day} ${hours}` : `${day} ${at.getFullYear()}`;
}

/** "4 s ago", "in 9 days". */
export function relative(unix_s: number, now_s: number): string {
  const away = unix_s - now_s;
  if (Math.abs(away) < 1) return "now";
  return away < 0 ? `${duration(-away)} ago` : `in ${duration(away)}`;
}

/** Seconds since 1970 of an ISO time (local where it has no zone), a number of seconds, or null. */
export function unix(value: string | number | null | undefined): number | null {
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "number") return value;
  const parsed = Date.parse(value);
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 };

/** Bytes of what somebody typed: "12.3 GB"; null where it is no size. */
export function parseBytes(typed: string): number | null {
  const found = /^\s*(\d+(?:[.,]\d+)?)\s*([kmgt]?b)\s*$/i.exec(typed);
  const factor = SIZE_UNITS[(found?.[2] ?? "").toLowerCase()];
  if (!found?.[1] || factor === undefined) return null;
  return Math.round(Number(found[1].replace(",", ".")) * factor);
}

const RATE_UNITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** Bit/s of a rate as the configuration writes it: "16 Mbit/s", "512 kbit/s", "16000000"; null where it is none. */
export function parseRate(written: unknown): number | null {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(?:([kmg]?bit)(?:\/s)?)?\s*$/i.exec(String(written ?? ""));
  if (!found?.[1]) return null;
  return Number(found[1]) * (RATE_UNITS[(found[2] ?? "bit").toLowerCase()] ?? 1);
}
