import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

// What scrolls must be reachable by keyboard: those have a tabindex.
const isMeant = (warning) => warning.code === "a11y_no_noninteractive_tabindex";

export default { preprocess: vitePreprocess(), compilerOptions: { runes: true, warningFilter: (warning) => !isMeant(warning) } };
