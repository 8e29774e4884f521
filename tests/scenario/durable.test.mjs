// What the data directory keeps, and what it refuses: section 22 and row 32 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { CLOSE, JSON_TYPE, Stream, ZERO, forkOf, freshName, producer } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';

const MAIN = 'volume0.db';

// Starts on dataDir, does the work with a client, ends the way `end` says.
async function session(dataDir, work, end = (daemon) => daemon.stop()) {
	const daemon = await startSluice({ dataDir });
	const client = connect('HTTP/1.1', daemon.url);
	const result = await work(client);
	client.close();
	await end(daemon);
	return result;
}
const crash = (daemon) => daemon.crash();

describe('durability', { concurrency: 2 }, () => {
	const block = Buffer.alloc(900_000, 7);

	const facts = (list, client) =>
		Promise.all(
			list.map(async (s) => {
				const { status, headers } = await s.on(client).head();
				return [
					status,
					headers['content-type'],
					headers['stream-next-offset'],
					headers['stream-closed'],
					headers['stream-ttl'],
				];
			}),
		);

	async function fill(client) {
		const make = (options) => new Stream(client, freshName()).create(options);
		const plain = await make({ body: 'a' });
		await plain.append('b', { headers: { ...producer('p', 2, 0), 'stream-seq': 'm' } });
		const large = await make({ type: 'application/octet-stream' });
		await large.append(block, { type: 'application/octet-stream' });
		const closed = await make({ body: 'x' });
		await closed.append('y', { headers: { ...producer('q', 0, 0), ...CLOSE } });
		const ttl = await make({ headers: { 'stream-ttl': '3600' } });
		const soft = await make({ body: 'inherited,' });
		const fork = await make({ type: null, headers: forkOf(soft) });
		await fork.append('own');
		await soft.remove();
		const gone = await make({ body: 'z' });
		await gone.remove();
		const json = await make({ type: JSON_TYPE, body: '[1,2,3]' });
		const cut = await make({
			type: null,
			headers: forkOf(json, { 'stream-fork-offset': ZERO, 'stream-fork-sub-offset': '2' }),
		});
		const all = { plain, large, closed, ttl, soft, fork, gone, json, cut };
		return { all, before: await facts(Object.values(all), client) };
	}

	async function compare({ all, before }, client) {
		assert.deepEqual(await facts(Object.values(all), client), before);
		const of = (name) => all[name].on(client);
		assert.equal((await of('plain').get()).text, 'ab');
		assert.ok((await of('large').readAll()).body.equals(block));
		assert.equal((await of('fork').get()).text, 'inherited,own');
		assert.deepEqual((await of('cut').get()).json(), [1, 2]);
		assert.equal((await of('soft').head()).status, 410);
		assert.equal((await of('gone').head()).status, 404);
		const p = of('plain');
		assert.equal((await p.post('b', { headers: producer('p', 2, 0) })).status, 204, 'duplicate');
		assert.equal((await p.post('c', { headers: producer('p', 1, 1) })).status, 403, 'stale');
		assert.equal((await p.post('c', { headers: { 'stream-seq': 'm' } })).status, 409, 'Stream-Seq');
		assert.equal(
			(await p.post('c', { headers: { ...producer('p', 2, 1), 'stream-seq': 'n' } })).status,
			200,
		);
		const again = await of('closed').post('y', { headers: { ...producer('q', 0, 0), ...CLOSE } });
		assert.equal(again.status, 204, 'the closing tuple');
		assert.equal((await of('closed').post('y')).status, 409);
	}

	for (const [how, end] of [
		['SIGKILL of everything', crash],
		['an orderly stop', undefined],
	])
		it(`data, closure, producers, Stream-Seq, TTL, forks and soft-deletes survive ${how}`, async () => {
			const dataDir = temporary();
			const made = await session(dataDir, fill, end);
			await session(dataDir, (client) => compare(made, client));
		});

	it('a TTL is not shortened by a restart, and expiry goes on after it', async () => {
		const dataDir = temporary();
		const [short, long] = await session(
			dataDir,
			async (client) => [
				await new Stream(client, freshName()).create({ headers: { 'stream-ttl': '2' } }),
				await new Stream(client, freshName()).create({ headers: { 'stream-ttl': '600' } }),
			],
			crash,
		);
		await session(dataDir, async (client) => {
			await short.on(client).gone();
			assert.equal((await long.on(client).head()).status, 200);
		});
	});
});

