// Names, methods, limits, listing: sections 2, 18 and 19 of the protocol digest.

import assert from 'node:assert/strict';
import { Raw } from '../lib/raw.mjs';
import { CLOSE, JSON_TYPE, ROOT, freshName, ours, overBothVersions } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const small = (config) => {
	config.limits = { body: '2M', header_bytes: '16K', path_bytes: '2K' };
	Object.assign(config.frontends[0].plugins[0], { max_body: '2M' });
};

overBothVersions('names', {}, (door, it) => {
	const put = (path) =>
		door.client.request('PUT', path, { headers: { 'content-type': 'text/plain' }, body: path });
	const get = (path) => door.client.request('GET', path);

	it('names may have slashes, and those inside percent escapes are the same name', ours, async () => {
		const name = freshName();
		assert.equal((await put(`${ROOT}${name}/a/b c`.replace(' ', '%20'))).status, 201);
		assert.equal((await get(`${ROOT}${name}/%61/b%20c`)).status, 200);
		assert.equal((await put(`${ROOT}${name}/%61/b%20c`)).status, 200);
		assert.equal((await get(`${ROOT}${name}/a`)).status, 404);
	});

	it('percent escapes are decoded once', ours, async () => {
		const name = freshName();
		assert.equal((await put(`${ROOT}${name}/%2561`)).status, 201);
		assert.equal((await get(`${ROOT}${name}/a`)).status, 404);
		assert.equal((await get(`${ROOT}${name}/%61`)).status, 404);
		assert.equal((await get(`${ROOT}${name}/%2561`)).status, 200);
	});

	for (const bad of [
		'%',
		'%4',
		'%zz',
		'%00',
		'%ff',
		'%c3',
		'%c0%af',
		'%ed%a0%80',
		'.',
		'..',
		'a/../b',
		'a/./b',
		'%2e%2e',
		'a/%2e%2e/b',
		'%2E/x',
	])
		it(`${bad} is no name: 400`, ours, async () => {
			for (const method of ['GET', 'PUT', 'HEAD', 'DELETE'])
				assert.equal(
					(
						await door.client.request(method, `${ROOT}${bad}`, {
							headers:
								method === 'PUT'
									? { 'content-type': 'text/plain' }
									: {},
						})
					).status,
					400,
					method,
				);
		});

	it('names in any script work and stay what they are', async () => {
		const name = freshName();
		for (const text of ['Ünïcödé', '漢字', '🜁', 'a+b', "o'neill;x=1", '~-_.!*()']) {
			const path = `${ROOT}${name}/${encodeURIComponent(text)}`;
			assert.equal((await put(path)).status, 201, text);
			assert.equal((await get(path)).text, path, text);
		}
	});

	it('__ds is reserved as the first segment, however it is spelt, and only there', ours, async () => {
		for (const path of ['__ds', '__ds/x', '%5f%5fds/x', '__d%73/x', '__ds/subscriptions/a'])
			for (const method of ['PUT', 'POST', 'GET', 'DELETE']) {
				const answer = await door.client.request(method, ROOT + path, {
					headers: { 'content-type': 'text/plain' },
					body: method.startsWith('P') ? 'x' : undefined,
				});
				assert.ok([404, 405].includes(answer.status), `${method} ${path}: ${answer.status}`);
			}
		const name = freshName();
		assert.equal((await put(`${ROOT}${name}/__ds/bar`)).status, 201);
		assert.equal((await put(`${ROOT}__dsx-${name}`)).status, 201);
	});

	it('other first segments that sluice keeps for itself cannot be written', ours, async () => {
		for (const reserved of ['__sds/x', '__exchange/x', '__s%64s/x'])
			assert.ok([403, 404].includes((await put(ROOT + reserved)).status), reserved);
	});

	it('what is not below the mount is 404', ours, async () => {
		for (const path of ['/', '/v1', '/v1/streamx/a', '/v2/stream/a', '/favicon.ico', '/v1//stream/a'])
			assert.equal((await get(path)).status, 404, path);
	});

	it('other methods are 405 with Allow', async () => {
		const s = await door.stream().create();
		for (const method of ['PATCH', 'TRACE', 'PROPFIND']) {
			const answer = await s.send(method);
			assert.equal(answer.status, 405, method);
			if (!ours.skip)
				for (const known of ['GET', 'PUT', 'POST', 'HEAD', 'DELETE', 'OPTIONS'])
					assert.match(answer.headers.allow, new RegExp(`\\b${known}\\b`));
		}
	});

	it('HEAD tells what GET tells about a stream, without a body', async () => {
		const s = await door.stream().create({ type: 'text/csv', body: 'a,b' });
		const answer = await s.head();
		assert.equal(answer.status, 200);
		assert.equal(answer.body.length, 0);
		assert.equal(answer.headers['content-type'], 'text/csv');
		assert.equal(answer.headers['stream-next-offset'], (await s.get()).headers['stream-next-offset']);
		assert.equal(answer.headers['transfer-encoding'], undefined);
		assert.equal(answer.headers['content-length'], undefined);
		assert.equal((await door.stream().head()).status, 404);
	});
});

