// Descriptors run out, in each of the three programs; the writer is stopped and its queues fill; a reader holds its snapshot for
// ever. Who asks is told to come again, others are served, and everything recovers by itself when the cause goes.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { LIMIT, until, within } from '../lib/wait.mjs';
import { Log } from './faults.mjs';

const NOISE = [/accept|child|link|store|peer|spawn|descriptor|limit|writer/];

// The lowest number that no descriptor of the process has; the next one would get it.
function unused(pid) {
	const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
	let n = 0;
	while (taken.has(n)) n++;
	return n;
}

// The process may open no descriptor more than it has, once they have stopped changing, or none from a number on; lift() takes that back.
async function exhaust(pid, at = 0) {
	let before = '';
	const rests = () => {
		const now = readdirSync(`/proc/${pid}/fd`).join();
		const same = now === before;
		before = now;
		return same;
	};
	await until('the descriptors to rest', rests, { step: 50 });
	const limit = (n) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${n}:`]);
	limit(at || unused(pid));
	return { lift: () => limit(4096) };
}

const good = (status) => [200, 204].includes(status);

describe('descriptors', { concurrency: 2 }, () => {
	it('run out in a worker: clients that are there are served, new ones when there is room again', async () => {
		const daemon = await startSluice({ config: (c) => (c.frontends[0].workers = 1), allow: NOISE });
		const log = await new Log(daemon.url).begin();
		await log.insist();
		const limit = await exhaust(daemon.workers()[0]);
		const mark = daemon.mark();
		const others = Array.from({ length: 20 }, () => connect('HTTP/1.1', daemon.url));
		const answers = others.map((client) =>
			new Stream(client, freshName()).put().then(
				({ status }) => status,
				() => 0,
			),
		);
		await daemon.waitLine(/accept/, { from: mark });
		for (let n = 0; n < 20; n++) assert.ok(good(await log.try()), 'the one that was there');
		limit.lift();
		for (const status of await Promise.all(answers)) assert.ok([0, 201, 503].includes(status), String(status));
		const late = connect('HTTP/1.1', daemon.url);
		assert.equal((await new Stream(late, freshName()).put()).status, 201);
		await log.verify();
		for (const client of [...others, late, log]) client.close();
		await daemon.stop();
	});

	// A payload that travels as a descriptor costs its worker the connection to this writer, which is renewed; the host repeats what has a
	// producer until it gets through.
	it('run out in the writer: what is asked waits or goes on, workers that lose it find it again', async () => {
		const daemon = await startSluice({ allow: NOISE });
		const [log, large] = [await new Log(daemon.url).begin(), await new Log(daemon.url).begin()];
		await log.insist();
		const writer = daemon.writer();
		const limit = await exhaust(writer);
		const mark = daemon.mark();
		const waiting = large.insist(300_000);
		await daemon.waitLine(/writer_down/, { from: mark });
		// The descriptor that this connection leaves may become the next payload's, and then its worker waits too.
		const small = (async () => {
			for (let n = 0; n < 5; n++) await log.insist();
		})();
		limit.lift();
		await Promise.all([waiting, small]);
		await everyWorkerWrites(daemon);
		assert.equal(daemon.writer(), writer, 'it was the same all the time');
		for (const each of [log, large]) {
			await each.verify();
			each.close();
		}
		await daemon.stop();
	});

	it('run out in the supervisor: a worker that died comes back when there is room', async () => {
		const daemon = await startSluice({ allow: NOISE });
		const log = await new Log(daemon.url).begin();
		await log.insist();
		const limit = await exhaust(daemon.pid, 8); // those of the dead worker will be free
		const mark = daemon.mark();
		process.kill(daemon.workers()[0], 'SIGKILL');
		await daemon.waitLine(/child_spawn/, { from: mark });
		await log.insist();
		limit.lift();
		await until('the worker', () => daemon.workers().length === 2);
		await everyWorkerWrites(daemon);
		await log.verify();
		log.close();
		await daemon.stop();
	});
});

// Connections until each worker has taken an append over one. They stay open: the worker with the fewest gets the next.
async function everyWorkerWrites(daemon) {
	const served = new Set();
	const clients = [];
	await until('every worker to write', async () => {
		const client = connect('HTTP/1.1', daemon.url);
		clients.push(client);
		const s = new Stream(client, freshName());
		const live = await client.open('PUT', s.path, { headers: { 'content-type': 'text/plain' } }).catch(() => null);
		if (live?.status === 201) served.add(daemon.workerOf(live.socket));
		return daemon.workers().every((pid) => served.has(pid));
	});
	for (const client of clients) client.close();
}

describe('queues', () => {
	it('a writer that stands still: requests wait within bounds, more are told to come again, all is well afterwards', async () => {
		const daemon = await startSluice({ allow: NOISE });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ type: 'application/octet-stream' });
		const body = Buffer.alloc(100_000, 'q');
		const writer = daemon.writer();
		process.kill(writer, 'SIGSTOP');
		const counts = {};
		let answered = 0,
			sent = 0;
		const one = async () => {
			sent++;
			const { status } = await s.post(body, { type: 'application/octet-stream' });
			counts[status] = (counts[status] ?? 0) + 1;
			answered++;
		};
		const flood = [];
		try {
			await until(
				'refusals',
				() => {
					if (sent < 2000) for (let n = 0; n < 100; n++) flood.push(one());
					return answered > 0 || sent >= 2000;
				},
				{ step: 50 },
			);
			assert.equal((await s.get()).status, 200, 'reads go on');
			for (const pid of daemon.workers())
				assert.ok(daemon.memory(pid) < 512 << 20, `${daemon.memory(pid)} bytes of a worker`);
		} finally {
			process.kill(writer, 'SIGCONT');
		}
		await within('the end of the flood', Promise.all(flood), LIMIT * 4);
		assert.deepEqual(Object.keys(counts).filter((status) => !['204', '503', '429'].includes(status)), []);
		const all = await s.readAll();
		assert.equal(all.body.length, counts[204] * body.length, 'each acknowledged one is there, and none that was refused');
		assert.equal(daemon.writer(), writer);
		client.close();
		await daemon.stop();
	});
});

describe('a reader that holds its snapshot for ever', () => {
	it('writes go on, the log grows; when it lets go, the log is used again from its beginning', async () => {
		const dataDir = temporary();
		const daemon = await startSluice({
			dataDir,
			allow: NOISE,
			config: (c) => (c.store = { checkpoint_bytes: '64K', synchronous: 'off' }),
		});
		const log = await new Log(daemon.url).begin();
		await log.insist(1000);
		const wal = () => statSync(join(dataDir, 'volume0.db-wal')).size;
		const holder = spawn('sqlite3', ['-readonly', join(dataDir, 'volume0.db')]);
		try {
			let said = '';
			holder.stdout.on('data', (text) => (said += text));
			holder.stdin.write("BEGIN;\nSELECT 'held', count(*) FROM sqlite_schema;\n");
			await until('the snapshot', () => said.includes('held'));
			await until('a log of many times its target', async () => {
				await log.insist(4000);
				return wal() > 20 * 65536;
			}, { step: 1 });
		} finally {
			holder.stdin.end();
			await new Promise((done) => holder.once('close', done));
		}
		// Used again from its beginning: the file does not grow any more.
		await until('a log that does not grow', async () => {
			const before = wal();
			for (let n = 0; n < 40; n++) await log.insist(4000);
			return wal() === before;
		}, { step: 1 });
		await log.verify();
		log.close();
		await daemon.stop();
	});
});
