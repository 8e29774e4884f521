// The configuration file: everything wrong with it is said at once, each with file, line and column; what is right is
// accepted and can be printed.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { baseConfig, runSluiced, temporary } from '../lib/sluice.mjs';
import { toYaml } from '../lib/yaml.mjs';

const GOOD = toYaml(baseConfig());
const frontend = (rest) => `data_dir: temporary\nfrontends:\n  - name: a\n    listen: [127.0.0.1:0]\n${rest}`;
const PLUGINS = '    plugins: [{ plugin: streams }]\n';

let folder,
	counter = 0;
before(() => (folder = temporary()));

async function check(text) {
	const file = join(folder, `${++counter}.yaml`);
	writeFileSync(file, text);
	const result = await runSluiced(['-t', '-c', file]);
	return { ...result, file, text: result.err + result.out };
}

// [what, file text, line, column, what the message must contain]
const BROKEN = [
	['an unknown key suggests the nearest', `${GOOD}limit:\n  body: 1M\n`, 11, 1, /limit.*limits/],
	['an unknown key inside a section', `${GOOD}limits:\n  bodi: 1M\n`, 12, 3, /bodi.*body/],
	[
		'an unknown key of a plugin',
		GOOD.replace('long_poll_timeout', 'long_pol_timeout'),
		10,
		9,
		/frontends\[0\]\.plugins\[0\]: unknown key "long_pol_timeout".*long_poll_timeout/,
	],
	[
		'a value of a plugin names the whole way to it',
		GOOD.replace('2s', 'soon'),
		10,
		28,
		/frontends\[0\]\.plugins\[0\]\.long_poll_timeout: expected duration/,
	],
	[
		'one plugin twice at one mount',
		frontend('    plugins: [{ plugin: streams }, { plugin: streams, mount: /v1/stream }]\n'),
		5,
		62,
		/frontends\[0\]\.plugins\[1\]\.mount: streams is at \/v1\/stream in line 5 already/,
	],
	[
		'less memory for bodies than one may have',
		`${GOOD}limits:\n  body: 8M\n  body_memory: 4M\n`,
		13,
		16,
		/limits\.body_memory: must not be smaller than limits\.body \(8M\)/,
	],
	['a duration without sense', GOOD.replace('2s', 'soon'), 10, 28, /long_poll_timeout.*duration.*"soon"/],
	['a size without sense', `${GOOD}limits:\n  body: large\n`, 12, 9, /body.*size.*"large"/],
	['a number without sense', GOOD.replace('workers: 2', 'workers: two'), 6, 14, /workers.*"two"/],
	['a number out of range', GOOD.replace('workers: 2', 'workers: 65'), 6, 14, /workers.*64/],
	['a number beyond 64 bits', GOOD.replace('workers: 2', 'workers: 99999999999999999999999'), 6, 14, /workers/],
	[
		'an unknown word of a list',
		`${GOOD}store:\n  synchronous: maybe\n`,
		12,
		16,
		/synchronous.*full.*normal.*off/,
	],
	['a map where a scalar belongs', `${GOOD}log:\n  level: { a: b }\n`, 12, 10, /level/],
	['a scalar where a map belongs', `${GOOD}limits: 5\n`, 11, 9, /limits/],
	['a scalar where a list belongs', 'data_dir: temporary\nfrontends: none\n', 2, 12, /frontends.*list/],
	['a listener without a port', GOOD.replace('127.0.0.1:0', 'localhost'), 5, 9, /listen/],
	['a listener with a bad port', GOOD.replace('127.0.0.1:0', '127.0.0.1:70000'), 5, 9, /listen|port/],
	['a key twice', `${GOOD}data_dir: elsewhere\n`, 11, 1, /data_dir/],
	[
		'a frontend without a name',
		'data_dir: temporary\nfrontends:\n  - listen: [127.0.0.1:0]\n    plugins: [{ plugin: streams }]\n',
		3,
		5,
		/name/,
	],
	['a frontend without plugins', frontend(''), 3, 5, /plugins/],
	['a plugin without its name', frontend('    plugins: [{ mount: /x }]\n'), 5, 15, /plugin/],
	[
		'two frontends of one name',
		`${frontend(PLUGINS)}  - name: a\n    listen: [127.0.0.1:0]\n${PLUGINS}`,
		6,
		11,
		/name.*"a"/,
	],
	['tokens that are nowhere', `${GOOD}auth:\n  mode: tokens\n`, 12, 9, /mode tokens needs auth.tokens/],
	['rules that are not in force', `${GOOD}auth:\n  policy: []\n`, 12, 11, /no effect with auth.mode: none/],
	['a file of tokens that is not there', `${GOOD}auth:\n  mode: tokens\n  tokens_file: /nowhere\n`, 13, 16, /cannot be read/],
	['everybody let in from other machines', GOOD.replace('127.0.0.1:0', '0.0.0.0:0'), 5, 9, /insecure/],
	['broken YAML: an open bracket', `${GOOD}limits: [1,\n`, null, null, /./],
	['broken YAML: a tab for indentation', `${GOOD}limits:\n\tbody: 1M\n`, 12, null, /./],
	[
		'broken YAML: bad UTF-8',
		Buffer.concat([Buffer.from(GOOD), Buffer.from('log: { level: "\xff" }\n', 'latin1')]),
		null,
		null,
		/./,
	],
	['broken YAML: an unknown alias', `${GOOD}limits: *nowhere\n`, 11, null, /./],
	['an empty file', '', 1, 1, /empty/],
	['a list as the whole file', '- a\n- b\n', 1, 1, /./],
	['no frontends', 'data_dir: temporary\n', null, null, /frontends/],
];