overBothVersions('HEAD and ETag', {}, (door, it) => {
	it('HEAD has the ETag that GET has, closed or not, and none when GET would stop before the tail', ours, async () => {
		const s = await door.stream().create({ body: 'a' });
		const open = (await s.head()).headers.etag;
		assert.equal(open, (await s.get()).headers.etag);
		await s.post('', { headers: CLOSE });
		const closed = (await s.head()).headers.etag;
		assert.equal(closed, (await s.get()).headers.etag);
		assert.notEqual(closed, open);
		const long = await door.stream().create({ body: Buffer.alloc(1_000_000, 'x') });
		await long.append(Buffer.alloc(1_000_000, 'y'));
		assert.equal((await long.head()).headers.etag, undefined);
		const fork = await door.stream('f').create({ type: null, headers: { 'stream-forked-from': s.path } });
		assert.equal((await fork.head()).headers.etag, (await fork.get()).headers.etag);
	});
});

overBothVersions('deleting', {}, (door, it) => {
	it('DELETE is 204 once and 404 from then on', async () => {
		const s = await door.stream().create({ body: 'x' });
		assert.equal((await s.remove()).status, 204);
		for (const answer of [
			await s.remove(),
			await s.get(),
			await s.head(),
			await s.post('x'),
			await s.poll('-1'),
		])
			assert.equal(answer.status, 404);
	});

	it('a stream made anew shares nothing with its predecessor', async () => {
		const s = await door.stream().create({ body: 'old', headers: { 'stream-ttl': '3600' } });
		await s.append('old', {
			headers: { 'producer-id': 'p', 'producer-epoch': '3', 'producer-seq': '0', 'stream-seq': 'zz' },
		});
		await s.append('', { headers: CLOSE });
		assert.equal((await s.remove()).status, 204);
		await s.create({ type: JSON_TYPE });
		const { headers } = await s.head();
		assert.equal(headers['content-type'], JSON_TYPE);
		assert.equal(headers['stream-ttl'], undefined);
		assert.equal(headers['stream-closed'], undefined);
		assert.equal((await s.get()).text, '[]');
		const answer = await s.post('1', {
			type: JSON_TYPE,
			headers: { 'producer-id': 'p', 'producer-epoch': '0', 'producer-seq': '0', 'stream-seq': 'a' },
		});
		assert.equal(answer.status, 200);
	});

	it('a delete among concurrent appends is final (24 #13)', async () => {
		for (let round = 0; round < 10; round++) {
			const s = await door.stream().create();
			const statuses = await Promise.all(
				Array.from({ length: 40 }, (_, n) =>
					(n === 20 ? s.remove() : s.post('x')).then((answer) => answer.status),
				),
			);
			for (const status of statuses) assert.ok([204, 404].includes(status), String(status));
			assert.equal((await s.head()).status, 404);
			assert.equal((await s.post('x')).status, 404);
		}
	});

	it('of concurrent deletes one is 204', async () => {
		const s = await door.stream().create();
		const statuses = await Promise.all(
			Array.from({ length: 20 }, () => s.remove().then((answer) => answer.status)),
		);
		assert.equal(statuses.filter((status) => status === 204).length, 1);
		assert.equal(statuses.filter((status) => status === 404).length, 19);
	});
});

