/** What the explain panel can be asked. */

export type Question =
  | { readonly kind: "flow"; readonly id: string }
  | { readonly kind: "uplink"; readonly name: string }
  | { readonly kind: "gateway"; readonly name: string }
  | { readonly kind: "cap"; readonly name: string }
  | { readonly kind: "state" };
