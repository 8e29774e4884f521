// Retention: what is older than allowed is gone, reads before it are 410 with the earliest offset, -1 gives what is
// left (sections 1 and 15 of the protocol digest).

import assert from 'node:assert/strict';
import { JSON_TYPE, ZERO, forkOf, freshName, ours, overBothVersions } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const config = (settings) => {
	settings.frontends[0].plugins[0].retention = [
		{ prefix: 'log/', max_bytes: '4K' },
		{ prefix: 'log/keep/', max_bytes: '1G' },
	];
};

overBothVersions('retention', { config }, (door, it) => {
	async function trimmed(name = `log/${freshName()}`) {
		const s = door.stream();
		Object.assign(s, { name, path: `/v1/stream/${name}` });
		await s.create({ type: JSON_TYPE });
		const offsets = [ZERO];
		for (let n = 0; n < 40; n++)
			offsets.push(
				await s.append(JSON.stringify({ n, fill: 'x'.repeat(1000) }), { type: JSON_TYPE }),
			);
		return { s, offsets };
	}
	// A sweep among the appends has dropped the first ones only: until what goes in any case has gone.
	const untilTrimmed = (s, offsets) =>
		until('the beginning to be dropped', async () => (await s.get({ offset: offsets[30] })).status === 410, {
			step: 100,
		});

	it('old records go: 410 names the earliest offset, from which the rest can be read', ours, async () => {
		const { s, offsets } = await trimmed();
		await untilTrimmed(s, offsets);
		const gone = await s.get({ offset: offsets[1] });
		assert.equal(gone.status, 410);
		const earliest = gone.headers['stream-earliest-offset'];
		assert.ok(offsets.includes(earliest), earliest);
		const left = await s.get({ offset: earliest });
		assert.equal(left.status, 200);
		assert.equal(left.headers['stream-next-offset'], offsets.at(-1));
		const all = await s.readAll();
		assert.deepEqual(
			all.values().map(({ n }) => n),
			left.json().map(({ n }) => n),
			'-1 gives what is left',
		);
		assert.equal(all.values().at(-1).n, 39);
		assert.ok(all.values().length < 40 && all.values().length > 0);
	});

	it('live reads before the earliest offset are 410 too, and the tail stays where it was', ours, async () => {
		const { s, offsets } = await trimmed();
		await untilTrimmed(s, offsets);
		assert.equal((await s.poll(ZERO)).status, 410);
		assert.equal((await s.get({ offset: ZERO, live: 'sse' })).status, 410);
		assert.equal(await s.tail(), offsets.at(-1));
		assert.ok((await s.append('1', { type: JSON_TYPE })) > offsets.at(-1));
	});

	it('a fork at a dropped offset is 410; a fork made before keeps what it reaches', ours, async () => {
		const { s, offsets } = await trimmed(`log/keep/${freshName()}`);
		const fork = await door
			.stream('f')
			.create({ type: null, headers: forkOf(s, { 'stream-fork-offset': offsets[3] }) });
		assert.equal((await fork.get()).json().length, 3);
		const { s: other, offsets: points } = await trimmed();
		await untilTrimmed(other, points);
		assert.equal(
			(
				await door
					.stream('f')
					.put({
						type: null,
						headers: forkOf(other, { 'stream-fork-offset': points[1] }),
					})
			).status,
			410,
		);
	});

	it('the longest prefix decides, and other streams are left alone', ours, async () => {
		const kept = await trimmed(`log/keep/${freshName()}`);
		const other = await trimmed(`other/${freshName()}`);
		const { s, offsets } = await trimmed();
		await untilTrimmed(s, offsets);
		for (const { s: stream } of [kept, other]) assert.equal((await stream.readAll()).values().length, 40);
	});
});
