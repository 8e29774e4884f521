// Runs the tests with real clients against a build tree:
//   node tests/run.mjs --build DIR [--only conformance|scenario|clients|power|fault|crash|soak[,...]] [--slow] [FILTER...]
// The soak runs with --slow or when it is named. FILTER keeps the files whose path contains one of the words. Several files run at once, conformance first because it
// mostly waits. Prints what failed and a summary; the exit code is 0 when everything passed.
// SLUICE_TEST_SERVER=reference runs the same files against the Node reference server, to test the tests.

import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const HERE = import.meta.dirname;
const GROUPS = ['conformance', 'scenario', 'clients', 'power', 'fault', 'crash', 'soak'];
const LONG = ['soak']; // only when named, or with --slow
const TIMEOUT = 6 * 60_000;
const TIMEOUT_SLOW = 24 * 3600_000;

function options() {
	const { values, positionals } = parseArgs({
		options: {
			build: { type: 'string', default: join(HERE, '..', 'build') },
			only: { type: 'string' },
			slow: { type: 'boolean' },
			jobs: { type: 'string' },
		},
		allowPositionals: true,
	});
	const groups = values.only
		? values.only.split(',')
		: GROUPS.filter((group) => values.slow || !LONG.includes(group));
	for (const group of groups)
		if (!GROUPS.includes(group)) throw new Error(`--only ${group}: one of ${GROUPS.join(', ')}`);
	const reference = process.env.SLUICE_TEST_SERVER === 'reference';
	const build = resolve(values.build);
	if (!reference)
		try {
			accessSync(join(build, 'sluiced'), constants.X_OK);
		} catch {
			throw new Error(
				`no program ${join(build, 'sluiced')}: build first, or name the build tree with --build`,
			);
		}
	return { build, groups, filters: positionals, slow: values.slow ?? false, jobs: Number(values.jobs ?? 4) };
}

const sanitized = (build) => {
	try {
		return /^SLUICE_SANITIZE = -fsanitize=/m.test(readFileSync(join(build, 'Makefile'), 'utf8'));
	} catch {
		return false;
	}
};

function files({ groups, filters }) {
	return groups
		.flatMap((group) =>
			readdirSync(join(HERE, group))
				.filter((name) => name.endsWith('.test.mjs'))
				.sort()
				.map((name) => join(HERE, group, name)),
		)
		.filter((path) => !filters.length || filters.some((word) => path.slice(HERE.length).includes(word)));
}

// Runs node's test runner over the files; its report goes to our output as it comes.
async function run({ build, groups, slow, jobs }, paths) {
	const child = spawn(
		process.execPath,
		[
			'--test',
			`--test-concurrency=${jobs}`,
			`--test-timeout=${slow || groups.some((group) => LONG.includes(group)) ? TIMEOUT_SLOW : TIMEOUT}`,
			`--test-reporter=${join(HERE, 'lib', 'reporter.mjs')}`,
			'--test-reporter-destination=stdout',
			...paths,
		],
		{
			cwd: HERE,
			stdio: ['ignore', 'pipe', 'inherit'],
			env: {
				...process.env,
				SLUICE_BUILD: build,
				SLUICE_TEST_SLOW: slow ? '1' : '',
				SLUICE_TEST_PATIENCE:
					process.env.SLUICE_TEST_PATIENCE ?? (sanitized(build) ? '4' : '2'),
			},
		},
	);
	let totals = null,
		rest = '';
	child.stdout.setEncoding('utf8').on('data', (text) => {
		const lines = (rest + text).split('\n');
		rest = lines.pop();
		for (const line of lines) {
			if (line.startsWith('#totals ')) totals = JSON.parse(line.slice(8));
			else console.log(line);
		}
	});
	const code = await new Promise((done, fail) => child.once('error', fail).once('close', done));
	return { code, totals };
}

const started = Date.now();
try {
	const chosen = options();
	const paths = files(chosen);
	if (!paths.length) throw new Error('no test file matches');
	const { code, totals } = await run(chosen, paths);
	const seconds = ((Date.now() - started) / 1000).toFixed(0);
	if (!totals) throw new Error('the test runner ended without a result');
	for (const failure of totals.failures) console.log(`FAILED ${failure}`);
	console.log(
		`${paths.length} files: ${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped in ${seconds} s`,
	);
	process.exitCode = code === 0 && totals.failed === 0 && totals.passed > 0 ? 0 : 1;
} catch (error) {
	console.error(`run.mjs: ${error.message}`);
	process.exitCode = 2;
}
