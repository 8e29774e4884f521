// Creating streams: sections 5, 6 and 16 of the protocol digest.

import assert from 'node:assert/strict';
import { CLOSE, JSON_TYPE, ZERO, ours, oursIf, overBothVersions } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

overBothVersions('create', {}, (door, it) => {
	it('a new stream answers 201 with its type, its offset and an absolute Location', ours, async () => {
		const s = door.stream();
		const made = await s.put({ type: 'text/plain; charset=utf-8' });
		assert.equal(made.status, 201);
		assert.equal(made.headers['content-type'], 'text/plain; charset=utf-8');
		assert.equal(made.headers['stream-next-offset'], ZERO);
		assert.equal(made.headers.location, door.url + s.path);
		assert.equal(made.headers['stream-closed'], undefined);
		assert.equal(made.body.length, 0);
	});

	it('Location honours X-Forwarded-Proto and X-Forwarded-Host', ours, async () => {
		const s = door.stream();
		const made = await s.put({
			headers: { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'streams.example.org' },
		});
		assert.equal(made.headers.location, `https://streams.example.org${s.path}`);
	});

	it('Location repeats the path as it was sent, escapes included', ours, async () => {
		const s = door.stream();
		const path = `${s.path}/a%20b%C3%A9`;
		const made = await door.client.request('PUT', path, { headers: { 'content-type': 'text/plain' } });
		assert.equal(made.status, 201);
		assert.equal(made.headers.location, door.url + path);
	});

	it('a repeated create is 200 at the current tail, without Location, and does not append its body', async () => {
		const s = await door.stream().create({ body: 'one' });
		const tail = await s.append('two');
		const again = await s.put({ body: 'three' });
		assert.equal(again.status, 200);
		assert.equal(again.headers.location, undefined);
		assert.equal(again.headers['stream-next-offset'], tail);
		assert.equal((await s.get()).text, 'onetwo');
	});

	for (const type of [null, '', 'nonsense', '/', 'text/'])
		it(`a create with content type ${JSON.stringify(type)} makes a stream of octets`, async () => {
			const s = await door.stream().create({ type });
			assert.equal((await s.head()).headers['content-type'], 'application/octet-stream');
		});

	it('an equal create differs neither in the case nor in the parameters of the content type', async () => {
		const s = await door.stream().create({ type: 'Text/Plain; charset=utf-8' });
		assert.equal((await s.put({ type: 'text/plain' })).status, 200);
		assert.equal((await s.put({ type: 'TEXT/plain;charset=latin1' })).status, 200);
		assert.equal((await s.put({ type: 'text/html' })).status, 409);
		assert.equal((await s.head()).headers['content-type'], 'Text/Plain; charset=utf-8');
	});

	it('creates of a different TTL, expiry or closure are 409', async () => {
		const at = new Date(Date.now() + 3600_000).toISOString();
		const later = new Date(Date.now() + 7200_000).toISOString();
		const cases = [
			[{}, { 'stream-ttl': '60' }],
			[{ 'stream-ttl': '60' }, {}],
			[{ 'stream-ttl': '60' }, { 'stream-ttl': '61' }],
			[{ 'stream-expires-at': at }, { 'stream-expires-at': later }],
			[{ 'stream-expires-at': at }, {}],
			[{}, CLOSE],
			[CLOSE, {}],
		];
		for (const [first, second] of cases) {
			const s = await door.stream().create({ headers: first });
			assert.equal((await s.put({ headers: second })).status, 409, JSON.stringify([first, second]));
			assert.equal((await s.put({ headers: first })).status, 200, JSON.stringify(first));
		}
	});

	it('Expires-At is compared as an instant, not as text', ours, async () => {
		const s = await door.stream().create({ headers: { 'stream-expires-at': '2099-01-01T00:00:00Z' } });
		assert.equal(
			(await s.put({ headers: { 'stream-expires-at': '2099-01-01T01:00:00.000+01:00' } })).status,
			200,
		);
		assert.equal((await s.put({ headers: { 'stream-expires-at': '2099-01-01T00:00:01Z' } })).status, 409);
	});

	it('a stream closed after its creation equals a create that asks for closed', async () => {
		const s = await door.stream().create();
		await s.append('', { headers: CLOSE });
		assert.equal((await s.put()).status, 409);
		const again = await s.put({ headers: CLOSE });
		assert.equal(again.status, 200);
		assert.equal(again.headers['stream-closed'], 'true');
	});

	for (const value of ['true', 'TRUE', 'True', 'tRuE'])
		it(`Stream-Closed: ${value} creates a closed stream (24 #1)`, ours, async () => {
			const s = door.stream();
			const made = await s.put({ headers: { 'stream-closed': value }, body: 'all' });
			assert.equal(made.status, 201);
			assert.equal(made.headers['stream-closed'], 'true');
			assert.equal((await s.post('x')).status, 409);
			assert.equal((await s.get()).text, 'all');
		});

	for (const value of ['false', '1', 'yes', 'truee', 't', ''])
		it(`Stream-Closed: ${JSON.stringify(value)} is as good as absent (24 #1)`, async () => {
			const s = door.stream();
			const made = await s.put({ headers: { 'stream-closed': value } });
			assert.equal(made.status, 201);
			assert.equal(made.headers['stream-closed'], undefined);
			assert.equal((await s.post('x')).status, 204);
		});

	for (const ttl of ['-1', '+1', '01', '00', '1.0', '1e3', 'x', '1 2', '0x10', '1s'])
		it(`Stream-TTL ${JSON.stringify(ttl)} is 400 and creates nothing`, async () => {
			const s = door.stream();
			assert.equal((await s.put({ headers: { 'stream-ttl': ttl } })).status, 400);
			assert.equal((await s.head()).status, 404);
		});

	it('an empty Stream-TTL or Stream-Expires-At is 400', ours, async () => {
		assert.equal((await door.stream().put({ headers: { 'stream-ttl': '' } })).status, 400);
		assert.equal((await door.stream().put({ headers: { 'stream-expires-at': '' } })).status, 400);
	});

	it('a huge TTL is either refused or reported verbatim', ours, async () => {
		for (const ttl of ['9007199254740993', '18446744073709551616', '9'.repeat(40)]) {
			const s = door.stream();
			const made = await s.put({ headers: { 'stream-ttl': ttl } });
			assert.ok([201, 400].includes(made.status), `${ttl}: ${made.status}`);
			if (made.status === 201) assert.equal((await s.head()).headers['stream-ttl'], ttl);
		}
	});

	for (const at of [
		'tomorrow',
		'2099-01-01',
		'2099-01-01 00:00:00',
		'2099-13-01T00:00:00Z',
		'2099-02-30T00:00:00Z',
		'2099-01-01T24:00:00Z',
		'2099-01-01T00:00:00',
		'Thu, 01 Jan 2099 00:00:00 GMT',
		'4070908800',
		'2099-01-01T00:00:00+25:00',
	])
		it(`Stream-Expires-At ${at} is not RFC 3339: 400 and nothing created (24 #3)`, ours, async () => {
			const s = door.stream();
			assert.equal((await s.put({ headers: { 'stream-expires-at': at } })).status, 400);
			assert.equal((await s.head()).status, 404);
		});

	for (const at of [
		'2099-01-01T00:00:00Z',
		'2099-01-01T00:00:00.123456789Z',
		'2099-01-01T00:00:00-08:00',
		'2099-01-01t00:00:00z',
	])
		it(
			`Stream-Expires-At ${at} is accepted and HEAD repeats the instant`,
			oursIf(at.includes('t')),
			async () => {
				const s = await door.stream().create({ headers: { 'stream-expires-at': at } });
				const seen = (await s.head()).headers['stream-expires-at'];
				assert.equal(new Date(seen).getTime(), new Date(at.toUpperCase()).getTime());
			},
		);

	it('TTL together with Expires-At is 400', async () => {
		const s = door.stream();
		const headers = { 'stream-ttl': '60', 'stream-expires-at': '2099-01-01T00:00:00Z' };
		assert.equal((await s.put({ headers })).status, 400);
		assert.equal((await s.head()).status, 404);
	});

	it(
		'TTL 0 and a past Expires-At are accepted or refused, never a 5xx, and leave nothing to read (24 #2)',
		ours,
		async () => {
			const zero = door.stream();
			assert.equal((await zero.put({ headers: { 'stream-ttl': '0' } })).status, 201);
			assert.equal((await zero.head()).status, 404);
			assert.equal((await zero.put()).status, 201, 'the name is free again');
			const past = door.stream();
			assert.ok(
				[201, 400].includes(
					(await past.put({ headers: { 'stream-expires-at': '2001-01-01T00:00:00Z' } }))
						.status,
				),
			);
			assert.equal((await past.head()).status, 404);
		},
	);

	it('HEAD shows the configured TTL, not what is left of it', async () => {
		const s = await door.stream().create({ headers: { 'stream-ttl': '3600' } });
		await s.get();
		assert.equal((await s.head()).headers['stream-ttl'], '3600');
	});

	it('a create refused for its body leaves no stream (24 #4)', async () => {
		for (const body of ['{', 'nope', '[1,]', '   ']) {
			const s = door.stream();
			assert.equal((await s.put({ type: JSON_TYPE, body })).status, 400, body);
			assert.equal((await s.head()).status, 404, body);
		}
	});

	it('of concurrent creates of one name exactly one is 201 (24 #5)', async () => {
		const s = door.stream();
		const answers = await Promise.all(
			Array.from({ length: 24 }, (_, n) => s.put({ body: `writer ${n};` })),
		);
		assert.equal(answers.filter((answer) => answer.status === 201).length, 1);
		assert.equal(answers.filter((answer) => answer.status === 200).length, 23);
		assert.match((await s.get()).text, /^writer \d+;$/);
	});

	it('of concurrent different creates one wins and the others are 409', async () => {
		const s = door.stream();
		const answers = await Promise.all(
			Array.from({ length: 12 }, (_, n) => s.put({ headers: { 'stream-ttl': String(1000 + n) } })),
		);
		assert.equal(answers.filter((answer) => answer.status === 201).length, 1);
		assert.equal(answers.filter((answer) => answer.status === 409).length, 11);
	});

	it('the initial body may come in pieces of unknown length', async () => {
		const s = door.stream();
		const made = await s.put({
			body: (async function* () {
				yield 'a';
				yield 'b';
				yield 'c';
			})(),
		});
		assert.equal(made.status, 201);
		assert.equal((await s.get()).text, 'abc');
	});

	for (const name of ['stream-ttl', 'stream-closed', 'stream-forked-from'])
		it(`${name} given twice with different values is 400`, ours, async () => {
			const s = door.stream();
			const values = {
				'stream-ttl': ['60', '61'],
				'stream-closed': ['true', 'false'],
				'stream-forked-from': ['/v1/stream/a', '/v1/stream/b'],
			};
			assert.equal((await s.put({ headers: { [name]: values[name] } })).status, 400);
			assert.equal((await s.head()).status, 404);
		});

	it('a create never renews the TTL of what exists, and HEAD neither: the stream expires', async () => {
		const s = await door.stream().create({ headers: { 'stream-ttl': '2' } });
		await until(
			'a create that finds the name free',
			async () => {
				await s.head();
				return (await s.put({ headers: { 'stream-ttl': '2' } })).status === 201;
			},
			{ step: 200 },
		);
	});
});
