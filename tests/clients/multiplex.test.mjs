// A thousand live readers on one HTTP/2 connection: 500 long-polls and 500 SSE readers are all served, and requests
// among them are answered meanwhile.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { valuesOf } from '../lib/live.mjs';
import { startServer } from '../lib/server.mjs';
import { CLOSE, JSON_TYPE, Stream, freshName, ours } from '../lib/streams.mjs';

it('500 long-polls and 500 SSE readers share one HTTP/2 connection', ours, async () => {
	const server = await startServer({
		config: (config) => (config.frontends[0].plugins[0].long_poll_timeout = '60s'),
	});
	const client = connect('h2c', server.url, { settings: { maxConcurrentStreams: 2000 } });
	const writer = connect('HTTP/1.1', server.url);
	const streams = Array.from({ length: 10 }, () => new Stream(client, freshName('mux')));
	for (const s of streams) await s.create({ type: JSON_TYPE, body: '"first"' });

	const tails = await Promise.all(streams.map((s) => s.tail()));
	const polls = Array.from({ length: 500 }, (_, n) => streams[n % 10].poll(tails[n % 10]));
	const readers = await Promise.all(Array.from({ length: 500 }, (_, n) => streams[n % 10].sse('-1')));
	for (const reader of readers) await reader.upTo();
	assert.equal(client.session.destroyed, false);
	assert.equal((await streams[0].get()).text, '["first"]', 'an ordinary request passes between them');

	for (const [n, s] of streams.entries()) {
		await s.on(writer).append(JSON.stringify({ live: n }), { type: JSON_TYPE });
		await s.on(writer).append('"last"', { type: JSON_TYPE, headers: CLOSE });
	}
	for (const [n, answer] of (await Promise.all(polls)).entries()) {
		assert.equal(answer.status, 200);
		assert.deepEqual(answer.json()[0], { live: n % 10 });
	}
	for (const [n, reader] of readers.entries()) {
		const events = await reader.rest();
		assert.deepEqual(valuesOf(events), [{ live: n % 10 }, 'last']);
		assert.equal(events.at(-1).control.streamClosed, true);
	}
	client.close();
	writer.close();
	await server.stop();
});
