/** Asks the daemon. Every refusal becomes a Problem that carries the server's own words. */

export interface FieldError {
  path: string;
  message: string;
  line?: number | null;
}

export class Problem extends Error {
  constructor(
    readonly status: number, // 0 = nobody answered
    readonly title: string,
    readonly detail: string,
    readonly errors: readonly FieldError[] = [],
  ) {
    super(detail || title);
  }

  /** The server's message for a field, "" where it has none. */
  at(...paths: string[]): string {
    return this.errors
      .filter((each) => paths.some((path) => each.path === path || each.path.endsWith(`.${path}`)))
      .map((each) => each.message)
      .join("; ");
  }
}

type Listener = () => void;
let onLoginLost: Listener = () => undefined;
let csrfToken = "";

/** Be told when a request is answered 401: the login is over. */
export function whenLoginIsLost(listener: Listener): void {
  onLoginLost = listener;
}

/** What shows the daemon that a change comes from this page; told at login. */
export function useCsrfToken(token: string | null): void {
  csrfToken = token ?? "";
}

export const BASE = "/api/v1/";
const PATIENCE_MS = 30_000;

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

export function url(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return `${BASE}${path}${search ? `?${search}` : ""}`;
}

async function ask<T>(method: string, path: string, query: Query, body: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(url(path, query), {
      method,
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(method === "GET" ? {} : { "X-CSRF-Token": csrfToken }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Problem(0, "No answer", "The gateway does not answer. Traffic goes on without this page; it tries again by itself.");
  }
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  const problem = await problemOf(answer);
  if (answer.status === 401 && path !== "session" && path !== "session/password") onLoginLost();
  throw problem;
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const said = (await answer.json()) as { title?: string; detail?: string; errors?: FieldError[]; issues?: FieldError[] };
    return new Problem(answer.status, said.title ?? "", said.detail ?? "", said.errors ?? said.issues ?? []);
  } catch {
    return new Problem(answer.status, answer.statusText, `The gateway answered ${answer.status} without saying why.`);
  }
}

export const get = <T>(path: string, query: Query = {}): Promise<T> => ask("GET", path, query, undefined);
export const post = <T>(path: string, body: unknown = {}): Promise<T> => ask("POST", path, {}, body);
export const put = <T>(path: string, body: unknown): Promise<T> => ask("PUT", path, {}, body);
export const patch = <T>(path: string, body: unknown): Promise<T> => ask("PATCH", path, {}, body);
export const del = <T>(path: string): Promise<T> => ask("DELETE", path, {}, undefined);

export function sentence(problem: unknown): string {
  return problem instanceof Problem ? problem.message : "The page failed; reload it. The gateway goes on.";
}

/** An error that is no Problem is a mistake of ours: let it surface. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  throw error;
}
