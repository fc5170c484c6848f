// Compresses what was built and writes the hash of the sources it was built from; a test without Node compares that hash.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, "..", "hagw", "web", "static");
const SINGLE = ["index.html", "package.json", "package-lock.json", "svelte.config.js", "tsconfig.json", "vite.config.ts", "stamp.mjs"];

const walk = (directory, prefix) =>
  readdirSync(join(here, directory), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? walk(join(directory, entry.name), `${prefix}${entry.name}/`) : [`${prefix}${entry.name}`],
  );

const sources = [...SINGLE, ...walk("public", "public/"), ...walk("src", "src/")].sort();
const hash = createHash("sha256");
for (const name of sources) {
  const body = readFileSync(join(here, name));
  hash.update(`${name}\0${body.length}\0`).update(body);
}
writeFileSync(join(built, ".sources"), `${hash.digest("hex")}\n`);

for (const entry of readdirSync(built, { recursive: true })) {
  const name = String(entry);
  if (!/\.(js|css|html|svg)$/.test(name)) continue;
  const packed = gzipSync(readFileSync(join(built, name)), { level: 9 });
  packed[9] = 255; // "operating system: unknown": the same bytes wherever it is built
  writeFileSync(join(built, `${name}.gz`), packed);
}
