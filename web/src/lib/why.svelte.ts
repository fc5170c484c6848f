/** The explain panel: one place, opened from every number, with the words of `hagw explain`. */

import type { Question } from "./question";

class Why {
  about = $state.raw<Question | null>(null);

  ask(about: Question): void {
    this.about = about;
  }

  close(): void {
    this.about = null;
  }
}

export const why = new Why();
