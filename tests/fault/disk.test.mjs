// The disk is full, reports errors or writes short: clients are told, reads go on, the daemon recovers by itself when the
// cause goes, and nothing that was acknowledged is lost. A failed sync is never retried in place.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sanitized } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';
import { Faults, Log } from './faults.mjs';

const SMALL = { checkpoint_bytes: '64K', segment_bytes: '1M' };
const LARGE = 300_000;
const NOISE = [/commit failed|checkpoint failed|child|link|store_lost|writer|cannot start|store_/];
const skip = sanitized && 'the shim is preloaded before the runtime of a sanitizer';

// Runs work(faults, log, daemon) around a daemon with one log in it; afterwards all of it is there, now and after a restart.
const withDaemon = (work) => async () => {
	const faults = new Faults();
	const options = { allow: NOISE, config: (config) => (config.store = SMALL) };
	let daemon = await faults.start(options);
	let log = await new Log(daemon.url).begin();
	for (let n = 0; n < 20; n++) await log.insist();
	await log.insist(LARGE);
	await work(faults, log, daemon);
	faults.clear();
	await log.insist();
	await log.insist(LARGE);
	await log.verify();
	log.close();
	await daemon.stop();
	assert.equal(faults.read('retried'), 0, 'nothing was retried in place after a failed sync');
	daemon = await faults.start(options);
	const { seq, stream } = log;
	log = new Log(daemon.url, stream.name);
	log.seq = seq;
	await log.verify();
	log.close();
	await daemon.stop();
	faults.close();
};

describe('the disk', { skip, concurrency: 3 }, () => {
	for (const kind of ['full', 'quota']) {
		it(
			`${kind}: writes are answered 507, reads go on, the writer stays and takes writes as soon as there is room`,
			withDaemon(async (faults, log, daemon) => {
				const writer = daemon.writer();
				faults.set(kind);
				for (let n = 0; n < 5; n++) {
					assert.equal(await log.try(), 507);
					assert.equal(await log.try(LARGE), 507);
					await log.verify();
				}
				assert.ok(faults.read('hits') >= 10);
				faults.clear();
				assert.ok([200, 204].includes(await log.try()), 'the first one afterwards is taken');
				assert.equal(daemon.writer(), writer, 'no process ended');
			}),
		);

		it(
			`${kind} while the log is copied into the volume: the log grows, nobody notices`,
			withDaemon(async (faults, log, daemon) => {
				const writer = daemon.writer();
				faults.set(kind, { files: 'volume' });
				for (let n = 0; n < 60; n++) assert.ok([200, 204].includes(await log.try(3000)));
				await until('a try to copy', () => faults.read('hits') > 0);
				assert.equal(daemon.writer(), writer, 'no process ended');
			}),
		);
	}

	for (const files of ['wal', 'volume', 'segment'])
		it(
			`an error on writing (${files}): 5xx, then a new writer goes on from the log`,
			withDaemon(async (faults, log) => {
				faults.set('io', { files, count: 1 });
				await trouble(faults, log);
			}),
		);

	for (const files of ['wal', 'volume', 'segment'])
		it(
			`an error on syncing (${files}): 5xx, nothing is retried in place`,
			withDaemon(async (faults, log) => {
				faults.set('sync', { files, count: 1 });
				await trouble(faults, log);
			}),
		);

	it(
		'errors that stay: reads go on, and when the disk is mended the daemon recovers by itself',
		withDaemon(async (faults, log, daemon) => {
			const writer = daemon.writer();
			faults.set('io');
			await until('several writers in vain', async () => {
				const status = await log.try();
				assert.ok(status === 0 || status >= 500, String(status));
				await log.verify();
				return (daemon.text().match(/child_exit name=store/g) ?? []).length > 2;
			});
			faults.clear();
			await until('a writer that stays', () => daemon.writer() && daemon.writer() !== writer);
		}),
	);

	it(
		'short writes: finished, nobody notices',
		withDaemon(async (faults, log, daemon) => {
			const writer = daemon.writer();
			faults.set('short');
			for (let n = 0; n < 40; n++) assert.ok([200, 204].includes(await log.try(n % 8 ? 3000 : LARGE)));
			assert.ok(faults.read('hits') > 40);
			assert.equal(daemon.writer(), writer, 'no process ended');
		}),
	);
});

// Appends until the fault has struck; whoever met it is told so by a 5xx, or not at all.
async function trouble(faults, log) {
	await until('the fault to strike', async () => {
		const status = await log.try(log.seq % 4 ? 3000 : LARGE);
		assert.ok([0, 200, 204].includes(status) || status >= 500, String(status));
		return faults.read('hits') > 0;
	}, { step: 1 });
}
