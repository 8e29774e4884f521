// Idempotent producers: section 8 and rows 7, 8 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { CLOSE, JSON_TYPE, ours, oursIf, overBothVersions, producer } from '../lib/streams.mjs';

const MAX = '9007199254740991';

const send = (s, id, epoch, seq, body = `${id}:${epoch}:${seq};`, headers) =>
	s.post(body, { headers: { ...producer(id, epoch, seq), ...headers } });

overBothVersions('idempotent producer', {}, (door, it) => {
	it('follows the state machine row by row', async () => {
		const s = await door.stream().create();
		const rows = [
			// epoch, seq, status, headers
			[0, 1, 409, { 'producer-expected-seq': '0', 'producer-received-seq': '1' }],
			[5, 0, 200, { 'producer-epoch': '5', 'producer-seq': '0' }],
			[5, 1, 200, { 'producer-epoch': '5', 'producer-seq': '1' }],
			[5, 2, 200, { 'producer-epoch': '5', 'producer-seq': '2' }],
			[5, 0, 204, { 'producer-epoch': '5', 'producer-seq': '2' }],
			[5, 4, 409, { 'producer-expected-seq': '3', 'producer-received-seq': '4' }],
			[4, 3, 403, { 'producer-epoch': '5' }],
			[6, 1, 400, {}],
			[6, 0, 200, { 'producer-epoch': '6', 'producer-seq': '0' }],
			[5, 3, 403, { 'producer-epoch': '6' }],
			[6, 1, 200, { 'producer-epoch': '6', 'producer-seq': '1' }],
		];
		for (const [epoch, seq, status, headers] of rows) {
			const answer = await send(s, 'p', epoch, seq);
			assert.equal(answer.status, status, `(${epoch}, ${seq})`);
			for (const [name, value] of Object.entries(headers))
				assert.equal(answer.headers[name], value, `(${epoch}, ${seq}) ${name}`);
			if (status === 409) assert.equal(answer.headers['stream-closed'], undefined);
		}
		assert.equal((await s.get()).text, 'p:5:0;p:5:1;p:5:2;p:6:0;p:6:1;');
	});

	it(
		'a duplicate is 204 with the tail and the highest accepted number, and keeps the first body (24 #7)',
		ours,
		async () => {
			const s = await door.stream().create();
			await send(s, 'p', 0, 0, 'first;');
			await send(s, 'p', 0, 1, 'second;');
			const tail = await s.append('other;');
			const again = await send(s, 'p', 0, 0, 'something else');
			assert.equal(again.status, 204);
			assert.equal(again.headers['stream-next-offset'], tail);
			assert.equal(again.headers['producer-seq'], '1');
			assert.equal(again.headers['producer-epoch'], '0');
			assert.equal((await s.get()).text, 'first;second;other;');
		},
	);

	const ids = [
		'constructor',
		'__proto__',
		'toString',
		'hasOwnProperty',
		'a b',
		'"',
		"'; DROP TABLE producer; --",
		'\u00e9\u00ff',
		'x'.repeat(1000),
		'0',
		'%00',
		'../..',
	];
	for (const id of ids)
		it(
			`${JSON.stringify(id.slice(0, 24))} is an ordinary producer id (24 #8)`,
			oursIf(/[\u0080-\uffff]/.test(id)),
			async () => {
				const s = await door.stream().create();
				assert.equal((await send(s, id, 0, 0, 'a')).status, 200);
				assert.equal((await send(s, id, 0, 0, 'a')).status, 204);
				assert.equal((await send(s, `${id}x`, 0, 0, 'b')).status, 200);
				assert.equal((await send(s, id, 0, 1, 'c')).status, 200);
				assert.equal((await s.get()).text, 'abc');
			},
		);

	it('numbers go up to 2^53-1 and not beyond (24 #8)', async () => {
		const s = await door.stream().create();
		assert.equal((await send(s, 'p', MAX, 0, 'x')).status, 200);
		assert.equal((await send(s, 'p', MAX, MAX, 'x')).headers['producer-expected-seq'], '1');
		for (const number of [
			'9007199254740992',
			'18446744073709551616',
			'-1',
			'+1',
			'1.0',
			'1e3',
			'x',
			'0x1',
			'1 1',
		])
			for (const [epoch, seq] of [
				[number, 0],
				[0, number],
			])
				assert.equal((await send(s, 'q', epoch, seq, 'x')).status, 400, `(${epoch}, ${seq})`);
		assert.equal((await s.get()).text, 'x');
	});

	it('leading zeros in numbers are digits like others', async () => {
		const s = await door.stream().create();
		assert.equal((await send(s, 'p', '007', '000', 'a')).status, 200);
		assert.equal((await send(s, 'p', '7', '1', 'b')).status, 200);
	});

	it('some but not all producer headers, or an empty id, are 400, for close-only too', async () => {
		const s = await door.stream().create();
		const all = producer('p', 0, 0);
		for (const missing of Object.keys(all)) {
			const some = Object.fromEntries(Object.entries(all).filter(([name]) => name !== missing));
			assert.equal((await s.post('x', { headers: some })).status, 400, `without ${missing}`);
			assert.equal(
				(await s.post('', { headers: { ...some, ...CLOSE } })).status,
				400,
				`close without ${missing}`,
			);
		}
		assert.equal((await s.post('x', { headers: producer('', 0, 0) })).status, 400);
		assert.equal((await s.post('', { headers: { ...producer('p', 'x', 0), ...CLOSE } })).status, 400);
		const { headers } = await s.head();
		assert.equal(headers['stream-closed'], undefined);
	});

	it('a duplicate stays a duplicate although its Stream-Seq would now conflict', async () => {
		const s = await door.stream().create();
		assert.equal((await send(s, 'p', 0, 0, 'a', { 'stream-seq': '1' })).status, 200);
		assert.equal((await send(s, 'q', 0, 0, 'b', { 'stream-seq': '2' })).status, 200);
		assert.equal((await send(s, 'p', 0, 0, 'a', { 'stream-seq': '1' })).status, 204);
	});

	it('close-only with producer headers is 204, and only its own tuple is accepted again', async () => {
		const s = await door.stream().create({ body: 'x' });
		await send(s, 'p', 3, 0, 'y');
		const close = () => s.post('', { headers: { ...producer('p', 3, 1), ...CLOSE } });
		const first = await close();
		assert.equal(first.status, 204);
		assert.equal(first.headers['producer-epoch'], '3');
		assert.equal(first.headers['producer-seq'], '1');
		assert.equal(first.headers['stream-closed'], 'true');
		const tail = await s.tail();
		assert.equal(first.headers['stream-next-offset'], tail);
		const again = await close();
		assert.equal(again.status, 204);
		assert.equal(again.headers['stream-closed'], 'true');
		assert.equal(again.headers['stream-next-offset'], tail);
		for (const [id, epoch, seq] of [
			['p', 3, 2],
			['p', 3, 0],
			['p', 4, 0],
			['q', 0, 0],
			['q', 3, 1],
		]) {
			const other = await s.post('', { headers: { ...producer(id, epoch, seq), ...CLOSE } });
			assert.equal(other.status, 409, `${id} ${epoch} ${seq}`);
			assert.equal(other.headers['stream-closed'], 'true');
			assert.equal(other.headers['stream-next-offset'], tail);
		}
		assert.equal(
			(await s.post('', { headers: CLOSE })).status,
			204,
			'close without producer headers is always fine',
		);
	});

	it('append-and-close with a producer: its retry is 204, everything else 409 with the final offset', async () => {
		const s = await door.stream().create();
		const last = await send(s, 'p', 0, 0, 'last', CLOSE);
		assert.equal(last.status, 200);
		assert.equal(last.headers['stream-closed'], 'true');
		const tail = await s.tail();
		const again = await send(s, 'p', 0, 0, 'last', CLOSE);
		assert.equal(again.status, 204);
		assert.equal(again.headers['stream-closed'], 'true');
		assert.equal(again.headers['stream-next-offset'], tail);
		for (const refused of [await send(s, 'p', 0, 1), await send(s, 'q', 0, 0), await s.post('plain')]) {
			assert.equal(refused.status, 409);
			assert.equal(refused.headers['stream-closed'], 'true');
			assert.equal(refused.headers['stream-next-offset'], tail);
		}
		assert.equal((await s.get()).text, 'last');
	});

	it('requests in flight out of order end with every body once and in order', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const count = 60;
		await Promise.all(
			Array.from({ length: count }, async (_, seq) => {
				for (;;) {
					const answer = await s.post(String(seq), {
						type: JSON_TYPE,
						headers: producer('p', 0, seq),
					});
					if (answer.status === 200) return;
					assert.equal(answer.status, 409);
					assert.ok(Number(answer.headers['producer-expected-seq']) < seq);
				}
			}),
		);
		assert.deepEqual(
			(await s.get()).json(),
			Array.from({ length: count }, (_, n) => n),
		);
	});

	it('the same request sent many times at once is accepted once', async () => {
		const s = await door.stream().create();
		const answers = await Promise.all(Array.from({ length: 40 }, () => send(s, 'p', 0, 0, 'x')));
		assert.equal(answers.filter((answer) => answer.status === 200).length, 1);
		assert.equal(answers.filter((answer) => answer.status === 204).length, 39);
		assert.equal((await s.get()).text, 'x');
	});
});
