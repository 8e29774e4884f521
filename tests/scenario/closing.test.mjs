// Closing in every mode: section 9 and rows 9, 11, 12, 18 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { textOf } from '../lib/live.mjs';
import { CLOSE, JSON_TYPE, ours, overBothVersions } from '../lib/streams.mjs';

const closeWith = (s, body = '', type) => s.append(body, { type, headers: CLOSE });

overBothVersions('closing', {}, (door, it) => {
	it('a catch-up read at the tail of a closed stream is 200, empty, closed and up to date', async () => {
		for (const [type, body, empty] of [
			['text/plain', 'x', ''],
			[JSON_TYPE, '1', '[]'],
		]) {
			const s = await door.stream().create({ type, body });
			await closeWith(s);
			const tail = await s.tail();
			const answer = await s.get({ offset: tail });
			assert.equal(answer.status, 200);
			assert.equal(answer.text, empty);
			assert.equal(answer.headers['stream-closed'], 'true');
			assert.equal(answer.headers['stream-up-to-date'], 'true');
			assert.equal(answer.headers['stream-next-offset'], tail);
		}
	});

	it('a read that reaches the tail says closed together with the data', async () => {
		const s = await door.stream().create({ body: 'a' });
		await closeWith(s, 'b');
		const answer = await s.get();
		assert.equal(answer.text, 'ab');
		assert.equal(answer.headers['stream-closed'], 'true');
		const polled = await s.poll('-1');
		assert.equal(polled.status, 200);
		assert.equal(polled.text, 'ab');
		assert.equal(polled.headers['stream-closed'], 'true');
		assert.equal(polled.headers['stream-up-to-date'], 'true');
	});

	it('a long-poll at the tail of a closed stream is 204 at once', async () => {
		const s = await door.stream().create({ body: 'a' });
		await closeWith(s);
		const tail = await s.tail();
		for (const offset of [tail, 'now']) {
			const answer = await s.poll(offset);
			assert.equal(answer.status, 204);
			assert.equal(answer.headers['stream-closed'], 'true');
			assert.equal(answer.headers['stream-up-to-date'], 'true');
			assert.equal(answer.headers['stream-next-offset'], tail);
		}
	});

	it('a waiting long-poll is released by a close', async () => {
		const s = await door.stream().create({ body: 'a' });
		const tail = await s.tail();
		const waiting = s.poll(tail);
		await closeWith(s);
		const answer = await waiting;
		assert.equal(answer.status, 204);
		assert.equal(answer.headers['stream-closed'], 'true');
		assert.equal(answer.headers['stream-next-offset'], tail);
	});

	it('a waiting long-poll gets the data of an append-and-close, never a 204 that hides it (24 #11)', async () => {
		for (let round = 0; round < 10; round++) {
			const s = await door.stream().create({ body: 'a' });
			const waiting = s.poll(await s.tail());
			await closeWith(s, 'last');
			const answer = await waiting;
			assert.equal(answer.status, 200);
			assert.equal(answer.text, 'last');
			assert.equal(answer.headers['stream-next-offset'], await s.tail());
		}
	});

	it('SSE on a closed stream sends the data, one closing control, and ends', async () => {
		const s = await door.stream().create({ body: 'a' });
		await closeWith(s, 'b');
		const events = await (await s.sse('-1')).rest();
		assert.equal(textOf(events), 'ab');
		assert.equal(events.at(-1).control.streamClosed, true);
		assert.equal(events.at(-1).control.streamCursor, undefined);
		assert.equal(events.at(-1).control.streamNextOffset, await s.tail());
	});

	it(
		'SSE at now or at the tail of a closed stream: one control that says closed and up to date (24 #18)',
		ours,
		async () => {
			const s = await door.stream().create({ body: 'a' });
			await closeWith(s);
			const tail = await s.tail();
			for (const offset of ['now', tail]) {
				const events = await (await s.sse(offset)).rest();
				assert.equal(events.length, 1);
				assert.deepEqual(events[0].control, {
					streamNextOffset: tail,
					upToDate: true,
					streamClosed: true,
				});
			}
		},
	);

	it('open SSE readers see a close, and an append-and-close with its data, and end', async () => {
		for (const last of ['', 'last']) {
			const s = await door.stream().create({ body: 'a' });
			const reader = await s.sse('-1');
			const seen = await reader.upTo();
			await closeWith(s, last);
			const rest = await reader.rest();
			assert.equal(textOf([...seen, ...rest]), `a${last}`);
			assert.equal(rest.at(-1).control.streamClosed, true);
			assert.equal(rest.filter((event) => event.control?.streamClosed).length, 1);
		}
	});

	it('a closed stream outranks type, Stream-Seq and content; only a missing Content-Type comes first (24 #9)', async () => {
		const s = await door.stream().create({ type: JSON_TYPE, body: '1' });
		await s.append('2', { type: JSON_TYPE, headers: { 'stream-seq': 'z' } });
		await closeWith(s);
		const tail = await s.tail();
		const refused = [
			await s.post('x', { type: 'text/plain' }),
			await s.post('{', { type: JSON_TYPE }),
			await s.post('3', { type: JSON_TYPE, headers: { 'stream-seq': 'a' } }),
			await s.post('3', { type: JSON_TYPE, headers: CLOSE }),
		];
		for (const [at, answer] of refused.entries()) {
			assert.equal(answer.status, 409, `case ${at}`);
			assert.equal(answer.headers['stream-closed'], 'true', `case ${at}`);
			assert.equal(answer.headers['stream-next-offset'], tail, `case ${at}`);
		}
		assert.equal((await s.post('3', { type: null })).status, 400);
		assert.deepEqual((await s.get()).json(), [1, 2]);
	});

	it('close is idempotent and says the same each time', async () => {
		const s = await door.stream().create({ body: 'a' });
		for (let round = 0; round < 3; round++) {
			const answer = await s.post('', { headers: CLOSE });
			assert.equal(answer.status, 204);
			assert.equal(answer.headers['stream-closed'], 'true');
			assert.equal(answer.headers['stream-next-offset'], await s.tail());
		}
	});

	it('a close among concurrent appends is final: what was acknowledged is what can be read (24 #12)', async () => {
		for (let round = 0; round < 5; round++) {
			const s = await door.stream().create({ type: JSON_TYPE });
			const acked = [];
			const appends = Array.from({ length: 60 }, async (_, n) => {
				if (n === 30) return closeWith(s);
				const answer = await s.post(String(n), { type: JSON_TYPE });
				if (answer.status === 204) acked.push(n);
				else assert.equal(answer.headers['stream-closed'], 'true', `${n}: ${answer.status}`);
			});
			await Promise.all(appends);
			assert.equal((await s.head()).headers['stream-closed'], 'true');
			assert.equal((await s.post('x', { type: JSON_TYPE })).status, 409);
			assert.deepEqual(
				(await s.get()).json().sort((a, b) => a - b),
				acked.sort((a, b) => a - b),
			);
		}
	});

	it('a closed stream can still be deleted and made anew, open', async () => {
		const s = await door.stream().create({ body: 'old', headers: CLOSE });
		assert.equal((await s.remove()).status, 204);
		await s.create({ body: 'new' });
		assert.equal((await s.head()).headers['stream-closed'], undefined);
		assert.equal((await s.post('er')).status, 204);
		assert.equal((await s.get()).text, 'newer');
	});
});
