/** The configuration as edited here and not yet applied. The daemon itself edits the text, so comments and layout stay. */

import { get, post, Problem, type FieldError } from "./api";
import { merge } from "./diff";
import type { ConfigDocument, Edited, Outcome, Planned } from "./types";

export interface Edit {
  readonly path: string;
  readonly value: unknown; // null = take it out
}

interface Kept {
  text: string;
  generation: number;
  base: string;
}

const KEPT = "hagw.draft";
const UNDO_MAX = 100;

class Draft {
  base = $state.raw<ConfigDocument | null>(null); // what is in force
  text = $state("");
  tree = $state.raw<Record<string, unknown> | null>(null);
  issues = $state.raw<readonly FieldError[]>([]);
  busy = $state(false);
  baseGeneration = $state(0); // what was in force when editing began
  baseText = $state(""); // likewise
  lastTried = $state.raw<{ generation: number; text: string } | null>(null); // applied here, to be confirmed
  #undo = $state.raw<readonly string[]>([]);
  #last: Promise<unknown> = Promise.resolve();
  #typed = "";

  get isEdited(): boolean {
    return this.base !== null && this.text !== this.base.text;
  }

  /** Somebody else changed the configuration since editing began. */
  get isStale(): boolean {
    return this.isEdited && this.base !== null && this.base.generation !== this.baseGeneration;
  }

  get canUndo(): boolean {
    return this.#undo.length > 0;
  }

  /** Read what is in force; edits made here are kept. */
  load(): Promise<void> {
    return this.#inTurn(async () => {
      const base = await get<ConfigDocument>("config");
      const wasEdited = this.isEdited;
      this.base = base;
      if (wasEdited) return;
      const kept = this.#kept();
      this.#begin(kept?.generation ?? base.generation, kept?.base ?? base.text);
      await this.#take(kept?.text ?? base.text);
    });
  }

  /** Change values by their paths, as `hagw set` does; `edits` is asked when all earlier changes are in. Raises Problem. */
  edit(edits: () => readonly Edit[]): Promise<void> {
    return this.#inTurn(async () => {
      const wanted = edits();
      if (wanted.length) await this.#change({ text: this.text, edits: wanted });
    });
  }

  /** Likewise, but only if nothing below `path` is wrong then; returns what is. */
  editIfRight(edits: () => readonly Edit[], path: string): Promise<readonly FieldError[]> {
    return this.#inTurn(async () => {
      const edited = await post<Edited>("config/edit", { text: this.text, edits: edits() });
      const wrong = edited.issues.filter((each) => each.path.startsWith(path));
      if (!wrong.length) this.#accept(edited);
      return wrong;
    });
  }

  /** Take a text that somebody typed; of several that wait only the last counts. */
  type(text: string): Promise<void> {
    this.#typed = text;
    return this.#inTurn(async () => {
      if (text === this.text || text !== this.#typed) return;
      await this.#change({ text, edits: [] });
    });
  }

  undo(): Promise<void> {
    return this.#inTurn(async () => {
      const last = this.#undo.at(-1);
      if (last === undefined) return;
      this.#undo = this.#undo.slice(0, -1);
      await this.#take(last);
    });
  }

  discard(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.base) return;
      this.#undo = [];
      this.#begin(this.base.generation, this.base.text);
      await this.#take(this.base.text);
    });
  }

  /** Put our edits on top of what somebody else put in force meanwhile. Returns false where both touch the same lines. */
  rebase(): Promise<boolean> {
    return this.#inTurn(async () => {
      const base = await get<ConfigDocument>("config");
      const merged = merge(this.baseText, this.text, base.text);
      if (merged === null) return false;
      this.#undo = [...this.#undo, this.text];
      this.base = base;
      this.#begin(base.generation, base.text);
      await this.#take(merged);
      return true;
    });
  }

  /** Keep our text as a whole; theirs goes. */
  overrule(): Promise<void> {
    return this.#inTurn(async () => {
      const base = await get<ConfigDocument>("config");
      this.base = base;
      this.#begin(base.generation, base.text);
      this.#keep();
    });
  }

  /** Edit again what was applied and taken back. */
  async again(text: string): Promise<void> {
    this.lastTried = null;
    await this.type(text);
  }

  plan(text: string): Promise<Planned> {
    return post<Planned>("config/plan", { text });
  }

  /** Apply the text, which must be the one that was planned: else Problem, and nothing is done. */
  apply(planned: string, confirm_within_s: number | null, note: string): Promise<Outcome> {
    return this.#inTurn(async () => {
      const text = this.text;
      if (text !== planned) throw new Problem(409, "Conflict", "The text has changed since it was planned. Look at the plan again.");
      const outcome = await post<Outcome>("config/apply", { text, base_generation: this.baseGeneration, confirm_within_s, note });
      this.lastTried = outcome.result === "pending" ? { generation: outcome.generation, text } : null;
      await this.#settle();
      return outcome;
    });
  }

  /** What was edited is in force (or waits to be confirmed): begin anew from it. */
  async #settle(): Promise<void> {
    sessionStorage.removeItem(KEPT);
    this.#undo = [];
    const base = await get<ConfigDocument>("config");
    this.base = base;
    this.#begin(base.generation, base.text);
    await this.#take(base.text);
  }

  /** One after the other: each begins from what the one before made of the text, and none overtakes. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const own = this.#last.then(work);
    this.#last = own.catch(() => undefined); // whoever asked is told; the next one is not concerned
    return own;
  }

  #begin(generation: number, text: string): void {
    this.baseGeneration = generation;
    this.baseText = text;
  }

  async #change(body: { text: string; edits: readonly Edit[] }): Promise<void> {
    this.busy = true;
    try {
      this.#accept(await post<Edited>("config/edit", body));
    } finally {
      this.busy = false;
    }
  }

  #accept(edited: Edited): void {
    if (!this.isEdited && this.base) this.#begin(this.base.generation, this.base.text);
    if (edited.text !== this.text) this.#undo = [...this.#undo, this.text].slice(-UNDO_MAX);
    this.#set(edited);
  }

  async #take(text: string): Promise<void> {
    this.text = text; // at once: between what is in force and a text of before there would be edits that nobody made
    try {
      this.#set(await post<Edited>("config/edit", { text, edits: [] }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#set({ schema: 1, text, tree: this.tree, issues: error.errors.map((each) => ({ file: "", line: each.line ?? null, path: each.path, message: each.message })) });
    }
  }

  #set(edited: Edited): void {
    this.text = edited.text;
    if (edited.tree) this.tree = edited.tree;
    this.issues = edited.issues;
    this.#keep();
  }

  #keep(): void {
    if (this.isEdited) sessionStorage.setItem(KEPT, JSON.stringify({ text: this.text, generation: this.baseGeneration, base: this.baseText }));
    else sessionStorage.removeItem(KEPT);
  }

  #kept(): Kept | null {
    const kept = sessionStorage.getItem(KEPT);
    return kept === null ? null : (JSON.parse(kept) as Kept);
  }
}

export const draft = new Draft();
addEventListener("beforeunload", (event) => {
  if (draft.isEdited) event.preventDefault();
});
