// When several things are wrong with a request, which one is reported: the table of section 18 of the protocol digest.
// Each row makes a request wrong in its own way and in all the ways of the rows below it, and expects its own status.

import assert from 'node:assert/strict';
import {
	BEYOND,
	CLOSE,
	JSON_TYPE,
	ZERO,
	forkOf,
	freshName,
	ours,
	overBothVersions,
	producer,
} from '../lib/streams.mjs';

overBothVersions('precedence', {}, (door, it) => {
	const missing = () => ({ path: `/v1/stream/${freshName('none')}` });

	it(
		'PUT: headers before the target, the target before the source, the source before the body',
		ours,
		async () => {
			const target = await door.stream().create({ type: 'text/plain' });
			const soft = await door.stream().create();
			await door.stream().create({ type: null, headers: forkOf(soft) });
			await soft.remove();
			const json = await door.stream().create({ type: JSON_TYPE, body: '[1,2]' });
			const put = (s, headers, { type = JSON_TYPE, body = '{' } = {}) =>
				s.put({ type, headers, body }).then((answer) => answer.status);

			assert.equal(
				await put(target, { 'stream-ttl': 'x', 'stream-expires-at': 'y' }),
				400,
				'TTL with Expires-At',
			);
			assert.equal(
				await put(target, { 'stream-ttl': 'x', ...forkOf(missing()) }),
				400,
				'TTL grammar',
			);
			assert.equal(
				await put(target, { 'stream-expires-at': 'x', ...forkOf(missing()) }),
				400,
				'Expires-At grammar',
			);
			assert.equal(
				await put(target, forkOf(missing(), { 'stream-fork-offset': 'x' })),
				400,
				'fork offset grammar',
			);
			assert.equal(
				await put(target, { 'stream-fork-sub-offset': '1' }),
				400,
				'sub-offset without source',
			);
			assert.equal(await put(target, forkOf(missing())), 409, 'target exists');
			assert.equal(await put(soft, forkOf(missing())), 409, 'target soft-deleted');
			assert.equal(
				await put(target, {}, { type: 'text/plain', body: 'x' }),
				200,
				'equal target, the body does not matter',
			);
			assert.equal(
				await put(door.stream(), forkOf(missing(), { 'stream-fork-offset': BEYOND })),
				404,
				'source unknown',
			);
			assert.equal(
				await put(door.stream(), forkOf(soft, { 'stream-fork-offset': BEYOND })),
				409,
				'source soft-deleted',
			);
			assert.equal(
				await put(door.stream(), forkOf(json, { 'stream-fork-offset': BEYOND }), {
					type: 'text/plain',
				}),
				409,
				'type before the fork offset',
			);
			assert.equal(
				await put(door.stream(), forkOf(json, { 'stream-fork-offset': BEYOND })),
				400,
				'fork offset beyond the tail',
			);
			assert.equal(
				await put(
					door.stream(),
					forkOf(json, { 'stream-fork-offset': ZERO, 'stream-fork-sub-offset': '9' }),
				),
				400,
				'sub-offset overshoot',
			);
			assert.equal(await put(door.stream(), forkOf(json)), 400, 'the initial body last');
		},
	);

	it('an equal create of an existing JSON stream is 200 whatever its body is', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		assert.equal((await s.put({ type: JSON_TYPE, body: '{' })).status, 200);
		assert.equal((await s.get()).text, '[]');
	});

	it('POST: producer grammar, then what exists, closed, type, producer, Stream-Seq, content', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		await s.append('1', { type: JSON_TYPE, headers: { ...producer('p', 5, 0), 'stream-seq': 'm' } });
		const closed = await door.stream().create({ type: JSON_TYPE, headers: CLOSE });
		const bad = { 'stream-seq': 'a' };
		const post = (target, headers, { type = JSON_TYPE, body = '{' } = {}) =>
			target.post(body, { type, headers }).then((answer) => answer.status);

		assert.equal(
			await post(door.stream(), { 'producer-id': 'p' }, { type: null, body: '' }),
			400,
			'partial producer headers',
		);
		assert.equal(await post(door.stream(), producer('', 'x', 'x')), 400, 'empty id');
		assert.equal(await post(door.stream(), producer('p', 'x', 0)), 400, 'epoch grammar');
		assert.equal(await post(door.stream(), {}, { body: '' }), 400, 'empty body before 404');
		assert.equal(await post(door.stream(), {}, { type: null }), 400, 'missing Content-Type before 404');
		assert.equal(await post(door.stream(), bad, { type: 'text/plain' }), 404, 'unknown stream');
		assert.equal(
			await post(closed, { ...producer('p', 0, 9), ...bad }, { type: 'text/plain' }),
			409,
			'closed',
		);
		assert.equal(
			await post(s, { ...producer('p', 4, 0), ...bad }, { type: 'text/plain' }),
			409,
			'type before producer',
		);
		assert.equal(
			await post(s, { ...producer('p', 4, 0), ...bad }),
			403,
			'stale epoch before Stream-Seq and content',
		);
		assert.equal(await post(s, { ...producer('p', 6, 1), ...bad }), 400, 'new epoch at 1');
		assert.equal(await post(s, { ...producer('p', 5, 9), ...bad }), 409, 'gap');
		assert.equal(await post(s, { ...producer('p', 5, 1), ...bad }), 409, 'Stream-Seq before content');
		assert.equal(
			await post(s, { ...producer('p', 5, 0), ...bad }),
			204,
			'a duplicate needs no valid content',
		);
		assert.equal(await post(s, { ...producer('p', 5, 1), 'stream-seq': 'z' }), 400, 'content last');
		assert.equal(
			await post(s, producer('p', 5, 1), { body: '2' }),
			200,
			'and nothing of all that left a trace',
		);
		assert.deepEqual((await s.get()).json(), [1, 2]);
	});

	it('a gap says so in its headers, although the content is bad', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const answer = await s.post('{', { type: JSON_TYPE, headers: producer('p', 0, 3) });
		assert.equal(answer.status, 409);
		assert.equal(answer.headers['producer-expected-seq'], '0');
		assert.equal(answer.headers['producer-received-seq'], '3');
	});

	it('GET: what exists before the offset', async () => {
		const soft = await door.stream().create();
		await door.stream().create({ type: null, headers: forkOf(soft) });
		await soft.remove();
		for (const query of ['offset=', 'offset=x', 'offset=-1&offset=-1', 'live=sse', 'live=long-poll']) {
			assert.equal((await door.stream().get(query)).status, 404, query);
			assert.equal((await soft.get(query)).status, 410, query);
		}
	});

	it('DELETE and HEAD: 410, 404', async () => {
		const soft = await door.stream().create();
		await door.stream().create({ type: null, headers: forkOf(soft) });
		assert.equal((await soft.remove()).status, 204);
		assert.equal((await soft.remove()).status, 410);
		assert.equal((await soft.head()).status, 410);
		assert.equal((await door.stream().remove()).status, 404);
		assert.equal((await door.stream().head()).status, 404);
	});
});

