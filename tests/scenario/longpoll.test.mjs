// Long-poll: section 13 of the protocol digest. A test cannot see when a request begins to wait, so where it matters
// the change is made many times, at whatever moment, and what must hold is asserted for either order.

import assert from 'node:assert/strict';
import { JSON_TYPE, forkOf, ours, overBothVersions } from '../lib/streams.mjs';

overBothVersions('long-poll', {}, (door, it) => {
	it('data behind the offset is answered at once, like a catch-up read, with a cursor', async () => {
		const s = await door.stream().create({ body: 'a' });
		const first = await s.tail();
		await s.append('b');
		const answer = await s.poll(first);
		assert.equal(answer.status, 200);
		assert.equal(answer.text, 'b');
		assert.equal(answer.headers['content-type'], 'text/plain');
		assert.equal(answer.headers['stream-up-to-date'], 'true');
		assert.match(answer.headers['stream-cursor'], /^\d+$/);
		assert.ok(answer.headers.etag);
	});

	it('a follower that loops sees every append once and in order, whatever the timing', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const count = 300;
		const follow = async (reader) => {
			const seen = [];
			for (let offset = '-1'; seen.length < count;) {
				const answer = await reader.poll(offset);
				assert.ok([200, 204].includes(answer.status), String(answer.status));
				if (answer.status === 200) seen.push(...answer.json());
				offset = answer.headers['stream-next-offset'];
			}
			return seen;
		};
		const followers = Array.from({ length: 4 }, () => follow(s));
		for (let n = 0; n < count; n++) await s.append(String(n), { type: JSON_TYPE });
		const expected = Array.from({ length: count }, (_, n) => n);
		for (const seen of await Promise.all(followers)) assert.deepEqual(seen, expected);
	});

	it('one append serves all that wait', async () => {
		const s = await door.stream().create({ body: 'a' });
		const tail = await s.tail();
		const waiting = Array.from({ length: 50 }, () => s.poll(tail));
		const next = await s.append('b');
		for (const answer of await Promise.all(waiting)) {
			assert.equal(answer.status, 200);
			assert.equal(answer.text, 'b');
			assert.equal(answer.headers['stream-next-offset'], next);
		}
	});

	it('offset=now waits for the next append, and nothing behind the reported offset is skipped', async () => {
		for (let round = 0; round < 20; round++) {
			const s = await door.stream().create({ body: 'old' });
			const polls = s.poll('now');
			await s.append('new');
			const answer = await polls;
			const seen = answer.status === 200 ? answer.text : '';
			const rest = await s.get({ offset: answer.headers['stream-next-offset'] });
			assert.ok(
				seen + rest.text === 'new' ||
					(seen + rest.text === '' &&
						answer.headers['stream-next-offset'] === (await s.tail())),
				JSON.stringify([answer.status, seen, rest.text]),
			);
			assert.ok(!seen.includes('old'));
		}
	});

	it('a wait that nothing ends is 204 with tail, up-to-date and cursor, and has no body', async () => {
		const s = await door.stream().create({ body: 'a' });
		const answer = await s.poll('now');
		assert.equal(answer.status, 204);
		assert.equal(answer.body.length, 0);
		assert.equal(answer.headers['stream-next-offset'], await s.tail());
		assert.equal(answer.headers['stream-up-to-date'], 'true');
		assert.match(answer.headers['stream-cursor'], /^\d+$/);
		assert.equal(answer.headers['stream-closed'], undefined);
	});

	it('deleting releases those who wait with 404', async () => {
		const s = await door.stream().create({ body: 'a' });
		const waiting = Array.from({ length: 10 }, () => s.poll('now'));
		assert.equal((await s.remove()).status, 204);
		for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 404);
	});

	it('soft-deleting releases them with 410 (24 #23)', ours, async () => {
		const s = await door.stream().create({ body: 'a' });
		await door.stream().create({ type: null, headers: forkOf(s) });
		const waiting = Array.from({ length: 5 }, () => s.poll('now'));
		assert.equal((await s.remove()).status, 204);
		for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 410);
	});

	it(
		'deleting and making anew never gives the waiting the data of the successor under the old offset',
		ours,
		async () => {
			for (let round = 0; round < 10; round++) {
				const s = await door.stream().create({ body: 'old!' });
				const waiting = s.poll(await s.tail());
				await s.remove();
				await s.create({ body: 'new!' });
				const answer = await waiting;
				// The request may also have come after the new stream was made: then it is at the tail
				// of that one.
				assert.ok(
					answer.status === 404 || (answer.status === 204 && answer.body.length === 0),
					`${answer.status} ${answer.text}`,
				);
			}
		},
	);

	it('the clients that wait do not hinder those that work', async () => {
		const s = await door.stream().create({ body: 'a' });
		const idle = door.connect();
		const waiting = Array.from({ length: 100 }, () => s.on(idle).poll('now'));
		for (let n = 0; n < 20; n++) assert.equal((await door.stream().put({ body: 'x' })).status, 201);
		await s.append('end');
		for (const answer of await Promise.all(waiting)) assert.ok([200, 204].includes(answer.status));
		idle.close();
	});

	it('a client that gives up waiting costs nobody else anything', async () => {
		const s = await door.stream().create({ body: 'a' });
		const client = door.connect();
		const lost = Array.from({ length: 30 }, () =>
			s
				.on(client)
				.poll('now')
				.catch(() => null),
		);
		const stays = s.poll(await s.tail());
		client.close();
		await Promise.all(lost);
		await s.append('b');
		assert.equal((await stays).text, 'b');
	});
});