overBothVersions('limits', { config: small }, (door, it) => {
	it('a body beyond the limit is 413, stores nothing, and the limit itself is allowed', ours, async () => {
		const s = await door.stream().create();
		const limit = 2 << 20;
		assert.equal((await s.post(Buffer.alloc(limit, 65))).status, 204);
		const tail = await s.tail();
		const client = door.connect();
		assert.equal((await s.on(client).post(Buffer.alloc(limit + 1, 65))).status, 413);
		client.close();
		assert.equal(await s.tail(), tail);
		const made = door.stream();
		const other = door.connect();
		assert.equal((await made.on(other).put({ body: Buffer.alloc(limit + 1, 65) })).status, 413);
		other.close();
		assert.equal((await made.head()).status, 404);
	});

	it('a body of unknown length beyond the limit is 413 as well', ours, async () => {
		const s = await door.stream().create();
		const client = door.connect();
		async function* endless() {
			for (let n = 0; n < 64; n++) yield Buffer.alloc(64 << 10, 65);
		}
		const status = await s
			.on(client)
			.post(endless())
			.then(
				(answer) => answer.status,
				(error) => error.code ?? error.message,
			);
		client.close();
		assert.ok(status === 413 || /EPIPE|ECONNRESET|closed/.test(status), String(status));
		assert.equal((await s.get()).text, '');
	});

	it('an over-long path is 414', ours, async () => {
		assert.equal((await door.client.request('GET', ROOT + 'a'.repeat(3000))).status, 414);
		assert.equal(
			(
				await door.client.request('PUT', ROOT + 'a'.repeat(3000), {
					headers: { 'content-type': 'text/plain' },
				})
			).status,
			414,
		);
		const name = 'a'.repeat(1900);
		assert.ok(
			[201, 200].includes(
				(
					await door.client.request('PUT', ROOT + name, {
						headers: { 'content-type': 'text/plain' },
					})
				).status,
			),
		);
	});

	it('headers beyond the limit are refused and cost this connection at most', ours, async () => {
		const s = await door.stream().create();
		const client = door.connect();
		const status = await s
			.on(client)
			.send('GET', { headers: { 'x-large': 'y'.repeat(40_000) } })
			.then(
				(answer) => answer.status,
				() => 'cut',
			);
		client.close();
		assert.ok(status === 431 || (door.via === 'h2c' && status === 'cut'), String(status));
		assert.equal((await s.get()).status, 200);
	});
});

