// kill -9 of a worker, the writer, the supervisor: nobody else falls, nothing acknowledged is lost, live readers miss
// nothing.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { valuesOf } from '../lib/live.mjs';
import { startLoad } from '../lib/load.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { CLOSE, JSON_TYPE, Stream, freshName, producer } from '../lib/streams.mjs';
import { LIMIT, until, within } from '../lib/wait.mjs';

const MOURNING = [/\bchild\b|child_|\blink\b|store_lost|writer/];

const count = (n) => Array.from({ length: n }, (_, at) => at);

// Follows a stream live until it is closed, reconnecting as a client would; returns the values seen.
async function follow(mode, url, name) {
	const client = connect('HTTP/1.1', url, { keepAlive: false });
	const s = new Stream(client, name);
	const at = { offset: '-1', closed: false, seen: [] };
	while (!at.closed) {
		try {
			await (mode === 'sse' ? followEvents(s, at) : followPoll(s, at));
		} catch (error) {
			if (/in vain/.test(error.message)) throw error;
		}
	}
	client.close();
	return at.seen;
}

// Values count once the control event behind them has come: only then can the reader resume behind them.
async function followEvents(s, at) {
	const reader = await s.sse(at.offset);
	let pending = [];
	for (let event; (event = await reader.next(LIMIT * 4)) !== null;) {
		if (event.type === 'data') pending.push(...valuesOf([event]));
		if (!event.control) continue;
		at.seen.push(...pending);
		pending = [];
		at.offset = event.control.streamNextOffset;
		at.closed = event.control.streamClosed === true;
	}
}

async function followPoll(s, at) {
	const answer = await s.poll(at.offset);
	if (![200, 204].includes(answer.status)) return;
	if (answer.status === 200) at.seen.push(...answer.json());
	at.offset = answer.headers['stream-next-offset'];
	at.closed = answer.headers['stream-closed'] === 'true';
}

const alive = (pid) => {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
};

