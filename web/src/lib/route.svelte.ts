/** Where the page is: `#/flows?client=…`. Works on any static server, and nothing of it is sent anywhere. */

export interface Place {
  readonly page: string;
  readonly query: Readonly<Record<string, string>>;
}

export function parsePlace(hash: string): Place {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { page: path || "overview", query: Object.fromEntries(new URLSearchParams(search)) };
}

export function placeHash(page: string, query: Readonly<Record<string, string | null | undefined>> = {}): string {
  const given = Object.entries(query).filter((each): each is [string, string] => Boolean(each[1]));
  const search = new URLSearchParams(given).toString();
  return `#/${page}${search ? `?${search}` : ""}`;
}

class Route {
  place = $state<Place>(parsePlace(location.hash));

  constructor() {
    addEventListener("hashchange", () => this.#look());
  }

  /** Go to another place, at once: `location.hash = …` is heard of only later, and what is done meanwhile would begin at the old place. */
  go(page: string, query: Readonly<Record<string, string | null | undefined>> = {}): void {
    history.pushState(null, "", placeHash(page, query));
    this.#look();
  }

  /** Change what is asked of this page without another entry in the browser's history. */
  narrow(query: Readonly<Record<string, string | null | undefined>>): void {
    const now = parsePlace(location.hash); // not `place`: the browser may already be elsewhere and tell us in a moment
    history.replaceState(null, "", placeHash(now.page, { ...now.query, ...query }));
    this.#look();
  }

  #look(): void {
    const next = parsePlace(location.hash);
    const moved = next.page !== this.place.page;
    this.place = next;
    if (moved) scrollTo(0, 0);
  }
}

export const route = new Route();
