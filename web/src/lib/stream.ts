/** Hears the daemon's events and reconnects by itself; a tab that nobody looks at does not listen. */

import { get, Problem, url } from "./api";

export type Heard = (topic: string, data: unknown) => void;
export type Connected = (is: boolean) => void;

const RETRY_MS = [500, 1000, 2000, 4000] as const;
const SILENCE_MS = 20_000; // heartbeats come each 15 s
const HIDDEN_MS = 10_000;

export class Stream {
  #source: EventSource | null = null;
  #tries = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(
    readonly topics: readonly string[],
    readonly heard: Heard,
    readonly connected: Connected,
  ) {
    document.addEventListener("visibilitychange", this.#seen);
    addEventListener("online", this.#again);
    this.#open();
  }

  stop(): void {
    this.#stopped = true;
    document.removeEventListener("visibilitychange", this.#seen);
    removeEventListener("online", this.#again);
    clearTimeout(this.#hidden);
    this.#close();
  }

  #seen = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN_MS);
    else if (!this.#source) this.#again();
  };

  #again = (): void => {
    this.#tries = 0;
    this.#close();
    this.#open();
  };

  #close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #open(): void {
    if (this.#stopped) return;
    const source = new EventSource(url("stream", { topics: this.topics.join(",") }));
    this.#source = source;
    source.onopen = () => this.#alive();
    source.onmessage = () => this.#alive();
    source.addEventListener("heartbeat", () => this.#alive());
    source.onerror = () => void this.#lost();
    for (const topic of this.topics)
      source.addEventListener(topic, (event) => {
        this.#alive();
        this.heard(topic, JSON.parse(String((event as MessageEvent).data)));
      });
    this.#listen();
  }

  #alive(): void {
    this.#tries = 0;
    this.connected(true);
    this.#listen();
  }

  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => void this.#lost(), SILENCE_MS);
  }

  async #lost(): Promise<void> {
    this.#close();
    this.connected(false);
    const wait = RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)] ?? 4000;
    this.#tries += 1;
    this.#retry = setTimeout(() => this.#open(), wait);
    try {
      await get("session"); // an EventSource does not tell a lost login from a lost daemon
    } catch (error) {
      if (error instanceof Problem && error.status === 401) loginLost(this);
    }
  }
}

function loginLost(stream: Stream): void {
  stream.stop();
  stream.heard("login-lost", null);
}