describe('a data directory that must not be touched', { concurrency: 2 }, () => {
	const patch = (file, at, bytes) => {
		const content = readFileSync(file);
		Buffer.from(bytes).copy(content, at);
		writeFileSync(file, content);
	};
	async function refused(dataDir, says) {
		const daemon = await startSluice({ dataDir, allow: [/./], ready: false });
		const end = await within('the refusal', daemon.exited);
		assert.equal(end.code, 1, daemon.text());
		assert.match(daemon.text(), says);
		await until('no process left', () => !daemon.alive());
		daemon.checkLog();
		daemon.killAll();
		daemon.cleanUp();
	}
	const cases = [
		['a newer schema', (file) => patch(file, 60, [0, 0, 0x27, 0x0f]), /newer|9999/i],
		[
			"somebody else's database",
			(file) => patch(file, 68, [1, 2, 3, 4]),
			/not a sluice|application|another program|belongs/i,
		],
		[
			'no database',
			(file) => writeFileSync(file, 'This is not a database. '.repeat(500)),
			/not a database/i,
		],
		[
			'a damaged beginning',
			(file) => patch(file, 100, Buffer.alloc(300, 0xa5)),
			/malformed|corrupt|damaged/i,
		],
	];
	for (const [what, damage, says] of cases)
		it(`${what}: refused with a sentence, and left as it is`, async () => {
			const dataDir = temporary();
			const file = join(dataDir, MAIN);
			await session(dataDir, (client) =>
				new Stream(client, freshName()).create({ body: 'precious' }),
			);
			damage(file);
			const before = readFileSync(file);
			await refused(dataDir, says);
			assert.ok(readFileSync(file).equals(before), 'the file is as it was');
		});

	for (const [what, size, end] of [
		['segments', 900_000],
		['log', 9, crash],
	])
		it(`a volume that is missing beside its ${what}: refused, and whole again when it is back`, async () => {
			const dataDir = temporary();
			const file = join(dataDir, MAIN);
			const body = Buffer.alloc(size, 7);
			const binary = { type: 'application/octet-stream', body };
			const s = await session(dataDir, (client) => new Stream(client, freshName()).create(binary), end);
			for (const emptied of [false, true]) {
				renameSync(file, `${file}.away`);
				if (emptied) writeFileSync(file, '');
				await refused(dataDir, /volume0\.db is not there, but (volume0\.db-wal|segments\/\w+\.seg), which is part of it: put it back/);
				assert.equal(existsSync(file), emptied, 'none is made');
				renameSync(`${file}.away`, file);
			}
			await session(dataDir, async (client) => assert.ok((await s.on(client).readAll()).body.equals(body)));
		});

	it('an empty directory in its place: a writer that is started again makes no new volume there', async () => {
		const dataDir = temporary();
		const daemon = await startSluice({ dataDir, allow: [/store/] });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: 'a' });
		renameSync(dataDir, `${dataDir}-away`);
		mkdirSync(dataDir, { mode: 0o700 });
		const from = daemon.mark();
		process.kill(daemon.writer(), 'SIGKILL');
		await daemon.waitLine(/volume0\.db is not there any more; see whether it was moved, or its disk is not mounted/, { from });
		assert.ok(!existsSync(join(dataDir, MAIN)));
		rmSync(dataDir, { recursive: true });
		renameSync(`${dataDir}-away`, dataDir);
		await until('a writer', async () => (await s.post('b')).status === 204);
		assert.equal((await s.get()).text, 'ab');
		client.close();
		await daemon.stop();
	});

	it('a write-ahead log cut at any place costs what lies behind the cut, never the start', async () => {
		const dataDir = temporary();
		const log = join(dataDir, `${MAIN}-wal`);
		const s = await session(
			dataDir,
			async (client) => {
				const made = await new Stream(client, freshName()).create({ type: JSON_TYPE });
				for (let n = 0; n < 20; n++) await made.append(String(n), { type: JSON_TYPE });
				return made;
			},
			crash,
		);
		assert.ok(existsSync(log), 'the log is there after a crash');
		const whole = readFileSync(log);
		for (const cut of [1, 3000, Math.floor(whole.length / 2)]) {
			const copy = temporary();
			for (const name of [MAIN, `${MAIN}-wal`])
				writeFileSync(join(copy, name), readFileSync(join(dataDir, name)));
			truncateSync(join(copy, `${MAIN}-wal`), whole.length - cut);
			await session(copy, async (client) => {
				const answer = await s.on(client).get();
				assert.ok([200, 404].includes(answer.status));
				if (answer.status === 404) return;
				const values = answer.json();
				assert.deepEqual(
					values,
					Array.from({ length: values.length }, (_, n) => n),
					'a prefix',
				);
			});
		}
	});

	it('the space of what was deleted is given back, whoever has read it', async () => {
		const dataDir = temporary();
		const daemon = await startSluice({
			dataDir,
			config: (config) => (config.store = { segment_bytes: '1M', reap_delay: '1s', sweep_interval: '100ms' }),
		});
		const client = connect('HTTP/1.1', daemon.url);
		const open = () =>
			daemon.children().flatMap(({ pid }) =>
				readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
					try {
						return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
					} catch {
						return []; // closed while we looked
					}
				}),
			);
		const s = await new Stream(client, freshName()).create({ type: 'application/octet-stream' });
		for (let n = 0; n < 4; n++) await s.append(Buffer.alloc(900_000, 7), { type: 'application/octet-stream' });
		assert.equal((await s.readAll()).body.length, 3_600_000);
		assert.ok(open().some((path) => /\.seg$/.test(path)), 'its files are open');
		await s.remove();
		await until('files to go', () => readdirSync(join(dataDir, 'segments')).length <= 1);
		await until('nobody to keep them open', () => !open().some((path) => /\.seg \(deleted\)$/.test(path)));
		client.close();
		await daemon.stop();
	});
});
