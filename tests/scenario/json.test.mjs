// JSON streams: section 5 and rows 26, 27 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { JSON_TYPE, ours, oursIf, overBothVersions } from '../lib/streams.mjs';

const post = (s, body) => s.post(body, { type: JSON_TYPE });

overBothVersions('JSON', {}, (door, it) => {
	const cases = [
		['{"a":1}', '[{"a":1}]'],
		['"x"', '["x"]'],
		['1', '[1]'],
		['true', '[true]'],
		['null', '[null]'],
		['[1,2]', '[1,2]'],
		['[[1,2],[3,4]]', '[[1,2],[3,4]]'],
		['[[[1,2,3]]]', '[[[1,2,3]]]'],
		['[[]]', '[[]]'],
		['[null]', '[null]'],
		['""', '[""]'],
	];
	for (const [body, read] of cases)
		it(`${body} is read as ${read}`, async () => {
			const s = await door.stream().create({ type: JSON_TYPE });
			assert.equal((await post(s, body)).status, 204);
			const answer = await s.get();
			assert.equal(answer.text, read);
			assert.equal(answer.headers['content-type'], JSON_TYPE);
			const initial = await door.stream().create({ type: JSON_TYPE, body });
			assert.equal((await initial.get()).text, read, 'as initial body');
		});

	it('an empty array is 400 for an append and an empty stream for a create', async () => {
		const s = await door.stream().create({ type: JSON_TYPE, body: '[]' });
		assert.equal((await post(s, '[]')).status, 400);
		assert.equal((await post(s, ' [ ] ')).status, 400);
		const answer = await s.get();
		assert.equal(answer.text, '[]');
		assert.equal(answer.headers['stream-up-to-date'], 'true');
		assert.equal((await s.get({ offset: 'now' })).text, '[]');
	});

	const invalid = [
		'{',
		'}',
		'[',
		']',
		'[1,]',
		'[,1]',
		'{"a"}',
		'{"a":}',
		'{"a":1,}',
		'{a:1}',
		"{'a':1}",
		'01',
		'1.',
		'.5',
		'+1',
		'-',
		'1e',
		'1e+',
		'NaN',
		'Infinity',
		'True',
		'nul',
		'"',
		'"\\x"',
		'"\\u12"',
		'"a\nb"',
		'"a\tb"',
		'1 2',
		'[1] [2]',
		'[1][2]',
		'{} {}',
		'   ',
		'\n',
		'//c\n1',
		'[1]x',
		'\ufeff1',
	];
	it('what RFC 8259 does not allow is 400 and stores nothing', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		for (const body of invalid) assert.equal((await post(s, body)).status, 400, JSON.stringify(body));
		assert.equal((await s.get()).text, '[]');
	});

	it('invalid UTF-8 is not JSON (24 #26)', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const bad = [
			'22ff22',
			'22c322',
			'22c0af22',
			'22eda08022',
			'22f490808022',
			'22e28222',
			'2280a222',
			'ff',
		];
		for (const hex of bad) assert.equal((await post(s, Buffer.from(hex, 'hex'))).status, 400, hex);
		assert.equal(
			(await post(s, '"é€😀\\ud83d"')).status,
			204,
			'valid UTF-8; a lone escaped surrogate is grammatical',
		);
		assert.equal((await s.get()).text, '["é€😀\\ud83d"]');
	});

	it('messages come back as the bytes that were sent, without the white space around them', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		await s.append(
			' [ 12345678901234567890123 , 1.0,\t{"b": 1,  "a":2, "1":3, "a":4 } ,"\\u0041\\/" , -0 , 1E400 ]\r\n ',
			{ type: JSON_TYPE },
		);
		assert.equal(
			(await s.get()).text,
			'[12345678901234567890123,1.0,{"b": 1,  "a":2, "1":3, "a":4 },"\\u0041\\/",-0,1E400]',
		);
	});

	it('nesting of 1000 is stored; nesting without end is 400, never a 5xx', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const deep = (n) => '['.repeat(n) + ']'.repeat(n);
		assert.equal((await post(s, deep(1000))).status, 204);
		assert.ok([204, 400].includes((await post(s, deep(100_000))).status));
		assert.ok(
			[204, 400].includes(
				(await post(s, '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000))).status,
			),
		);
		assert.equal((await post(s, '['.repeat(500_000))).status, 400);
	});

	it('a batch is one append: its messages keep their order and share its offset', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const before = await s.tail();
		const next = await s.append(JSON.stringify(Array.from({ length: 1000 }, (_, n) => ({ n }))), {
			type: JSON_TYPE,
		});
		const all = await s.get({ offset: before });
		assert.deepEqual(
			all.json().map(({ n }) => n),
			Array.from({ length: 1000 }, (_, n) => n),
		);
		assert.equal(all.headers['stream-next-offset'], next);
	});

	for (const type of [
		'application/json',
		'APPLICATION/JSON',
		'application/json; charset=utf-8',
		'Application/Json;odata=x',
	])
		it(`${type} is in JSON mode (24 #27)`, oursIf(/[A-Z]/.test(type)), async () => {
			const s = await door.stream().create({ type });
			assert.equal((await s.post('{', { type: JSON_TYPE })).status, 400);
			assert.equal((await s.post('1', { type: JSON_TYPE })).status, 204);
			assert.equal((await s.get()).text, '[1]');
			assert.equal((await s.get({ offset: 'now' })).text, '[]');
		});

	for (const type of [
		'application/json-seq',
		'application/ld+json',
		'application/x-ndjson',
		'text/json',
		'application/jsonp',
	])
		it(`${type} is not in JSON mode (24 #27)`, ours, async () => {
			const s = await door.stream().create({ type });
			assert.equal((await s.post('{', { type })).status, 204);
			assert.equal((await s.get()).text, '{');
			assert.equal((await s.get({ offset: 'now' })).text, '');
		});
});
