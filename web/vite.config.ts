import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Everything is a file of our own origin: the gateway may have no way to the Internet, and its CSP allows nothing else.
export default defineConfig({
  plugins: [svelte()],
  base: "./",
  worker: { format: "es" },
  build: {
    outDir: "../hagw/web/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // a data: URL would need a wider CSP
    modulePreload: { polyfill: false }, // inline script
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": { target: "https://127.0.0.1:8443", secure: false } } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