describe('broken configuration', { concurrency: 4 }, () => {
	for (const [what, text, line, column, says] of BROKEN)
		it(`${what}: ${line ?? 'line'}:${column ?? 'column'} and a sentence`, async () => {
			const result = await check(text);
			assert.equal(result.code, 1, result.text);
			const place = new RegExp(`${result.file}:${line ?? '\\d+'}:${column ?? '\\d+'}: (.*)`);
			const found = result.text.split('\n').filter((each) => place.test(each));
			assert.ok(found.length > 0, `no message at ${line}:${column} in\n${result.text}`);
			assert.ok(
				found.some((each) => says.test(each)),
				`${says} in\n${result.text}`,
			);
		});

	it('all errors are reported at once, in the order of the file', async () => {
		const text = GOOD.replace('workers: 2', 'workers: two')
			.replace('2s', 'soon')
			.concat('limits:\n  body: large\n  bodi: 1\nnonsense: 1\n');
		const result = await check(text);
		const lines = result.text
			.split('\n')
			.filter((each) => each.includes(`${result.file}:`))
			.map((each) => Number(/yaml:(\d+):/.exec(each)[1]));
		assert.deepEqual(lines, [6, 10, 12, 13, 14], result.text);
	});

	it('nesting without end and endless scalars are errors, not crashes', async () => {
		for (const text of [
			'['.repeat(100_000),
			'{a: '.repeat(50_000),
			`data_dir: ${'x'.repeat(10_000_000)}\n`,
			'- '.repeat(20_000),
		]) {
			const result = await check(text);
			assert.equal(result.code, 1, `${result.signal} ${result.text.slice(0, 500)}`);
		}
	});
});

describe('good configuration', { concurrency: 4 }, () => {
	it('-t says that it is good and exits with 0', async () => {
		const result = await check(GOOD);
		assert.equal(result.code, 0, result.text);
		assert.match(result.text, /\.yaml: ok/);
	});

	it('--print-config prints what is in force, defaults and plugin options included, and its output is good input', async () => {
		const file = join(folder, 'print.yaml');
		writeFileSync(file, GOOD);
		const first = await runSluiced(['--print-config', '-c', file]);
		assert.equal(first.code, 0, first.err);
		for (const pattern of [
			/synchronous: "?full/,
			/long_poll_timeout: "?2s/,
			/sse_lifetime:/,
			/drain_timeout:/,
			/mount: "?\/v1\/stream/,
		])
			assert.match(first.out, pattern);
		writeFileSync(file, first.out);
		const second = await runSluiced(['--print-config', '-c', file]);
		assert.equal(second.out, first.out, second.err);
	});

	it('a check binds nothing and makes no data directory', async () => {
		const directory = join(folder, 'not-made');
		const result = await check(toYaml({ ...baseConfig(), data_dir: directory }));
		assert.equal(result.code, 0, result.text);
		assert.ok(!existsSync(directory));
	});

	it('--version and --help exit with 0, unknown arguments with 2', async () => {
		assert.equal((await runSluiced(['--version'])).code, 0);
		assert.match((await runSluiced(['--help'])).out, /usage: sluiced/);
		assert.equal((await runSluiced(['--bogus'])).code, 2);
	});
});
