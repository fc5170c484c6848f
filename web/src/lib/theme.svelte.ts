/** Light, dark, or as the system has it. */

export type Scheme = "system" | "light" | "dark";
const KEY = "hagw.scheme";

class Theme {
  scheme = $state<Scheme>(((localStorage.getItem(KEY) ?? "system") as Scheme) || "system");
  version = $state(0); // grows when colours change: graphs draw anew

  constructor() {
    this.#show();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (this.version += 1));
  }

  set(scheme: Scheme): void {
    this.scheme = scheme;
    localStorage.setItem(KEY, scheme);
    this.#show();
  }

  #show(): void {
    if (this.scheme === "system") delete document.documentElement.dataset["scheme"];
    else document.documentElement.dataset["scheme"] = this.scheme;
    this.version += 1;
  }
}

export const theme = new Theme();

/** The colour that a custom property stands for now, as canvases want it. */
export function resolved(element: Element, property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  probe.hidden = true;
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
