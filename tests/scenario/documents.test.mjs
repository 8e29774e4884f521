// What the documents say that a test shows, a test of that name has to show: every test and file that they name is there.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const TOP = join(import.meta.dirname, '..', '..');
const UNIT = join(TOP, 'tests', 'unit');
const read = (...path) => readFileSync(join(...path), 'utf8');
const units = readdirSync(UNIT, { recursive: true })
	.filter((name) => name.endsWith('.c'))
	.map((name) => [name.slice(0, -2), read(UNIT, name)]);

// `name`, `name.test.mjs` (both in scenario/) or `tests/folder/name.test.mjs`.
const scenario = (name) => {
	const path = name.startsWith('tests/') ? name : `tests/scenario/${name.replace('.test.mjs', '')}.test.mjs`;
	assert.ok(existsSync(join(TOP, path)), `no ${path}`);
	return read(TOP, path);
};

function check(text) {
	let n = 0;
	for (const [, name] of text.matchAll(/`((?:[a-z-]+\/)*test_[a-z0-9_]+)`/g)) {
		n++;
		assert.ok(
			units.some(([path, source]) => path.endsWith(name) || new RegExp(`\\b${name}\\((void|struct)`).test(source)),
			`no unit test ${name}`,
		);
	}
	for (const [, name, titles] of text.matchAll(/`((?:tests\/[a-z]+\/)?[a-z-]+(?:\.test\.mjs)?)`: (\*[^|;`\n]*)/g)) {
		const source = scenario(name);
		for (const [, title] of titles.matchAll(/\*([^*]+)\*/g)) {
			n++;
			const [words, when] = title.replaceAll('…', '').trim().split(/ in (?=its |configure|start)/);
			assert.ok(source.includes(words) && (!when || source.includes(when)), `${name} has no test "${title}"`);
		}
	}
	return n;
}

describe('documents', () => {
	for (const [file, least] of [
		['threat-model.md', 60],
		['plugin-guide.md', 10],
	])
		it(`${file} names tests that exist`, () => {
			const n = check(read(TOP, 'docs', file));
			assert.ok(n >= least, `${n} of ${least} names were understood`);
		});
});
