// The Loro Streams surface: buckets, byte offsets, live reads and ephemeral channels below /ds, over the streams that the other door shows.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ephemeralStore } from '../lib/ephemeral.mjs';
import { connect } from '../lib/http.mjs';
import { SseReader } from '../lib/live.mjs';
import { startSluice } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';

const at = (n) => String(n).padStart(20, '0');
const TEXT = { 'content-type': 'text/plain' };
const JSON_TYPE = { 'content-type': 'application/json' };

let daemon, serial = 0;
const fresh = () => `s${++serial}`;

const config = (settings) => {
	settings.frontends[0].plugins.push({ plugin: 'riverrun', long_poll_timeout: '2s' });
	settings.frontends.push({ name: 'presence', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin: 'presence' }] });
};

const eventsOf = (live) => new SseReader(live);
// {event, data}, or null at the end of the answer.
const next = async (events) => {
	const event = await events.next();
	return event && { event: event.type, data: event.data };
};

describe('riverrun', () => {
	before(async () => (daemon = await startSluice({ config })));
	after(() => daemon?.stop());

	for (const via of ['HTTP/1.1', 'h2c'])
		describe(via, () => {
			let client;
			before(() => (client = connect(via, daemon.url)));
			after(() => client.close());
			const request = (method, path, headers = {}, body) => client.request(method, `/ds/${path}`, { headers, body });

			it('creates, appends and reads with offsets that count bytes', async () => {
				const path = `team/${fresh()}%3Ameta`;
				const made = await request('PUT', path);
				assert.equal(made.status, 201);
				assert.equal(made.headers.location, `/ds/${path}`);
				assert.equal(made.headers['content-type'], 'application/octet-stream');
				assert.equal(made.headers['stream-next-offset'], at(0));
				assert.match(made.headers['stream-extensions'], /append-cas/);
				assert.equal((await request('PUT', path)).status, 200);
				const first = await request('POST', path, {}, Buffer.from('\0\0\0\x03abc'));
				assert.equal(first.status, 204);
				assert.equal(first.headers['stream-next-offset'], at(7));
				assert.equal((await request('POST', path, {}, 'xy')).headers['stream-next-offset'], at(9));
				const all = await request('GET', `${path}?offset=-1`);
				assert.equal(all.text, '\0\0\0\x03abcxy');
				assert.equal(all.headers['stream-next-offset'], at(9));
				assert.equal(all.headers['stream-earliest-offset'], at(0));
				assert.equal(all.headers['stream-up-to-date'], 'true');
				assert.equal((await request('GET', `${path}?offset=7`)).text, 'xy');
				assert.equal((await request('GET', `${path}?offset=${at(5)}`)).text, 'bcxy');
				assert.equal((await request('GET', `${path}?offset=9`)).text, '');
				assert.equal((await request('GET', `${path}?offset=now`)).headers['stream-next-offset'], at(9));
				const head = await request('HEAD', path);
				assert.equal(head.headers['stream-next-offset'], at(9));
				assert.equal(head.headers['stream-earliest-offset'], at(0));
			});

			it('keeps the messages of JSON streams apart', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, JSON_TYPE, '[1, "two" ,{"three":3}]');
				assert.equal((await request('POST', path, {}, '[4]')).headers['stream-next-offset'], at(18));
				assert.equal((await request('GET', path)).text, '[1,"two",{"three":3},4]');
				assert.equal((await request('GET', `${path}?offset=6`)).text, '[{"three":3},4]');
				assert.equal((await request('GET', `${path}?offset=17`)).text, '[4]');
				assert.equal((await request('GET', `${path}?offset=18`)).text, '[]');
				const inside = await request('GET', `${path}?offset=2`);
				assert.equal(inside.status, 400);
				assert.equal(inside.json().code, 'invalid_offset');
				assert.equal((await request('POST', path, {}, '{')).json().code, 'invalid_json');
			});

			it('says what is wrong, in JSON with a code', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, TEXT, 'abc');
				const cases = [
					['GET', 'abc/x', 400, 'invalid_bucket_id'],
					['GET', 'TEAM/x', 400, 'invalid_bucket_id'],
					['PUT', 'team/a..b', 400, 'invalid_stream_id'],
					['PUT', 'team/a%2Fb', 400, 'invalid_stream_id'],
					['PUT', `team/${'x'.repeat(118)}`, 400, 'invalid_stream_id'],
					['GET', 'team/none', 404, 'stream_not_found'],
					['POST', 'team/none', 404, 'stream_not_found', 'x'],
					['GET', `${path}/nothing`, 404, 'not_found'],
					['DELETE', `${path}/append-cas`, 405, 'method_not_allowed'],
					['POST', path, 400, 'empty_append'],
					['GET', `${path}?offset=x`, 400, 'invalid_offset'],
					['GET', `${path}?offset=4`, 400, 'invalid_offset'],
					['GET', `${path}?live=sse`, 400, 'offset_required'],
					['GET', `${path}?offset=0&live=x`, 400, 'invalid_live'],
					['GET', `${path}?offset=4&live=sse`, 400, 'invalid_offset'],
				];
				for (const [method, target, status, code, body] of cases) {
					const answer = await request(method, target, {}, body);
					assert.equal(answer.status, status, `${method} ${target}`);
					assert.equal(answer.json().code, code, `${method} ${target}`);
					assert.equal(answer.headers['access-control-allow-origin'], '*');
				}
				for (const [method, target, headers, status, code] of [
					['PATCH', path, {}, 405, 'method_not_allowed'],
					...(via === 'h2c' ? [] : [['PUT', path, { 'content-length': String(64 << 20) }, 413, 'too_large']]),
					['GET', '', {}, 404, 'not_found'],
				]) {
					const answer = await request(method, target, headers);
					assert.equal(answer.status, status, `${method} ${target}`);
					assert.equal(answer.headers['content-type'], 'application/json', `${method} ${target}`);
					assert.equal(answer.json().code, code, `${method} ${target}`);
				}
				const other = await request('POST', path, JSON_TYPE, '1');
				assert.equal(other.status, 409);
				assert.equal(other.json().code, 'content_type_mismatch');
				await request('POST', path, { 'stream-closed': 'true' });
				const closed = await request('POST', path, TEXT, 'x');
				assert.equal(closed.status, 409);
				assert.equal(closed.json().code, 'stream_closed');
				assert.equal(closed.headers['stream-next-offset'], at(3));
			});

			it('appends when the tail is the expected one, and tells a miss from other conflicts', async () => {
				const path = `team/${fresh()}`;
				const cas = (expected, body) => request('POST', `${path}/append-cas`, { 'stream-expected-offset': expected }, body);
				await request('PUT', path, TEXT);
				assert.equal((await cas('-1', 'abc')).headers['stream-next-offset'], at(3));
				assert.equal((await cas(at(3), 'de')).headers['stream-next-offset'], at(5));
				const miss = await cas('3', 'f');
				assert.equal(miss.status, 409);
				assert.equal(miss.headers['stream-cas-mismatch'], 'true');
				assert.equal(miss.headers['stream-expected-offset'], at(3));
				assert.equal(miss.headers['stream-next-offset'], at(5));
				assert.equal(miss.json().code, 'cas_mismatch');
				assert.equal((await request('POST', `${path}/append-cas`, {}, 'f')).json().code, 'invalid_offset');
			});

			it('has buckets that outlive their streams, and lists them', async () => {
				const bucket = `bucket-${serial}-${via === 'h2c' ? 2 : 1}`;
				assert.equal((await request('GET', bucket)).status, 404);
				assert.equal((await request('PUT', bucket)).status, 201);
				assert.equal((await request('PUT', bucket)).status, 409);
				for (const id of ['b', 'a', 'c:x']) await request('PUT', `${bucket}/${encodeURIComponent(id)}`, TEXT, id);
				assert.deepEqual((await request('GET', bucket)).json(), { bucket_id: bucket, streams: 3 });
				const page = (await request('GET', `${bucket}/streams?limit=2`)).json();
				assert.deepEqual(page.streams.map((s) => [s.stream_id, s.tail_offset]), [['a', at(1)], ['b', at(1)]]);
				assert.equal(page.stream_count, 3);
				assert.equal(page.has_more, true);
				const rest = (await request('GET', `${bucket}/streams?after=${page.next_cursor}`)).json();
				assert.deepEqual(rest.streams.map((s) => s.stream_id), ['c:x']);
				assert.equal(rest.has_more, false);
				assert.equal((await request('DELETE', bucket)).json().code, 'bucket_not_empty');
				for (const id of ['b', 'a']) assert.equal((await request('DELETE', `${bucket}/${id}`)).status, 204);
				assert.equal((await request('DELETE', `${bucket}?force=true`)).status, 204);
				assert.equal((await request('GET', `${bucket}/streams`)).json().code, 'bucket_not_found');
				const implied = `${bucket}-x`;
				await request('PUT', `${implied}/only`);
				await request('DELETE', `${implied}/only`);
				assert.deepEqual((await request('GET', implied)).json(), { bucket_id: implied, streams: 0 });
				assert.equal((await request('DELETE', implied)).status, 204);
			});

			it('follows a stream by events, bytes as base64, and by long-poll', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, {}, 'abcdef');
				const live = await client.open('GET', `/ds/${path}?offset=2&live=sse`);
				assert.equal(live.headers['stream-sse-data-encoding'], 'base64');
				const events = eventsOf(live);
				assert.deepEqual(await next(events), { event: 'data', data: Buffer.from('cdef').toString('base64') });
				const control = JSON.parse((await next(events)).data);
				assert.equal(control.streamNextOffset, at(6));
				assert.equal(control.upToDate, true);
				const poll = client.open('GET', `/ds/${path}?offset=6&live=long-poll`);
				await request('POST', path, {}, 'gh');
				assert.deepEqual(await next(events), { event: 'data', data: Buffer.from('gh').toString('base64') });
				assert.equal(JSON.parse((await next(events)).data).streamNextOffset, at(8));
				const polled = await poll;
				assert.equal(polled.status, 200);
				assert.equal((await polled.body()).toString(), 'gh');
				assert.equal(polled.headers['stream-next-offset'], at(8));
				await request('POST', path, { 'stream-closed': 'true' });
				const last = JSON.parse((await next(events)).data);
				assert.equal(last.streamClosed, true);
				assert.equal(last.streamCursor, undefined);
				const over = await request('GET', `${path}?offset=8&live=long-poll`);
				assert.equal(over.status, 204);
				assert.equal(over.headers['stream-closed'], 'true');
				assert.equal(over.headers['stream-cursor'], undefined);
			});

			it('shows the streams of the other door, and they its', async () => {
				const id = fresh();
				await request('PUT', `team/${id}`, TEXT, 'one');
				assert.equal((await client.request('GET', `/v1/stream/team/${id}`)).text, 'one');
				const live = await client.open('GET', `/ds/team/${id}?offset=3&live=sse`);
				const events = eventsOf(live);
				await next(events);
				await client.request('POST', `/v1/stream/team/${id}`, { headers: TEXT, body: 'two' });
				assert.equal((await next(events)).data, 'two');
				assert.equal(JSON.parse((await next(events)).data).streamNextOffset, at(6));
				live.close();
			});

			it('exchanges an EphemeralStore through a channel, until the stream is deleted', async () => {
				const path = `team/${fresh()}`;
				assert.equal((await request('POST', `${path}?ephemeral=who`, {}, 'x')).json().code, 'stream_not_found');
				await request('PUT', path);
				const mine = ephemeralStore(60000);
				mine.set('ann', { x: 1 });
				const post = () => request('POST', `${path}?ephemeral=who`, {}, Buffer.from(mine.encodeAll()));
				const nobody = eventsOf(await client.open('GET', `/ds/${path}?awareness=empty&live=sse`));
				assert.deepEqual(await next(nobody), { event: 'bootstrap', data: '' });
				assert.equal((await post()).status, 204);
				const other = connect(via, daemon.url);
				const live = await other.open('GET', `/ds/${path}?awareness=who&live=sse`);
				assert.equal(live.headers['stream-sse-data-encoding'], 'base64');
				const events = eventsOf(live);
				const theirs = ephemeralStore(60000);
				const take = async (kind) => {
					const event = await next(events);
					assert.equal(event.event, kind);
					theirs.apply(new Uint8Array(Buffer.from(event.data, 'base64')));
				};
				await take('bootstrap');
				assert.deepEqual(theirs.get('ann'), { x: 1 });
				mine.set('bob', 2);
				await post();
				await take('data');
				assert.equal(theirs.get('bob'), 2);
				assert.equal((await request('POST', `${path}?ephemeral=who`, {}, 'junk')).json().code, 'malformed_ephemeral_update');
				for (const bad of ['?ephemeral=', '?ephemeral=a&awareness=b', '?ephemeral=a&offset=0&live=sse', '?ephemeral=a', '?ephemeral=a&live=long-poll', '/append-cas?ephemeral=a'])
					assert.equal((await request('GET', `${path}${bad}`)).status, 400, bad);
				await request('DELETE', path);
				assert.equal(await next(events), null, 'the subscription ends with the stream');
				await request('PUT', path);
				const anew = eventsOf(await other.open('GET', `/ds/${path}?ephemeral=who&live=sse`));
				assert.deepEqual(await next(anew), { event: 'bootstrap', data: '' });
				other.close();
			});
		});

	it('names only what is on', async () => {
		const plain = await startSluice({ config: (settings) => settings.frontends[0].plugins.push({ plugin: 'riverrun' }) });
		const client = connect('HTTP/1.1', plain.url);
		const made = await client.request('PUT', '/ds/team/a');
		assert.equal(made.headers['stream-extensions'], 'snapshot, bootstrap, append-cas');
		assert.equal((await client.request('HEAD', '/ds/team/a')).headers['stream-extensions'], 'snapshot, bootstrap, append-cas');
		const update = Buffer.from('AQFrAQNUgKCr/vli', 'base64');
		const refused = await client.request('POST', '/ds/team/a?ephemeral=c', { body: update });
		assert.equal(refused.status, 503);
		assert.match(refused.json().error, /presence/);
		client.close();
		await plain.stop();
	});

	it('exchanges updates of a channel between clients of different workers', async () => {
		const groups = new Map(daemon.workers().map((pid) => [pid, null]));
		const probes = [];
		await until('a connection of each worker', async () => {
			const client = connect('HTTP/1.1', daemon.url, { connections: 1 });
			probes.push(client);
			const live = await client.open('PUT', '/ds/team/spread');
			const holder = daemon.workerOf(live.socket);
			await live.body();
			if (groups.has(holder) && !groups.get(holder)) groups.set(holder, client);
			return [...groups.values()].filter(Boolean).length >= 2;
		});
		const [one, two] = [...groups.values()].filter(Boolean);
		const events = eventsOf(await two.open('GET', '/ds/team/spread?ephemeral=c&live=sse'));
		await next(events);
		const store = ephemeralStore(60000);
		store.set('k', 'v');
		const update = Buffer.from(store.encodeAll());
		assert.equal((await one.request('POST', '/ds/team/spread?ephemeral=c', { body: update })).status, 204);
		assert.deepEqual(await next(events), { event: 'data', data: update.toString('base64') });
		for (const client of probes) client.close();
	});
});
