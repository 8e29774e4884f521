// ETag, Cache-Control, cursors, compression, CORS: sections 2 and 12, rows 14-16 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import { BEYOND, CLOSE, JSON_TYPE, ours, overBothVersions } from '../lib/streams.mjs';

const EPOCH = Date.UTC(2024, 9, 9);
const interval = () => Math.floor((Date.now() - EPOCH) / 20_000);
const maxAge = (answer) => Number(/max-age=(\d+)/.exec(answer.headers['cache-control'])?.[1] ?? NaN);

const ALLOW_METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'];
const ALLOW_HEADERS = [
	'content-type',
	'authorization',
	'if-none-match',
	'stream-seq',
	'stream-ttl',
	'stream-expires-at',
	'stream-closed',
	'producer-id',
	'producer-epoch',
	'producer-seq',
	'stream-forked-from',
	'stream-fork-offset',
	'stream-fork-sub-offset',
];
const EXPOSE_HEADERS = [
	'stream-next-offset',
	'stream-cursor',
	'stream-up-to-date',
	'stream-closed',
	'stream-sse-data-encoding',
	'stream-ttl',
	'stream-expires-at',
	'producer-epoch',
	'producer-seq',
	'producer-expected-seq',
	'producer-received-seq',
	'etag',
	'location',
	'content-type',
	'content-encoding',
	'vary',
	'retry-after',
];
const list = (value) => (value ?? '').split(',').map((item) => item.trim().toLowerCase());

