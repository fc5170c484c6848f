/** What is true now: the status document, rates of the last minutes, events. One stream feeds every page. */

import { get, Problem } from "./api";
import { addSample, emptySamples, type Samples } from "./ring";
import { session } from "./session.svelte";
import { Stream } from "./stream";
import type { HagEvent, History, Status } from "./types";
import { unix } from "./units";

export const KEEP_S = 300;
const EVENTS_KEPT = 200;
const FRESH_S = 5;
const TOPICS = ["status", "events", "changes"] as const;

class Live {
  status = $state.raw<Status | null>(null);
  events = $state.raw<readonly HagEvent[]>([]);
  toldEvents = $state(false); // else there may be some that we have not been told of yet
  connected = $state(false);
  heard_s = $state(0);
  pendingUntil_s = $state<number | null>(null);
  changes = $state(0); // grows with every change of the configuration: look again
  samples = $state.raw<{ readonly of: Samples }>({ of: emptySamples() });
  #stream: Stream | null = null;
  #begun = false;
  #filled_s = 0;
  #ahead: Promise<Status> | null = null;
  #listeners = new Set<(topic: string, data: unknown) => void>();
  #wanted = new Map<string, number>();

  /** Ask already while it is found out who is logged in: nearly always somebody is, and a page is to be read at once. */
  ask(): void {
    const ahead = get<Status>("status");
    this.#ahead = ahead;
    ahead.catch(() => {
      if (this.#ahead === ahead) this.#ahead = null; // nobody was logged in
    });
  }

  start(): void {
    if (this.#begun) return;
    this.#begun = true;
    void this.#fill(() => this.#begun && !this.#stream && this.#listen()); // the stream's worker does not delay the first look
  }

  #listen(): void {
    this.#stream?.stop();
    this.#stream = new Stream([...TOPICS, ...this.#wanted.keys()], (topic, data) => this.#hear(topic, data), (is) => this.#connect(is));
  }

  /** Hear another topic for as long as a page needs it; returns what ends it. */
  want(topic: string, listener: (data: unknown) => void): () => void {
    const before = this.#wanted.get(topic) ?? 0;
    this.#wanted.set(topic, before + 1);
    const own = (told: string, data: unknown): void => void (told === topic && listener(data));
    this.#listeners.add(own);
    if (!before && this.#stream) this.#listen();
    return () => {
      this.#listeners.delete(own);
      const left = (this.#wanted.get(topic) ?? 1) - 1;
      if (left) this.#wanted.set(topic, left);
      else this.#wanted.delete(topic); // the stream goes on as it is until another topic is wanted
    };
  }

  stop(): void {
    this.#begun = false;
    this.#stream?.stop();
    this.#stream = null;
    this.connected = false;
  }

  /** Names of the lines in the order of the configuration, which is that of their colours. */
  get lines(): string[] {
    return this.status?.uplinks.map((each) => each.name) ?? [];
  }

  take(status: Status): void {
    const now_s = Date.now() / 1000;
    this.status = status;
    this.heard_s = now_s;
    const until = status.pending_confirm_s === null ? null : now_s + status.pending_confirm_s;
    if (until === null || this.pendingUntil_s === null || Math.abs(until - this.pendingUntil_s) > 1.5) this.pendingUntil_s = until;
    const values: Record<string, number | null> = {};
    for (const each of status.uplinks) {
      values[`${each.name}.down`] = each.down_bps;
      values[`${each.name}.up`] = each.up_bps;
    }
    addSample(this.samples.of, now_s, values, KEEP_S);
    this.samples = { of: this.samples.of };
  }

  async refresh(): Promise<void> {
    const ahead = this.#ahead;
    this.#ahead = null;
    this.take(await (ahead ?? get<Status>("status")));
  }

  #connect(is: boolean): void {
    if (is && !this.connected) {
      if (Date.now() / 1000 - this.#filled_s < FRESH_S) void this.#catchUp();
      else {
        void this.#fill();
        this.changes += 1;
      }
    }
    this.connected = is;
  }

  #hear(topic: string, data: unknown): void {
    if (topic === "login-lost") {
      this.stop();
      void session.look();
    } else if (topic === "status") this.take(data as Status);
    else if (topic === "events") this.#note(data as HagEvent | { events: HagEvent[] });
    else if (topic === "changes") this.changes += 1;
    for (const each of this.#listeners) each(topic, data);
  }

  #note(data: HagEvent | { events: HagEvent[] }): void {
    const news = "events" in data ? data.events : [data];
    const known = new Map(this.events.map((each) => [each.id, each]));
    for (const each of news) known.set(each.id, each);
    this.events = [...known.values()].sort((a, b) => b.id - a.id).slice(0, EVENTS_KEPT);
  }

  async #fill(seen: () => unknown = () => undefined): Promise<void> {
    this.#filled_s = Date.now() / 1000;
    try {
      const [past, events] = await Promise.all([
        get<History>("history", { range: "1h", series: "uplink.*.down_bps,uplink.*.up_bps" }),
        get<{ events: HagEvent[] }>("events", { limit: EVENTS_KEPT }),
        this.refresh().finally(seen),
      ]);
      this.#note(events);
      this.toldEvents = true;
      this.#fillSamples(past);
    } catch (error) {
      this.#filled_s = 0;
      if (!(error instanceof Problem)) throw error; // the stream goes on trying
    }
  }

  /** What happened between the first look and the stream's begin: the status comes by itself. */
  async #catchUp(): Promise<void> {
    const generation = this.status?.config_generation;
    try {
      this.#note(await get<{ events: HagEvent[] }>("events", { limit: EVENTS_KEPT }));
      await this.refresh();
      if (this.status?.config_generation !== generation) this.changes += 1;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }

  /** Put the stored last minutes before what was heard since. */
  #fillSamples(past: History): void {
    const heard = this.samples.of;
    const filled = emptySamples(1);
    const now_s = Date.now() / 1000;
    const lines = this.lines;
    const steps = Math.max(0, ...lines.map((name) => past.series[`uplink.${name}.down_bps`]?.length ?? 0));
    for (let at = 0; at < steps; at += 1) {
      const t = past.begin_unix_s + at * past.step_s;
      if (t < now_s - KEEP_S || t >= (heard.times[0] ?? Infinity)) continue;
      const values: Record<string, number | null> = {};
      for (const name of lines) {
        values[`${name}.down`] = past.series[`uplink.${name}.down_bps`]?.[at] ?? null;
        values[`${name}.up`] = past.series[`uplink.${name}.up_bps`]?.[at] ?? null;
      }
      addSample(filled, t, values, KEEP_S);
    }
    heard.times.forEach((t, at) => {
      addSample(filled, t, Object.fromEntries([...heard.series].map(([name, each]) => [name, each[at] ?? null])), KEEP_S);
    });
    this.samples = { of: filled };
  }

  isFresh(now_s: number): boolean {
    return now_s - this.heard_s < FRESH_S;
  }
}

export const live = new Live();

/** When an event happened, in seconds since 1970. */
export const eventTime = (event: HagEvent): number => unix(event.at) ?? 0;
