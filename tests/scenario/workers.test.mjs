// Two workers behave as one server: what one acknowledged the other shows at once, in every mode. One keeps what carries answers.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { valuesOf } from '../lib/live.mjs';
import { sanitized, startSluice } from '../lib/sluice.mjs';
import { CLOSE, JSON_TYPE, Stream, forkOf, freshName, producer } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

let daemon;

// Clients of one connection each, sorted by the worker that holds it: [[...], [...]], `each` of both.
async function pinned(each) {
	const groups = new Map(daemon.workers().map((pid) => [pid, []]));
	const probe = async () => {
		const client = connect('HTTP/1.1', daemon.url, { connections: 1 });
		const live = await client.open('GET', '/v1/stream/none');
		const holder = groups.get(daemon.workerOf(live.socket));
		await live.body();
		if (holder && holder.length < each) holder.push(client);
		else client.close();
	};
	await until('connections of both workers', async () => {
		await Promise.all(Array.from({ length: each * 2 }, probe));
		return [...groups.values()].every((list) => list.length === each);
	});
	return [...groups.values()];
}

describe('two workers', () => {
	before(async () => (daemon = await startSluice()));
	after(() => daemon?.stop());

	it('10,000 times: appended through one, acknowledged, and there through the other', async () => {
		const lanes = 10,
			rounds = 1000;
		const [first, second] = await pinned(lanes);
		await Promise.all(
			Array.from({ length: lanes }, async (_, lane) => {
				const pair = lane % 2 ? [first[lane], second[lane]] : [second[lane], first[lane]];
				const name = freshName();
				const writer = await new Stream(pair[0], name).create({ type: JSON_TYPE });
				const reader = writer.on(pair[1]);
				let offset = '-1';
				for (let n = 0; n < rounds; n++) {
					const next = await writer.append(String(n), { type: JSON_TYPE });
					const answer = await reader.get({ offset });
					assert.equal(answer.text, `[${n}]`, `lane ${lane}`);
					assert.equal(answer.headers['stream-next-offset'], next);
					assert.equal(answer.headers['stream-up-to-date'], 'true');
					offset = next;
				}
			}),
		);
		for (const client of [...first, ...second]) client.close();
	});

	it('creates, closes, deletes and forks of one are facts for the other at once', async () => {
		const [[a], [b]] = await pinned(1);
		for (let round = 0; round < 100; round++) {
			const name = freshName();
			const here = new Stream(a, name),
				there = new Stream(b, name);
			assert.equal((await there.head()).status, 404);
			await here.create({ body: 'x' });
			assert.equal((await there.get()).text, 'x');
			const fork = await new Stream(b, freshName()).create({ type: null, headers: forkOf(there) });
			assert.equal((await fork.on(a).get()).text, 'x');
			await here.append('', { headers: CLOSE });
			assert.equal((await there.get()).headers['stream-closed'], 'true');
			assert.equal((await there.post('y')).status, 409);
			assert.equal((await here.remove()).status, 204);
			assert.equal((await there.get()).status, 410);
			await fork.remove();
			assert.equal((await there.head()).status, 404);
			await there.create({ body: 'new' });
			assert.equal((await here.get()).text, 'new');
			await there.remove();
		}
		a.close();
		b.close();
	});

	it('the numbers of one producer are counted once over both', async () => {
		const [[a], [b]] = await pinned(1);
		const name = freshName();
		const pair = [await new Stream(a, name).create(), new Stream(b, name)];
		for (let n = 0; n < 200; n++) {
			const [s, other] = n % 2 ? pair : [pair[1], pair[0]];
			assert.equal((await s.post('x', { headers: producer('p', 0, n) })).status, 200);
			assert.equal((await other.post('x', { headers: producer('p', 0, n) })).status, 204);
		}
		assert.equal((await pair[1].get()).text.length, 200);
		a.close();
		b.close();
	});

	it('live readers at one worker see the appends of the other, all of them, in order', async () => {
		const [first, second] = await pinned(4);
		const name = freshName();
		const writer = await new Stream(first[0], name).create({ type: JSON_TYPE });
		const readers = await Promise.all(
			[first[1], first[2], second[1], second[2]].map((client) => writer.on(client).sse('-1')),
		);
		const poller = writer.on(second[3]);
		const polled = (async () => {
			const seen = [];
			for (let offset = '-1', closed = false; !closed;) {
				const answer = await poller.poll(offset);
				if (answer.status === 200) seen.push(...answer.json());
				offset = answer.headers['stream-next-offset'];
				closed = answer.headers['stream-closed'] === 'true';
			}
			return seen;
		})();
		const writers = [writer, writer.on(second[0])];
		for (let n = 0; n < 500; n++) await writers[n % 2].append(String(n), { type: JSON_TYPE });
		await writer.append('', { headers: CLOSE });
		const expected = Array.from({ length: 500 }, (_, n) => n);
		for (const reader of readers) assert.deepEqual(valuesOf(await reader.rest()), expected);
		assert.deepEqual(await polled, expected);
		for (const client of [...first, ...second]) client.close();
	});
});

describe('one worker', () => {
	it('memory that carries large answers is kept from one to the next', { skip: sanitized && 'a sanitizer keeps what was freed' }, async () => {
		const one = await startSluice({ config: (config) => (config.frontends[0].workers = 1) });
		const [pid] = one.workers();
		const streams = await Promise.all(
			Array.from({ length: 4 }, async () => {
				const client = connect('HTTP/1.1', one.url, { connections: 1 });
				const stream = await new Stream(client, freshName()).create({ type: 'application/octet-stream' });
				for (let n = 0; n < 8; n++) await stream.append(Buffer.alloc(1 << 20, n), { type: 'application/octet-stream' });
				return stream;
			}),
		);
		const readAll = () => Promise.all(streams.map(async (stream) => assert.equal((await stream.readAll()).body.length, 8 << 20)));
		await readAll();
		const before = one.faults(pid);
		for (let round = 0; round < 4; round++) await readAll();
		const pages = (4 * 4 * 8 << 20) / 4096;
		assert.ok(one.faults(pid) - before < pages / 10, `${one.faults(pid) - before} page faults for ${pages} pages that were sent`);
		for (const stream of streams) stream.client.close();
		await one.stop();
	});
});