describe('kill -9', { concurrency: 2 }, () => {
	it('a worker: the others go on, it comes back, everything acknowledged is there', async () => {
		const daemon = await startSluice({ allow: MOURNING });
		const writer = daemon.writer();
		const load = await startLoad(daemon.url, { writers: 9, retry: true });
		for (let round = 0; round < 4; round++) {
			await load.progress();
			await daemon.killChild(daemon.workers()[round % 2]);
			await load.progress();
		}
		assert.equal(daemon.writer(), writer, 'the writer was not touched');
		await load.stop();
		await load.verify();
		load.close();
		await daemon.stop();
	});

	it('the writer: producers need not even retry, the workers stay, everything acknowledged is there', async () => {
		const daemon = await startSluice({ allow: MOURNING });
		const workers = daemon.workers();
		const load = await startLoad(daemon.url, { writers: 9 });
		for (let round = 0; round < 4; round++) {
			await load.progress();
			await daemon.killChild(daemon.writer());
			await load.progress();
		}
		assert.deepEqual(daemon.workers(), workers, 'no worker was touched');
		await load.stop();
		assert.deepEqual(load.trouble, [], 'a writer restart is latency for an idempotent producer');
		await load.verify();
		load.close();
		await daemon.stop();
	});

	it('the writer, under plain appends: each is acknowledged, refused or unknown (504), and the acknowledged are there', async () => {
		const daemon = await startSluice({ allow: MOURNING });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ type: JSON_TYPE });
		const acked = new Set(),
			unknown = new Set();
		let next = 0,
			done = false;
		const lanes = Array.from({ length: 16 }, async () => {
			while (!done) {
				const n = next++;
				const { status } = await s.post(String(n), { type: JSON_TYPE });
				assert.ok([204, 503, 504].includes(status), String(status));
				if (status === 204) acked.add(n);
				if (status === 504) unknown.add(n);
			}
		});
		for (let round = 0; round < 4; round++) {
			const goal = acked.size + 100;
			await until('more appends', () => acked.size >= goal);
			await daemon.killChild(daemon.writer());
		}
		done = true;
		await Promise.all(lanes);
		const values = (await s.readAll()).values();
		const there = new Set(values);
		assert.equal(there.size, values.length, 'nothing twice');
		for (const n of acked) assert.ok(there.has(n), `${n} was acknowledged`);
		for (const n of values) assert.ok(acked.has(n) || unknown.has(n), `${n} was refused`);
		client.close();
		await daemon.stop();
	});

	it('the writer, under live readers: they miss nothing and need not reconnect', async () => {
		const daemon = await startSluice({
			allow: MOURNING,
			config: (config) => (config.frontends[0].plugins[0].sse_lifetime = '10m'),
		});
		const client = connect('HTTP/1.1', daemon.url);
		const name = freshName();
		const s = await new Stream(client, name).create({ type: JSON_TYPE });
		const readers = await Promise.all(Array.from({ length: 10 }, () => s.sse('-1')));
		const followers = Array.from({ length: 4 }, () => follow('long-poll', daemon.url, name));
		let n = 0;
		for (let round = 0; round < 4; round++) {
			for (let k = 0; k < 30; k++, n++)
				await s.append(String(n), { type: JSON_TYPE, headers: producer('p', 0, n) });
			if (round < 3) await daemon.killChild(daemon.writer());
		}
		await s.append('', { headers: CLOSE });
		for (const reader of readers) assert.deepEqual(valuesOf(await reader.rest()), count(n));
		for (const seen of await Promise.all(followers)) assert.deepEqual(seen, count(n));
		client.close();
		await daemon.stop();
	});

	it('reads go on while there is no writer', async () => {
		const daemon = await startSluice({ allow: MOURNING });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: 'here' });
		for (let round = 0; round < 3; round++) {
			const writer = daemon.writer();
			process.kill(writer, 'SIGKILL');
			for (let n = 0; n < 20; n++) assert.equal((await s.get()).text, 'here');
			await until('a new writer', () => daemon.writer() && daemon.writer() !== writer);
			assert.equal((await s.put()).status, 200);
		}
		client.close();
		await daemon.stop();
	});

	it('live readers that reconnect see everything once while workers and the writer die', async () => {
		const daemon = await startSluice({ allow: MOURNING });
		const name = freshName();
		const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
		const s = await new Stream(client, name).create({ type: JSON_TYPE });
		const followers = ['sse', 'sse', 'long-poll', 'long-poll'].map((mode) =>
			follow(mode, daemon.url, name),
		);
		const send = async (body, headers) => {
			for (;;) {
				const answer = await s.post(body, { type: JSON_TYPE, headers }).catch(() => null);
				if (answer && [200, 204].includes(answer.status)) return;
			}
		};
		let n = 0;
		for (let round = 0; round < 4; round++) {
			for (let k = 0; k < 25; k++, n++) await send(String(n), producer('p', 0, n));
			await daemon.killChild(round % 2 ? daemon.writer() : daemon.workers()[0]);
		}
		await send('', { ...producer('p', 0, n), ...CLOSE });
		for (const seen of await within('the followers', Promise.all(followers), LIMIT * 4))
			assert.deepEqual(seen, count(n));
		client.close();
		await daemon.stop();
	});

	it('the supervisor: everybody drains and leaves, a successor takes port and data at once', async () => {
		const dataDir = temporary();
		const first = await startSluice({ dataDir, allow: MOURNING });
		const port = new URL(first.url).port;
		const client = connect('HTTP/1.1', first.url);
		const name = freshName();
		await new Stream(client, name).create({ body: 'kept' });
		const children = first.children().map((child) => child.pid);
		assert.equal(children.length, 3);
		process.kill(first.pid, 'SIGKILL');
		await first.died;
		const takeOver = (config) => (config.frontends[0].listen = [`127.0.0.1:${port}`]);
		const second = await until('a successor', () =>
			startSluice({ dataDir, config: takeOver, allow: MOURNING }).catch((error) => {
				if (!/in use/i.test(error.message)) throw error; // the workers have not heard of it yet
			}),
		);
		await until('the orphans to leave', () => !children.some(alive));
		const again = connect('HTTP/1.1', second.url);
		assert.equal((await new Stream(again, name).get()).text, 'kept');
		again.close();
		client.close();
		await second.stop();
		first.checkLog();
		first.killAll();
		first.cleanUp();
	});

	it('a worker that hangs is noticed, killed and replaced', async () => {
		const daemon = await startSluice({ allow: [/child|hung|ping/] });
		const [victim] = daemon.workers();
		await daemon.killChild(victim, { signal: 'SIGSTOP' });
		const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		client.close();
		await daemon.stop();
	});
});
