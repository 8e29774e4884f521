// Runs the official suite, and nothing else, inside vitest.
import { defineConfig } from 'vitest/config';

export default defineConfig({
	cacheDir: '../node_modules/.vite',
	test: {
		include: ['suite.mjs'],
		root: import.meta.dirname,
		pool: 'threads',
		testTimeout: 60_000,
		hookTimeout: 60_000,
		server: { deps: { inline: [/server-conformance-tests/] } },
	},
});
