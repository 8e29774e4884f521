// Offsets and catch-up reads: sections 4 and 11 of the protocol digest.

import assert from 'node:assert/strict';
import { BEYOND, CLOSE, JSON_TYPE, ZERO, ours, oursIf, overBothVersions } from '../lib/streams.mjs';

const plusOne = (offset) => {
	const [file, at] = offset.split('_');
	return `${file}_${String(BigInt(at) + 1n).padStart(at.length, '0')}`;
};

overBothVersions('offsets', {}, (door, it) => {
	it('offsets have the reference format, grow, and are at least 2 apart', async () => {
		const s = await door.stream().create();
		let last = await s.tail();
		assert.equal(last, ZERO);
		for (const body of ['a', 'bb', 'c'.repeat(5000), 'd']) {
			const next = await s.append(body);
			assert.match(next, /^\d{16}_\d{16}$/);
			assert.ok(next > last && plusOne(last) < next, `${last} ${next}`);
			last = next;
		}
	});

	it('a read from every boundary gives exactly what lies behind it', async () => {
		const s = await door.stream().create();
		const parts = ['first', 'second', 'third', 'fourth'];
		const offsets = [ZERO];
		for (const part of parts) offsets.push(await s.append(part));
		for (const [at, offset] of offsets.entries()) {
			const answer = await s.get({ offset });
			assert.equal(answer.text, parts.slice(at).join(''));
			assert.equal(answer.headers['stream-next-offset'], offsets.at(-1));
			assert.equal(answer.headers['stream-up-to-date'], 'true');
		}
		assert.equal((await s.get()).text, parts.join(''));
		assert.equal((await s.get({ offset: '-1' })).text, parts.join(''));
	});

	it('a read one behind a boundary gives the same as the boundary (Yjs adds one)', ours, async () => {
		const s = await door.stream().create({ body: 'one,' });
		const first = await s.tail();
		await s.append('two,');
		const second = await s.append('three,');
		assert.equal((await s.get({ offset: plusOne(ZERO) })).text, 'one,two,three,');
		assert.equal((await s.get({ offset: plusOne(first) })).text, 'two,three,');
		assert.equal((await s.get({ offset: plusOne(second) })).text, '');
	});

	const refused = [
		'',
		' ',
		'a',
		'-2',
		'+1',
		'0',
		'1',
		' -1',
		'-1 ',
		'NOW',
		'now ',
		`${ZERO} `,
		`${ZERO},${ZERO}`,
		`${ZERO}/..`,
		'..',
		'0_0/../x',
		'\n',
		'\0',
		`${ZERO}\n`,
		`${ZERO}0`,
		'0000000000000000-0000000000000000',
		'000000000000000x_0000000000000000',
		'_',
		`${ZERO}_${ZERO}`,
		'０000000000000000_0000000000000000',
	];
	for (const offset of refused)
		it(
			`offset ${JSON.stringify(offset)} is 400 in every mode`,
			oursIf(/[ \n\0]$|\d{17}$/.test(offset)),
			async () => {
				const s = await door.stream().create({ body: 'x' });
				for (const live of [undefined, 'long-poll', 'sse'])
					assert.equal(
						(await s.get({ offset, ...(live && { live }) })).status,
						400,
						live ?? 'catch-up',
					);
			},
		);

	it('un-padded offsets are 400', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		for (const offset of ['0_0', '0_6', '1_1', '000000000000000_0000000000000006'])
			assert.equal((await s.get({ offset })).status, 400, offset);
	});

	it('a repeated offset is 400', async () => {
		const s = await door.stream().create();
		assert.equal((await s.get(`offset=-1&offset=-1`)).status, 400);
		assert.equal((await s.get(`offset=${ZERO}&offset=-1`)).status, 400);
	});

	it('an offset beyond the tail is 200, empty, at the tail, and never waits', async () => {
		const s = await door.stream().create({ type: JSON_TYPE, body: '[1]' });
		for (const live of [undefined, 'long-poll']) {
			const answer = await s.get({ offset: BEYOND, ...(live && { live }) });
			assert.ok(answer.status === 200 || (live && answer.status === 204), String(answer.status));
			if (answer.status === 200) assert.equal(answer.text, '[]');
			assert.equal(answer.headers['stream-next-offset'], await s.tail());
			assert.equal(answer.headers['stream-up-to-date'], 'true');
		}
	});

	it('offset=now gives the tail, nothing else, and is not stored by anybody', async () => {
		for (const [type, body, empty] of [
			['text/plain', 'x', ''],
			[JSON_TYPE, '1', '[]'],
		]) {
			const s = await door.stream().create({ type, body });
			const answer = await s.get({ offset: 'now' });
			assert.equal(answer.status, 200);
			assert.equal(answer.text, empty);
			assert.equal(answer.headers['stream-next-offset'], await s.tail());
			assert.equal(answer.headers['stream-up-to-date'], 'true');
			assert.match(answer.headers['cache-control'], /no-store/);
			assert.equal(answer.headers['content-type'], type);
			await s.append('', { headers: CLOSE });
			assert.equal((await s.get({ offset: 'now' })).headers['stream-closed'], 'true');
		}
	});

	it('an empty stream reads as 200 with nothing, at the tail', async () => {
		const s = await door.stream().create();
		const answer = await s.get();
		assert.equal(answer.status, 200);
		assert.equal(answer.body.length, 0);
		assert.equal(answer.headers['stream-next-offset'], ZERO);
		assert.equal(answer.headers['stream-up-to-date'], 'true');
		assert.equal((await s.get({ offset: ZERO })).status, 200);
	});

	it('unknown query parameters are ignored, an unknown live value is 400', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		assert.equal((await s.get('foo=bar&offset=-1&x')).text, 'x');
		assert.equal((await s.get({ offset: '-1', live: 'carrier-pigeon' })).status, 400);
		assert.equal((await s.get({ offset: '-1', live: '' })).status, 400);
	});

	it('live without offset is 400', async () => {
		const s = await door.stream().create();
		assert.equal((await s.get({ live: 'long-poll' })).status, 400);
		assert.equal((await s.get({ live: 'sse' })).status, 400);
	});

	it(
		'a long stream is read in parts: whole appends, no up-to-date before the last, every byte once',
		ours,
		async () => {
			const s = await door.stream().create({ type: 'application/octet-stream' });
			const block = (n) => Buffer.alloc(150_000, n);
			for (let n = 0; n < 20; n++) await s.append(block(n), { type: 'application/octet-stream' });
			await s.append('', { headers: CLOSE });
			const { body, parts, closed } = await s.readAll();
			assert.ok(body.equals(Buffer.concat(Array.from({ length: 20 }, (_, n) => block(n)))));
			assert.ok(parts.length > 1, 'more than one part');
			assert.ok(closed);
			for (const part of parts.slice(0, -1)) {
				assert.equal(part.body.length % 150_000, 0, 'whole appends');
				assert.equal(part.headers['stream-closed'], undefined);
				assert.equal(part.headers['stream-up-to-date'], undefined);
			}
		},
	);

	it('one append larger than a part is still delivered whole', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const large = JSON.stringify({ text: 'x'.repeat(3 << 20) });
		await s.append('0', { type: JSON_TYPE });
		await s.append(large, { type: JSON_TYPE });
		await s.append('2', { type: JSON_TYPE });
		const { parts, values } = await s.readAll();
		assert.deepEqual(values(), [0, JSON.parse(large), 2]);
		for (const part of parts) assert.ok(Array.isArray(part.json()), 'each part is an array of its own');
	});
});
