/** Something that a person has done: one at a time, and what the server says against it stays until the next try. */

import { asProblem, type Problem } from "./api";

export class Deed {
  busy = $state(false);
  problem = $state.raw<Problem | null>(null);

  /** Do it, unless it is being done: a second click is not a second change. Returns whether it was done. */
  async run(work: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.problem = null;
    try {
      await work();
      return true;
    } catch (error) {
      this.problem = asProblem(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  /** The server's message for a field, "" where it has none. */
  at(...paths: string[]): string {
    return this.problem?.at(...paths) ?? "";
  }

  /** What the server says that belongs to none of these fields. */
  apart(...paths: string[]): string {
    return this.problem && !this.problem.at(...paths) ? this.problem.message : "";
  }
}