overBothVersions('caching', {}, (door, it) => {
	it(
		'If-None-Match with the current tag is 304 without body but with the tag and the stream headers',
		ours,
		async () => {
			const s = await door.stream().create({ body: 'data' });
			const first = await s.get();
			const again = await s.get({}, { 'if-none-match': first.headers.etag });
			assert.equal(again.status, 304);
			assert.equal(again.body.length, 0);
			for (const name of ['etag', 'cache-control', 'stream-next-offset', 'stream-up-to-date'])
				assert.equal(again.headers[name], first.headers[name], name);
		},
	);

	it('a list, a weak tag and * match as RFC 9110 says; other tags do not (24 #14)', ours, async () => {
		const s = await door.stream().create({ body: 'data' });
		const { etag } = (await s.get()).headers;
		const strong = etag.replace(/^W\//, '');
		for (const value of [
			etag,
			strong,
			`W/${strong}`,
			'*',
			`"other", ${etag}`,
			`${etag}, "other"`,
			`"a","b" ,${strong}`,
			`W/"x,y" , ${etag}`,
		])
			assert.equal((await s.get({}, { 'if-none-match': value })).status, 304, value);
		for (const value of [
			'"other"',
			'W/"other"',
			'',
			strong.slice(0, -1),
			strong.slice(1),
			'"',
			`"${strong}"`,
		])
			assert.equal((await s.get({}, { 'if-none-match': value })).status, 200, value);
	});

	it('new data defeats the tag, closing does too (24 #14)', async () => {
		const s = await door.stream().create({ body: 'data' });
		const tags = [(await s.get()).headers.etag];
		await s.append('more');
		assert.equal((await s.get({}, { 'if-none-match': tags[0] })).status, 200);
		tags.push((await s.get()).headers.etag);
		await s.append('', { headers: CLOSE });
		const closed = await s.get({}, { 'if-none-match': tags[1] });
		assert.equal(closed.status, 200);
		assert.equal(closed.headers['stream-closed'], 'true');
		tags.push(closed.headers.etag);
		assert.equal(new Set(tags).size, 3);
	});

	it(
		'the tag of a stream never validates against its successor of the same name and length (24 #14)',
		ours,
		async () => {
			const s = await door.stream().create({ body: 'aaaa' });
			const { etag } = (await s.get()).headers;
			await s.remove();
			await s.create({ body: 'bbbb' });
			const answer = await s.get({}, { 'if-none-match': etag });
			assert.equal(answer.status, 200);
			assert.equal(answer.text, 'bbbb');
		},
	);

	it('the tag differs between codings', ours, async () => {
		const s = await door.stream().create({ body: 'a'.repeat(5000) });
		const plain = await s.get();
		const zipped = await s.get({}, { 'accept-encoding': 'gzip' });
		assert.equal(zipped.headers['content-encoding'], 'gzip');
		assert.notEqual(plain.headers.etag, zipped.headers.etag);
	});

	it('Cache-Control: data may be stored, now, HEAD, 204 and errors may not (24 #15)', ours, async () => {
		const s = await door.stream().create({ body: 'data' });
		for (const answer of [await s.get(), await s.poll('-1'), await s.get({ offset: await s.tail() })])
			assert.match(answer.headers['cache-control'], /public, max-age=60, stale-while-revalidate=300/);
		const missing = door.stream();
		const never = [
			await s.get({ offset: 'now' }),
			await s.head(),
			await missing.get(),
			await s.get({ offset: 'x' }),
			await missing.head(),
			await s.post('', {}),
			await s.poll(await s.tail()),
			await s.get({ offset: BEYOND }),
			await s.poll(BEYOND),
		];
		for (const [at, answer] of never.entries())
			assert.match(answer.headers['cache-control'] ?? '', /no-store/, `case ${at}: ${answer.status}`);
	});

	it('max-age never goes beyond what is left of the stream', ours, async () => {
		const ttl = await door.stream().create({ body: 'x', headers: { 'stream-ttl': '20' } });
		assert.ok(maxAge(await ttl.get()) <= 20);
		const until = await door
			.stream()
			.create({
				body: 'x',
				headers: { 'stream-expires-at': new Date(Date.now() + 15_000).toISOString() },
			});
		assert.ok(maxAge(await until.get()) <= 15);
		const long = await door.stream().create({ body: 'x', headers: { 'stream-ttl': '86400' } });
		assert.equal(maxAge(await long.get()), 60);
	});

	it('every live answer has a cursor of the current interval, or behind the one the client sent (24 #16)', async () => {
		const s = await door.stream().create({ body: 'x' });
		const before = interval();
		const plain = Number((await s.poll('-1')).headers['stream-cursor']);
		assert.ok(plain >= before && plain <= interval());
		const old = Number((await s.poll('-1', { cursor: String(before - 5) })).headers['stream-cursor']);
		assert.ok(old >= before && old <= interval());
		for (const ahead of [interval(), interval() + 100]) {
			const next = Number((await s.poll('-1', { cursor: String(ahead) })).headers['stream-cursor']);
			assert.ok(next > ahead && next <= ahead + 181, `${ahead} -> ${next}`);
		}
	});

	it('a cursor ahead moves by a random distance', async () => {
		const s = await door.stream().create({ body: 'x' });
		const ahead = interval() + 10;
		const seen = await Promise.all(
			Array.from(
				{ length: 40 },
				async () => (await s.poll('-1', { cursor: String(ahead) })).headers['stream-cursor'],
			),
		);
		assert.ok(new Set(seen).size > 1, 'forty times the same');
	});

	it('a junk or overflowing cursor is as good as none (24 #16)', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		for (const cursor of [
			'',
			'x',
			'-1',
			'1.5',
			'1e40',
			'9'.repeat(40),
			'18446744073709551615',
			'18446744073709551616',
			'0x10',
			' 1',
		]) {
			const answer = await s.poll('-1', { cursor });
			assert.equal(answer.status, 200, cursor);
			assert.match(answer.headers['stream-cursor'], /^\d+$/);
			const value = Number(answer.headers['stream-cursor']);
			assert.ok(value >= interval() - 1 && value <= interval(), `${cursor} -> ${value}`);
		}
	});

	it('a long-poll that times out has cursor, tail and up-to-date; SSE has the cursor in its controls', async () => {
		const s = await door.stream().create({ body: 'x' });
		const tail = await s.tail();
		const answer = await s.poll(tail);
		assert.equal(answer.status, 204);
		assert.match(answer.headers['stream-cursor'], /^\d+$/);
		assert.equal(answer.headers['stream-next-offset'], tail);
		assert.equal(answer.headers['stream-up-to-date'], 'true');
		const ahead = interval() + 50;
		const reader = await s.sse('-1', { cursor: String(ahead) });
		const control = (await reader.upTo()).at(-1).control;
		reader.close();
		assert.ok(Number(control.streamCursor) > ahead);
	});

	it('gzip: only when allowed, only from 1024 bytes, with Vary, never for SSE', ours, async () => {
		const body = JSON.stringify({ text: 'lorem ipsum '.repeat(500) });
		const s = await door.stream().create({ type: JSON_TYPE, body });
		for (const accept of [
			'gzip',
			'gzip, deflate, br',
			'br;q=1, gzip;q=0.5',
			'*',
			'GZIP',
			'identity;q=0.5, gzip',
		]) {
			const answer = await s.get({}, { 'accept-encoding': accept });
			assert.equal(answer.headers['content-encoding'], 'gzip', accept);
			assert.match(answer.headers.vary, /accept-encoding/i);
			assert.equal(gunzipSync(answer.body).toString(), `[${body}]`);
		}
		for (const accept of ['gzip;q=0', 'identity', 'br', '*;q=0', 'gzip;q=0, *', 'gzip;q=0.000']) {
			const answer = await s.get({}, { 'accept-encoding': accept });
			assert.equal(answer.headers['content-encoding'], undefined, accept);
			assert.match(answer.headers.vary, /accept-encoding/i);
			assert.equal(answer.text, `[${body}]`);
		}
		const small = await door.stream().create({ body: 'x'.repeat(500) });
		assert.equal(
			(await small.get({}, { 'accept-encoding': 'gzip' })).headers['content-encoding'],
			undefined,
		);
		const reader = await s.sse('-1', {}, { 'accept-encoding': 'gzip' });
		assert.equal(reader.live.headers['content-encoding'], undefined);
		assert.equal(JSON.parse((await reader.upTo())[0].data).length, 1);
		reader.close();
	});

	it('a large compressed read comes back byte by byte', ours, async () => {
		const s = await door.stream().create();
		const text = Array.from({ length: 40_000 }, (_, n) => `line ${n * n}\n`).join('');
		await s.append(text);
		const answer = await s.get({}, { 'accept-encoding': 'gzip' });
		assert.equal(answer.headers['content-encoding'], 'gzip');
		assert.equal(gunzipSync(answer.body).toString(), text);
	});

	it('already compressed media types are left alone', ours, async () => {
		for (const type of ['image/png', 'application/gzip', 'video/mp4', 'application/zip']) {
			const s = await door.stream().create({ type, body: Buffer.alloc(5000) });
			assert.equal(
				(await s.get({}, { 'accept-encoding': 'gzip' })).headers['content-encoding'],
				undefined,
				type,
			);
		}
	});

	it('every answer carries the CORS and security headers', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		const tag = (await s.get()).headers.etag;
		const reader = await s.sse('now');
		const answers = [
			await s.get(),
			await s.head(),
			await s.post('x'),
			await s.put(),
			await s.poll('now'),
			await s.get({ offset: 'bad' }),
			reader.live,
			await door.stream().get(),
			await door.stream().put(),
			await s.send('OPTIONS'),
			await s.send('PATCH'),
			await s.get({}, { 'if-none-match': '*' }),
			await s.put({ type: 'text/html' }),
			await door.client.request('GET', '/v1/stream/%zz'),
			await door.client.request('GET', '/v1/stream/__ds/nothing'),
			await s.remove(),
		];
		reader.close();
		assert.ok(tag);
		for (const [at, { headers, status }] of answers.entries()) {
			const where = `case ${at} (${status})`;
			assert.equal(headers['access-control-allow-origin'], '*', where);
			assert.equal(headers['x-content-type-options'], 'nosniff', where);
			assert.equal(headers['cross-origin-resource-policy'], 'cross-origin', where);
			for (const name of EXPOSE_HEADERS)
				assert.ok(
					list(headers['access-control-expose-headers']).includes(name),
					`${where}: ${name} exposed`,
				);
			for (const name of ALLOW_HEADERS)
				assert.ok(
					list(headers['access-control-allow-headers']).includes(name),
					`${where}: ${name} allowed`,
				);
			assert.deepEqual(
				list(headers['access-control-allow-methods']).sort(),
				ALLOW_METHODS.map((method) => method.toLowerCase()).sort(),
				where,
			);
		}
	});

	it('a preflight is 204, empty, may be kept, and needs no stream', ours, async () => {
		const answer = await door.client.request('OPTIONS', '/v1/stream/not-there', {
			headers: {
				'origin': 'https://app.example',
				'access-control-request-method': 'POST',
				'access-control-request-headers': 'if-none-match',
			},
		});
		assert.equal(answer.status, 204);
		assert.equal(answer.body.length, 0);
		assert.match(answer.headers['access-control-max-age'], /^\d+$/);
	});
});
