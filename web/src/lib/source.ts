/** An event source that reconnects by itself, with growing pauses, also where it is silent. Knows no page. */

import { url } from "./api";

const RETRY_MS = [500, 1000, 2000, 4000] as const;
const SILENCE_MS = 20_000; // heartbeats come each 15 s
const OPEN_MS = 6_000; // a request that nobody takes up may hang for as long as the one who should lives on

export class Source {
  isConnected = false;
  #events: EventSource | null = null;
  #tries = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly topics: readonly string[],
    readonly heard: (topic: string, data: string) => void,
    readonly connected: (is: boolean) => void,
  ) {
    this.#open();
  }

  stop(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#events?.close();
    this.#events = null;
  }

  #open(): void {
    const events = new EventSource(url("stream", { topics: this.topics.join(",") }));
    this.#events = events;
    events.onopen = () => this.#alive();
    events.addEventListener("heartbeat", () => this.#alive());
    events.onerror = () => this.#lost();
    for (const topic of this.topics)
      events.addEventListener(topic, (event) => {
        this.#alive();
        this.heard(topic, String((event as MessageEvent).data));
      });
    this.#listen(OPEN_MS);
  }

  #alive(): void {
    this.#tries = 0;
    if (!this.isConnected) {
      this.isConnected = true;
      this.connected(true);
    }
    this.#listen(SILENCE_MS);
  }

  #listen(for_ms: number): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), for_ms);
  }

  #lost(): void {
    this.stop();
    this.isConnected = false;
    this.connected(false);
    this.#retry = setTimeout(() => this.#open(), RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)]);
    this.#tries += 1;
  }
}
