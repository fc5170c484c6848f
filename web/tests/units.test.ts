import { describe, expect, it } from "vitest";
import { axis, bytes, bytesOf, clock, count, countdown, duration, moment, ms, parseBytes, parseRate, percent, rate, rateOf, relative, share, text, unix } from "../src/lib/units";

const plain = (value: string): string => value.replace(/\u202f/g, " ");

describe("rates and sizes", () => {
  it.each([
    [0, "0 bit/s"],
    [999, "999 bit/s"],
    [1000, "1.00 kbit/s"],
    [61_234_000, "61.2 Mbit/s"],
    [999_600, "1.00 Mbit/s"],
    [123_456_789, "123 Mbit/s"],
    [2.5e9, "2.50 Gbit/s"],
  ])("%s bit/s is %s", (bps, expected) => expect(plain(text(rate(bps)))).toBe(expected));

  it("counts bytes in powers of 1000, as contracts do", () => expect(plain(text(bytes(14.2e9)))).toBe("14.2 GB"));
  it("leaves unknown unknown", () => {
    expect(text(rate(null))).toBe("–");
    expect(text(bytes(undefined))).toBe("–");
    expect(text(ms(null))).toBe("–");
    expect(text(share(null))).toBe("–");
    expect(text(rate(Number.NaN))).toBe("–");
  });
  it("writes a part in the unit of the whole", () => {
    expect(plain(text(rateOf(15_800_000, 16e6)))).toBe("15.8 of 16 Mbit/s");
    expect(plain(text(rateOf(200_000, 16e6)))).toBe("0.20 of 16 Mbit/s");
    expect(plain(text(rateOf(null, 16e6)))).toBe("– of 16 Mbit/s");
    expect(plain(text(bytesOf(18.1e9, 50e9)))).toBe("18.1 of 50 GB");
  });
  it("writes an axis without empty decimals", () => {
    expect(plain(axis(rate(60e6)))).toBe("60 Mbit/s");
    expect(plain(axis(rate(2.5e6)))).toBe("2.5 Mbit/s");
    expect(plain(axis(rate(0)))).toBe("0 bit/s");
  });
  it("reads what people type", () => {
    expect(parseBytes("12.3 GB")).toBe(12_300_000_000);
    expect(parseBytes("12,3gb")).toBe(12_300_000_000);
    expect(parseBytes("12 parsecs")).toBeNull();
    expect(parseRate("16 Mbit/s")).toBe(16e6);
    expect(parseRate("512 kbit/s")).toBe(512e3);
    expect(parseRate("16000000")).toBe(16e6);
    expect(parseRate(undefined)).toBeNull();
  });
  it("groups large counts", () => expect(plain(count(1234567))).toBe("1 234 567"));
});

describe("shares", () => {
  it.each([
    [0, "0.0 %"],
    [0.031, "3.1 %"],
    [0.972, "97 %"],
  ])("%s is %s", (value, expected) => expect(plain(text(share(value)))).toBe(expected));
  it("is percent already", () => expect(plain(text(percent(122)))).toBe("122 %"));
});

describe("times", () => {
  it.each([
    [0, "0 s"],
    [59.4, "59 s"],
    [125, "2 min 5 s"],
    [600, "10 min"],
    [7800, "2 h 10 min"],
    [86_400, "1 day"],
    [9 * 86_400, "9 days"],
  ])("%s s is %s", (seconds, expected) => expect(plain(duration(seconds))).toBe(expected));

  const at = (iso: string): number => Date.parse(iso) / 1000;
  it("leaves out what today and this year make plain", () => {
    const now = at("2026-11-23T14:30:00");
    expect(moment(at("2026-11-23T14:02:07"), now)).toBe("14:02");
    expect(moment(at("2026-11-22T14:02:07"), now)).toBe("22 Nov 14:02");
    expect(moment(at("2025-11-22T14:02:07"), now)).toBe("22 Nov 2025");
    expect(moment(null, now)).toBe("–");
    expect(clock(at("2026-11-23T14:02:07"))).toBe("14:02:07");
  });
  it("counts down to the last second", () => {
    expect(countdown(61.2)).toBe("1:02");
    expect(countdown(-3)).toBe("0:00");
  });
  it("says which way", () => {
    expect(plain(relative(100, 104))).toBe("4 s ago");
    expect(plain(relative(9 * 86_400, 0))).toBe("in 9 days");
    expect(relative(5, 5.4)).toBe("now");
  });
  it("reads ISO times and numbers", () => {
    expect(unix("1970-01-01T00:00:10+00:00")).toBe(10);
    expect(unix(12)).toBe(12);
    expect(unix("no time")).toBeNull();
    expect(unix(null)).toBeNull();
  });
});
