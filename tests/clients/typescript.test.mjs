// The official TypeScript client, as an application uses it: what it sends must arrive once and in order, in every live
// mode.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DurableStream, IdempotentProducer, stream } from '@durable-streams/client';
import { startServer } from '../lib/server.mjs';
import { JSON_TYPE, ROOT, freshName } from '../lib/streams.mjs';
import { within } from '../lib/wait.mjs';

let server;

const url = () => server.url + ROOT + freshName('client');
const count = (n, from = 0) => Array.from({ length: n }, (_, at) => at + from);

// Collects items of a live read until `wanted` of them have come.
async function follow(options, wanted) {
	const items = [];
	const abort = new AbortController();
	const response = await stream({ json: true, signal: abort.signal, ...options });
	await within(
		`${wanted} items`,
		new Promise((done) => {
			response.subscribeJson(async (batch) => {
				items.push(...batch.items);
				if (items.length >= wanted) done();
			});
		}),
	);
	response.cancel?.();
	abort.abort();
	return items;
}

describe('official TypeScript client', { concurrency: 4 }, () => {
	before(async () => (server = await startServer()));
	after(() => server?.stop());

	it('creates, appends, reads, and resumes from an offset', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: 'text/plain' });
		await handle.append('one,');
		const { offset } = await handle.head();
		await handle.append('two,');
		await handle.append('three');
		assert.equal(await (await stream({ url: handle.url, live: false })).text(), 'one,two,three');
		assert.equal(await (await stream({ url: handle.url, live: false, offset })).text(), 'two,three');
		await handle.delete();
		assert.equal((await DurableStream.head({ url: handle.url })).exists, false);
	});

	it('carries binary data unchanged', async () => {
		const bytes = Uint8Array.from({ length: 200_000 }, (_, at) => (at * 13) & 255);
		const handle = await DurableStream.create({ url: url(), contentType: 'application/octet-stream' });
		await handle.append(bytes.subarray(0, 70_000));
		await handle.append(bytes.subarray(70_000));
		assert.deepEqual(await (await stream({ url: handle.url, live: false })).body(), bytes);
	});

	for (const live of ['long-poll', 'sse', true])
		it(`follows a JSON stream live (${live}) from its beginning through appends of others`, async () => {
			const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
			for (const n of count(20)) await handle.append(JSON.stringify({ n }));
			const following = follow({ url: handle.url, live, offset: '-1' }, 60);
			for (const n of count(40, 20)) await handle.append(JSON.stringify({ n }));
			assert.deepEqual(
				(await following).map(({ n }) => n),
				count(60),
			);
		});

	it('follows a binary stream by SSE', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: 'application/octet-stream' });
		const bytes = Uint8Array.from({ length: 3000 }, (_, at) => at & 255);
		await handle.append(bytes.subarray(0, 1000));
		const abort = new AbortController();
		const response = await stream({ url: handle.url, live: 'sse', signal: abort.signal });
		const parts = [];
		const seen = within(
			'all bytes',
			new Promise((done) =>
				response.subscribeBytes(async (chunk) => {
					parts.push(Buffer.from(chunk.data));
					if (Buffer.concat(parts).length === 3000) done();
				}),
			),
		);
		await handle.append(bytes.subarray(1000));
		await seen;
		abort.abort();
		assert.ok(Buffer.concat(parts).equals(Buffer.from(bytes)));
	});

	it('batches concurrent appends of JSON into few requests without losing one', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
		await Promise.all(count(500).map((n) => handle.append(JSON.stringify({ n }))));
		const items = await (await stream({ url: handle.url, live: false })).json();
		assert.deepEqual(
			items.map(({ n }) => n).sort((a, b) => a - b),
			count(500),
		);
	});

	it('an idempotent producer with many batches in flight writes each message once, in order', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
		const errors = [];
		const producer = new IdempotentProducer(handle, 'writer', {
			maxInFlight: 8,
			maxBatchBytes: 200,
			lingerMs: 0,
			onError: (error) => errors.push(error),
		});
		for (const n of count(2000)) producer.append(JSON.stringify({ n }));
		await producer.flush();
		assert.deepEqual(errors, []);
		const items = await (await stream({ url: handle.url, live: false })).json();
		assert.deepEqual(
			items.map(({ n }) => n),
			count(2000),
		);
	});

	it('a successor with a new epoch fences the first producer off; auto-claim takes over', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
		const errors = [];
		const first = new IdempotentProducer(handle, 'writer', {
			epoch: 0,
			onError: (error) => errors.push(error),
		});
		first.append('1');
		await first.flush();
		const second = new IdempotentProducer(handle, 'writer', {
			epoch: 1,
			onError: (error) => errors.push(error),
		});
		second.append('2');
		await second.flush();
		assert.deepEqual(errors, []);
		first.append('3');
		await first.flush().catch(() => {});
		assert.equal(errors.length, 1, 'the first one is told');
		const third = new IdempotentProducer(handle, 'writer', {
			epoch: 0,
			autoClaim: true,
			onError: (error) => errors.push(error),
		});
		third.append('4');
		await third.flush();
		assert.equal(errors.length, 1);
		assert.deepEqual(await (await stream({ url: handle.url, live: false })).json(), [1, 2, 4]);
	});

	for (const live of ['long-poll', 'sse'])
		it(`closing with a last message ends a live read (${live}) behind that message`, async () => {
			const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
			await handle.append('1');
			const response = await stream({ url: handle.url, live, json: true });
			const items = [];
			const ended = (async () => {
				for await (const item of response.jsonStream()) items.push(item);
			})();
			await handle.append('2');
			await handle.close({ body: '3' });
			await within('the end of the read', ended);
			assert.deepEqual(items, [1, 2, 3]);
			await handle.close();
			await assert.rejects(handle.append('4'), (error) =>
				/closed/i.test(`${error.name} ${error.message} ${error.code}`),
			);
		});

	it('a producer closes with its last message, and may say so again', async () => {
		const handle = await DurableStream.create({ url: url(), contentType: JSON_TYPE });
		const producer = new IdempotentProducer(handle, 'writer');
		producer.append('1');
		await producer.close('2');
		await producer.close();
		assert.deepEqual(await (await stream({ url: handle.url, live: false })).json(), [1, 2]);
		assert.equal((await handle.head()).streamClosed, true);
	});
});
