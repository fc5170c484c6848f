/** Hears the daemon's events, over one connection for all tabs where the browser can; a tab that nobody looks at does not listen. */

import { get, Problem } from "./api";
import { Source } from "./source";

export type Heard = (topic: string, data: unknown) => void;
export type Connected = (is: boolean) => void;

const HIDDEN_MS = 10_000;

export class Stream {
  #end: (() => void) | null = null;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #asking = false;

  constructor(
    readonly topics: readonly string[],
    readonly heard: Heard,
    readonly connected: Connected,
  ) {
    document.addEventListener("visibilitychange", this.#seen);
    addEventListener("pagehide", this.#close);
    addEventListener("pageshow", this.#seen);
    if (!document.hidden) this.#open();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.#seen);
    removeEventListener("pagehide", this.#close);
    removeEventListener("pageshow", this.#seen);
    clearTimeout(this.#hidden);
    this.#close();
  }

  #seen = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(this.#close, HIDDEN_MS);
    else if (!this.#end) this.#open();
  };

  #close = (): void => {
    this.#end?.();
    this.#end = null;
  };

  #open(): void {
    this.#end = typeof SharedWorker === "undefined" ? this.#alone() : this.#together();
  }

  #alone(): () => void {
    const source = new Source(this.topics, (topic, data) => this.heard(topic, JSON.parse(data)), (is) => this.#tell(is));
    return () => source.stop();
  }

  #together(): () => void {
    const { port } = new SharedWorker(new URL("./stream.worker.ts", import.meta.url), { type: "module", name: "hagw stream" });
    port.onmessage = (message: MessageEvent<{ connected: boolean } | { topic: string; data: string }>) => {
      if ("connected" in message.data) this.#tell(message.data.connected);
      else this.heard(message.data.topic, JSON.parse(message.data.data));
    };
    port.postMessage({ topics: this.topics });
    return () => {
      port.postMessage({ topics: null });
      port.close();
    };
  }

  #tell(is: boolean): void {
    this.connected(is);
    if (!is) void this.#isLoginLost();
  }

  /** A stream does not tell a lost login from a lost daemon. */
  async #isLoginLost(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      await get("session");
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        this.stop();
        this.heard("login-lost", null);
      }
    } finally {
      this.#asking = false;
    }
  }
}