overBothVersions('listing', {}, (door, it) => {
	const list = async (params) => {
		const answer = await door.client.request('GET', `${ROOT}__ds/streams?${new URLSearchParams(params)}`);
		assert.equal(answer.status, 200, answer.text);
		assert.match(answer.headers['content-type'], /^application\/json/);
		return answer.json();
	};

	it('a browser may ask beforehand, and HEAD is answered', ours, async () => {
		for (const path of ['__ds', '__ds/streams', '__ds/x'])
			assert.equal((await door.client.request('OPTIONS', ROOT + path)).status, 204, path);
		const head = await door.client.request('HEAD', `${ROOT}__ds/streams`);
		assert.equal(head.status, 200);
		assert.equal(head.body.length, 0);
		const wrong = await door.client.request('DELETE', `${ROOT}__ds/streams`);
		assert.equal(wrong.status, 405);
		assert.equal(wrong.headers.allow, 'GET, HEAD, OPTIONS');
	});

	it('streams are listed by prefix, in order, in pages that miss nothing', ours, async () => {
		const prefix = `${freshName('list')}/`;
		const names = Array.from({ length: 25 }, (_, n) => `${prefix}${String(n).padStart(2, '0')}`);
		for (const name of [...names].reverse())
			await door.client.request('PUT', ROOT + name, {
				headers: { 'content-type': 'text/plain' },
				body: 'x',
			});
		const seen = [];
		let after;
		do {
			const page = await list({ prefix, limit: '10', ...(after && { after }) });
			assert.ok(page.streams.length <= 10);
			seen.push(...page.streams);
			after = page.next;
		} while (after);
		assert.deepEqual(
			seen.map((stream) => stream.name),
			names,
		);
		assert.equal(seen[0].contentType, 'text/plain');
		assert.equal(seen[0].closed, false);
	});

	it('deleted and expired streams are not listed', ours, async () => {
		const prefix = `${freshName('list')}/`;
		const make = (name, headers) =>
			door.client.request('PUT', ROOT + prefix + name, {
				headers: { 'content-type': 'text/plain', ...headers },
			});
		await make('stays');
		await make('goes');
		await make('never', { 'stream-ttl': '0' });
		await door.client.request('DELETE', `${ROOT}${prefix}goes`);
		// A sliding TTL is the writer's knowledge: the listing follows its sweep.
		await until(
			'the expired one to be swept',
			async () => {
				const names = (await list({ prefix })).streams.map((stream) => stream.name);
				assert.ok(
					!names.includes(`${prefix}goes`) && names.includes(`${prefix}stays`),
					names.join(),
				);
				return names.length === 1;
			},
			{ step: 100 },
		);
	});

	it('a listing with bad parameters is 400, never a 5xx', ours, async () => {
		for (const query of ['limit=x', 'limit=-1', 'limit=0', 'prefix=%ff'])
			assert.equal(
				(await door.client.request('GET', `${ROOT}__ds/streams?${query}`)).status,
				400,
				query,
			);
	});
});

overBothVersions('HTTP/1.1 on the wire', { vias: ['HTTP/1.1'] }, (door, it) => {
	const refusals = [
		['no Host', 'GET /v1/stream/x HTTP/1.1\r\n\r\n', 400],
		['two Hosts', 'GET /v1/stream/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
		[
			'two lengths',
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
			400,
		],
		[
			'a length and chunks',
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
			400,
		],
		['a negative length', 'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400],
		[
			'a length beyond 64 bits',
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n',
			[400, 413],
		],
		[
			'an unknown transfer coding',
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
			[400, 501],
		],
		['a folded header', 'GET /v1/stream/x HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n', 400],
		['a space before the colon', 'GET /v1/stream/x HTTP/1.1\r\nHost : a\r\n\r\n', 400],
		[
			'a bad chunk size',
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
			400,
		],
		['no HTTP', 'hello there\r\n\r\n', 400],
		['an unknown version', 'GET /v1/stream/x HTTP/3.7\r\nHost: a\r\n\r\n', [400, 505]],
	];
	for (const [what, text, status] of refusals)
		it(`${what}: refused, and the connection ends`, ours, async () => {
			const raw = new Raw(door.server.url);
			await raw.send(text);
			assert.ok([status].flat().includes(await raw.status()), raw.text);
			await raw.end();
			assert.equal(raw.text.split('HTTP/1.1 ').length, 2, 'one answer');
			raw.close();
		});

	it('HTTP/1.0 is answered and the connection closed', async () => {
		const s = await door.stream().create({ body: 'x' });
		const raw = new Raw(door.server.url);
		await raw.send(`GET ${s.path} HTTP/1.0\r\n\r\n`);
		const text = await raw.end();
		raw.close();
		assert.match(text, /^HTTP\/1\.[01] 200 /);
		assert.ok(text.endsWith('\r\n\r\nx') && !/transfer-encoding/i.test(text));
	});

	it('an absolute-form target names the same stream', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		const raw = new Raw(door.server.url);
		await raw.send(`GET http://a${s.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
		assert.match(await raw.end(), /^HTTP\/1\.1 200 [^]*\r\n\r\nx$/);
		raw.close();
	});

	it('a request that comes byte by byte is the same request', async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		raw.socket.setNoDelay(true);
		for (const byte of `POST ${s.path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello`)
			await raw.send(byte);
		assert.equal(await raw.status(), 204);
		raw.close();
		assert.equal((await s.get()).text, 'hello');
	});
});
