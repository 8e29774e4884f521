// TTL and expiry: section 16 and row 21 of section 24 of the protocol digest. Instead of measuring time, a stream that
// is used is compared with a witness of the same TTL that is not: when the witness, made later, has expired, the used
// one must be there.

import assert from 'node:assert/strict';
import { CLOSE, forkOf, ours, oursIf, overBothVersions, producer } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const TTL = { 'stream-ttl': '3' };

overBothVersions('TTL', { concurrency: 20 }, (door, it) => {
	// Uses a stream again and again until the witness is gone.
	async function outlives(s, use) {
		const witness = await door.stream('w').create({ headers: TTL });
		await until(
			'the witness to expire',
			async () => {
				await use();
				return (await witness.head()).status === 404;
			},
			{ step: 150 },
		);
		assert.equal((await s.head()).status, 200, 'outlived a stream that was made later and not used');
	}

	const renewing = {
		'a read': (s) => s.get(),
		'a read at the tail': async (s) => s.get({ offset: await s.tail() }),
		'a read at now': (s) => s.get({ offset: 'now' }),
		'an append': (s) => s.post('x'),
		'a close-only request on a closed stream': (s) => s.post('', { headers: CLOSE }),
		'a conditional read answered 304': (s) => s.get({}, { 'if-none-match': '*' }),
	};
	for (const [what, use] of Object.entries(renewing))
		it(`${what} renews it`, oursIf(/now|close|304/.test(what)), async () => {
			const s = await door.stream().create({ headers: TTL });
			await outlives(s, () => use(s));
		});

	it('a producer duplicate renews it (24 #21)', ours, async () => {
		const s = await door.stream().create({ headers: TTL });
		await s.append('x', { headers: producer('p', 0, 0) });
		await outlives(s, async () =>
			assert.equal((await s.post('x', { headers: producer('p', 0, 0) })).status, 204),
		);
	});

	it('a producer close-only duplicate renews it', ours, async () => {
		const s = await door.stream().create({ headers: TTL });
		const close = () => s.post('', { headers: { ...producer('p', 0, 0), ...CLOSE } });
		assert.equal((await close()).status, 204);
		await outlives(s, async () => assert.equal((await close()).status, 204));
	});

	const idle = {
		'HEAD': (s) => s.head(),
		'OPTIONS': (s) => s.send('OPTIONS'),
		'a refused append of another type': (s) => s.post('x', { type: 'image/png' }),
		'a refused append of a bad producer number': (s) => s.post('x', { headers: producer('p', 0, 7) }),
		'a read of a bad offset': (s) => s.get({ offset: 'junk' }),
		'reading a fork of it': null,
	};
	for (const [what, use] of Object.entries(idle))
		it(`${what} does not renew it`, oursIf(/refused|fork/.test(what)), async () => {
			const s = await door.stream().create({ headers: TTL });
			const f = use
				? null
				: await door
						.stream()
						.create({ type: null, headers: forkOf(s, { 'stream-ttl': '3600' }) });
			await until(
				'expiry',
				async () => {
					await (use ? use(s) : f.get());
					return [404, 410].includes((await s.head()).status);
				},
				{ step: 150 },
			);
		});

	it('an open SSE reader holds the stream, and it expires once the reader has gone (24 #21)', ours, async () => {
		const s = await door.stream().create({ headers: TTL });
		const client = door.connect();
		const reader = await s.on(client).sse('-1');
		await reader.upTo();
		await outlives(s, () => {});
		reader.close();
		client.close();
		await s.gone();
	});

	it('readers are released when a stream expires under them: long-poll 404, SSE ends', ours, async () => {
		const soon = () => ({ 'stream-expires-at': new Date(Date.now() + 1500).toISOString() });
		const s = await door.stream().create({ headers: soon() });
		const sse = await s.sse('now');
		const events = await sse.rest();
		assert.ok(events.every((event) => !event.control?.streamClosed));
		assert.equal((await s.poll('now')).status, 404);
		const t = await door.stream().create({ headers: soon() });
		let answer;
		do answer = await t.poll('now');
		while (answer.status === 204);
		assert.equal(answer.status, 404);
	});

	it('Expires-At is absolute: use does not renew it', async () => {
		const s = await door
			.stream()
			.create({ headers: { 'stream-expires-at': new Date(Date.now() + 2000).toISOString() } });
		await until(
			'expiry',
			async () => {
				const status = (await s.post('x')).status;
				await s.get();
				return status === 404;
			},
			{ step: 100 },
		);
		assert.equal((await s.get()).status, 404);
	});

	it('an expired stream is 404 everywhere and its name can be used anew, with nothing of the old', async () => {
		const s = await door.stream().create({ headers: { 'stream-ttl': '1' }, body: 'old' });
		await s.append('x', { headers: { ...producer('p', 7, 0), 'stream-seq': 'z' } });
		await s.gone();
		for (const answer of [
			await s.get(),
			await s.post('x'),
			await s.remove(),
			await s.poll('-1'),
			await s.poll('now'),
			await s.get({ offset: '-1', live: 'sse' }),
		])
			assert.equal(answer.status, 404);
		await s.create({ body: 'new' });
		assert.equal((await s.get()).text, 'new');
		assert.equal(
			(await s.post('er', { headers: { ...producer('p', 0, 0), 'stream-seq': 'a' } })).status,
			200,
		);
		assert.equal((await s.get()).text, 'newer');
	});

	it('reading a fork does not keep its source, nor the other way round', ours, async () => {
		const source = await door.stream().create({ headers: TTL, body: 'x' });
		const f = await door.stream().create({ type: null, headers: forkOf(source) });
		await until(
			'the fork to expire',
			async () => {
				await source.get();
				return (await f.head()).status === 404;
			},
			{ step: 150 },
		);
		assert.equal((await source.get()).status, 200);
	});
});

const patient = (config) => (config.frontends[0].plugins[0].long_poll_timeout = '8s');

overBothVersions('TTL under a long wait', { config: patient }, (door, it) => {
	it('a waiting long-poll holds the stream (24 #21)', ours, async () => {
		const s = await door.stream().create({ headers: TTL });
		const client = door.connect();
		const waiting = s.on(client).poll('now');
		const witness = await door.stream('w').create({ headers: TTL });
		await until('the witness to expire', async () => (await witness.head()).status === 404, { step: 150 });
		assert.equal((await s.head()).status, 200, 'outlived a stream that was made later and not read');
		await s.append('x');
		assert.equal((await waiting).text, 'x');
		client.close();
		await s.gone();
	});
});
