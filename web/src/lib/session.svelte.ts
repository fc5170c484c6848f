/** Who is logged in. Rights are decided by the daemon; what is hidden here only saves a refusal. */

import { del, get, post, Problem, useCsrfToken, whenLoginIsLost } from "./api";
import type { Me, Role } from "./types";

type Phase = "asking" | "out" | "new-password" | "in" | "unreachable";

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };
const RETRY_MS = 2_000;

class Session {
  phase = $state<Phase>("asking");
  me = $state<Me | null>(null);
  notice = $state("");

  constructor() {
    whenLoginIsLost(() => {
      if (this.phase !== "in") return;
      this.notice = "Your login ended. Log in again; what you had edited is kept.";
      this.phase = "out";
    });
  }

  async look(): Promise<void> {
    try {
      this.#take(await get<Me>("session"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.phase = error.status === 401 || error.status === 403 ? "out" : "unreachable";
      if (this.phase === "unreachable") setTimeout(() => void this.look(), RETRY_MS);
    }
  }

  async login(user: string, password: string): Promise<void> {
    const me = await post<Me>("session", { user, password });
    this.notice = "";
    this.#take(me);
  }

  async changePassword(old: string, password: string): Promise<void> {
    this.#take(await post<Me>("session/password", { old_password: old, password }));
  }

  async logout(): Promise<void> {
    await del<unknown>("session");
    this.me = null;
    this.notice = "You are logged out.";
    this.phase = "out";
  }

  /** Whether it makes sense to offer what needs a role. */
  may(role: Role): boolean {
    return this.me !== null && RANK[this.me.role] >= RANK[role];
  }

  #take(me: Me): void {
    useCsrfToken(me.csrf_token);
    this.me = me;
    this.phase = me.must_change_password ? "new-password" : "in";
  }
}

export const session = new Session();
