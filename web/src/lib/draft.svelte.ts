/** The configuration as edited here and not yet applied. The daemon itself edits the text, so comments and layout stay. */

import { get, post, Problem, type FieldError } from "./api";
import type { ConfigDocument, Outcome, Planned } from "./types";

export interface Edit {
  readonly path: string;
  readonly value: unknown; // null = take it out
}

interface Edited {
  text: string;
  tree: Record<string, unknown> | null;
  issues: FieldError[];
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
  #undo = $state.raw<readonly string[]>([]);

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
  async load(): Promise<void> {
    const wasEdited = this.isEdited;
    const base = await get<ConfigDocument>("config");
    this.base = base;
    if (wasEdited) return;
    const kept = this.#kept();
    this.baseGeneration = kept?.generation ?? base.generation;
    await this.#take(kept?.text ?? base.text, []);
  }

  /** Change values by their paths, as `hagw set` does. Raises Problem. */
  async edit(edits: readonly Edit[]): Promise<void> {
    await this.#change({ text: this.text, edits });
  }

  /** Take a text that somebody typed. */
  async type(text: string): Promise<void> {
    if (text === this.text) return;
    await this.#change({ text, edits: [] });
  }

  async undo(): Promise<void> {
    const last = this.#undo.at(-1);
    if (last === undefined) return;
    this.#undo = this.#undo.slice(0, -1);
    await this.#take(last, []);
  }

  async discard(): Promise<void> {
    if (!this.base) return;
    this.#undo = [];
    this.baseGeneration = this.base.generation;
    await this.#take(this.base.text, []);
  }

  /** Go on editing on top of what somebody else put in force meanwhile: their text, our edits are shown as a diff. */
  rebase(): void {
    if (this.base) this.baseGeneration = this.base.generation;
    this.#keep();
  }

  plan(): Promise<Planned> {
    return post<Planned>("config/plan", { text: this.text });
  }

  async apply(confirm_within_s: number | null, note: string): Promise<Outcome> {
    const outcome = await post<Outcome>("config/apply", {
      text: this.text,
      base_generation: this.baseGeneration,
      confirm_within_s,
      note,
    });
    await this.settle();
    return outcome;
  }

  /** What was edited is in force (or waits to be confirmed): begin anew from it. */
  async settle(): Promise<void> {
    sessionStorage.removeItem(KEPT);
    this.#undo = [];
    const base = await get<ConfigDocument>("config");
    this.base = base;
    this.baseGeneration = base.generation;
    await this.#take(base.text, []);
  }

  async #change(body: { text: string; edits: readonly Edit[] }): Promise<void> {
    const before = this.text;
    this.busy = true;
    try {
      const wasEdited = this.isEdited;
      const edited = await post<Edited>("config/edit", body);
      if (!wasEdited && this.base) this.baseGeneration = this.base.generation;
      if (edited.text !== before) this.#undo = [...this.#undo, before].slice(-UNDO_MAX);
      this.#set(edited);
    } finally {
      this.busy = false;
    }
  }

  async #take(text: string, edits: readonly Edit[]): Promise<void> {
    try {
      this.#set(await post<Edited>("config/edit", { text, edits }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#set({ text, tree: this.tree, issues: [...error.errors] });
    }
  }

  #set(edited: Edited): void {
    this.text = edited.text;
    if (edited.tree) this.tree = edited.tree;
    this.issues = edited.issues;
    this.#keep();
  }

  #keep(): void {
    if (this.isEdited) sessionStorage.setItem(KEPT, JSON.stringify({ text: this.text, generation: this.baseGeneration }));
    else sessionStorage.removeItem(KEPT);
  }

  #kept(): { text: string; generation: number } | null {
    const kept = sessionStorage.getItem(KEPT);
    return kept === null ? null : (JSON.parse(kept) as { text: string; generation: number });
  }
}

export const draft = new Draft();
addEventListener("beforeunload", (event) => {
  if (draft.isEdited) event.preventDefault();
});
