// The official conformance suite must pass completely, against two workers: over HTTP/1.1, over HTTP/2 and over
// TLS, at the same time.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { newCertificate } from '../lib/certificate.mjs';
import { startH2Proxy } from '../lib/h2proxy.mjs';
import { onReference, startServer } from '../lib/server.mjs';
import { temporary } from '../lib/sluice.mjs';

const here = import.meta.dirname;
const TESTS = 332; // of suite 0.3.6 without its 6 subscription tests
const KNOWN_FAILURES = onReference ? 6 : 0;

async function runSuite(url, env = {}) {
	const folder = temporary('sluice-conformance');
	const file = join(folder, 'results.json');
	const vitest = join(here, '..', 'node_modules', 'vitest', 'vitest.mjs');
	try {
		const child = spawn(
			process.execPath,
			[
				vitest,
				'run',
				'--config',
				join(here, 'vitest.config.mjs'),
				'--reporter=json',
				`--outputFile=${file}`,
			],
			{
				cwd: here,
				env: { ...process.env, CONFORMANCE_TEST_URL: url, NODE_OPTIONS: '', NO_COLOR: '1', ...env },
			},
		);
		let output = '';
		for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
		await new Promise((done, fail) => child.once('error', fail).once('close', done));
		try {
			return JSON.parse(readFileSync(file, 'utf8'));
		} catch {
			throw new Error(`vitest wrote no results:\n${output}`);
		}
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

function assertAllPassed(results, log = '') {
	const tests = results.testResults.flatMap((file) => file.assertionResults);
	const failed = tests.filter((test) => test.status === 'failed');
	const report = failed.map(
		(test) =>
			`  ${test.fullName}\n    ${(test.failureMessages[0] ?? '').split('\n').slice(0, 6).join('\n    ')}`,
	);
	assert.equal(
		failed.length,
		KNOWN_FAILURES,
		`${failed.length} of the suite failed:\n${report.join('\n')}\n--- log\n${log}`,
	);
	assert.equal(tests.filter((test) => test.status === 'passed').length, TESTS - KNOWN_FAILURES, 'tests passed');
}

describe('official suite', { concurrency: true }, () => {
	it('passes over HTTP/1.1', async () => {
		const server = await startServer();
		try {
			assertAllPassed(await runSuite(server.url), server.text?.());
		} finally {
			await server.stop();
		}
	});

	it('passes over HTTP/2', async () => {
		const server = await startServer();
		const proxy = await startH2Proxy(server.h2url ?? server.url);
		try {
			assertAllPassed(await runSuite(proxy.url), server.text?.());
		} finally {
			await proxy.stop();
			await server.stop();
		}
	});

	it('passes over TLS', { skip: onReference && 'the reference server has no TLS' }, async () => {
		const { cert, key } = newCertificate();
		const server = await startServer({
			config: (config) => (config.frontends[0].listen = [{ address: '127.0.0.1:0', tls: { cert, key } }]),
		});
		try {
			assert.match(server.url, /^https:/);
			assertAllPassed(await runSuite(server.url, { NODE_EXTRA_CA_CERTS: cert }), server.text?.());
		} finally {
			await server.stop();
		}
	});
});