overBothVersions('error texts', {}, (door, it) => {
	it('every refusal is one plain sentence, whoever makes it', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE, body: '1' });
		const closed = await door.stream().create({ headers: CLOSE });
		const gone = await door.stream().create({ body: 'x' });
		await door.stream('f').create({ type: null, headers: { 'stream-forked-from': gone.path } });
		await gone.remove();
		const answers = [
			await door.stream().get(),
			await gone.get(),
			await s.get({ offset: 'x' }),
			await s.get({ live: 'x', offset: '-1' }),
			await s.get('offset=-1&offset=-1'),
			await s.put({ type: 'text/plain' }),
			await s.put({ type: JSON_TYPE, headers: { 'stream-ttl': 'x' } }),
			await s.post('x', { type: JSON_TYPE }),
			await s.post('1', { type: 'text/plain' }),
			await s.post('', { type: JSON_TYPE }),
			await s.post('1', { type: JSON_TYPE, headers: { 'content-encoding': 'gzip' } }),
			await closed.post('x'),
			await s.send('PATCH'),
			await door.client.request('GET', '/nothing/here'),
			await door.client.request('GET', `${s.path}/%zz`),
		];
		for (const { status, text, headers } of answers) {
			assert.ok(status >= 400 && status < 500, `${status} ${text}`);
			assert.match(text, /^[A-Z][^\n]+\.\n$/, `${status} ${text}`);
			assert.match(headers['content-type'], /^text\/plain/);
		}
	});
});
