// Forks: section 15 and rows 6, 22, 24, 25 of section 24 of the protocol digest.

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
import { until } from '../lib/wait.mjs';

const at = (offset, sub) => ({
	'stream-fork-offset': offset,
	...(sub !== undefined && { 'stream-fork-sub-offset': String(sub) }),
});

overBothVersions('fork', {}, (door, it) => {
	const fork = (source, extra, options) =>
		door.stream('f').create({ type: null, headers: forkOf(source, extra), ...options });
	const refused = async (source, extra, status, options = {}) => {
		const s = door.stream('f');
		const answer = await s.put({ type: null, headers: forkOf(source, extra), ...options });
		assert.equal(answer.status, status, `${JSON.stringify(extra)}: ${answer.text}`);
		assert.equal((await s.head()).status, 404, 'nothing was made');
	};

	it(
		'repeating a fork request word for word is 200, with everything inherited or given (24 #6)',
		ours,
		async () => {
			const source = await door
				.stream()
				.create({
					type: 'text/plain; charset=utf-8',
					body: 'abc',
					headers: { 'stream-ttl': '3600' },
				});
			const tail = await source.tail();
			for (const headers of [
				forkOf(source),
				forkOf(source, at(tail)),
				forkOf(source, at(ZERO)),
				forkOf(source, at(ZERO, 2)),
				forkOf(source, { 'stream-ttl': '60' }),
				forkOf(source, CLOSE),
			])
				for (const type of [null, 'text/plain']) {
					const s = door.stream('f');
					assert.equal((await s.put({ type, headers })).status, 201);
					await source.append('later');
					assert.equal(
						(await s.put({ type, headers })).status,
						200,
						JSON.stringify(headers),
					);
				}
		},
	);

	it('a fork request that differs, or a plain create of an existing fork, is 409', async () => {
		const source = await door.stream().create({ body: 'abc' });
		const other = await door.stream().create({ body: 'abc' });
		const f = await fork(source, at(ZERO));
		const tail = await source.tail();
		for (const headers of [
			forkOf(other, at(ZERO)),
			forkOf(source, at(tail)),
			forkOf(source, at(ZERO, 1)),
			{},
		])
			assert.equal((await f.put({ type: null, headers })).status, 409, JSON.stringify(headers));
	});

	it('sub-offset 0 equals none, a given sub-offset is compared as given', ours, async () => {
		const source = await door.stream().create({ body: 'abcdef' });
		const f = await fork(source, at(ZERO, 0));
		assert.equal((await f.put({ type: null, headers: forkOf(source, at(ZERO)) })).status, 200);
		const g = await fork(source, at(ZERO, 3));
		assert.equal((await g.put({ type: null, headers: forkOf(source, at(ZERO, 3)) })).status, 200);
		assert.equal((await g.put({ type: null, headers: forkOf(source, at(ZERO, 2)) })).status, 409);
		assert.equal((await g.put({ type: null, headers: forkOf(source, at(ZERO)) })).status, 409);
	});

	it('the source is found however its path is escaped, the mount included', ours, async () => {
		const source = await door.stream().create({ body: 'abc' });
		for (const path of [
			source.path.replace('stream', 'stre%61m'),
			source.path.replace('/v1/', '/%76%31/'),
			source.path.replace(/.$/, (last) => `%${last.charCodeAt(0).toString(16)}`),
		]) {
			const s = await door.stream('f').create({ type: null, headers: { 'stream-forked-from': path } });
			assert.equal((await s.get()).text, 'abc', path);
		}
		for (const path of ['/v1/stre%6m/x', `${source.path}%zz`, `${source.path}?x`]) {
			const answer = await door.stream('f').put({ type: null, headers: { 'stream-forked-from': path } });
			assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status}`);
		}
	});

	it('no answer of a fork carries fork headers', async () => {
		const source = await door.stream().create({ body: 'abc' });
		const s = door.stream('f');
		const made = await s.put({ type: null, headers: forkOf(source, at(ZERO, 1)) });
		for (const answer of [made, await s.head(), await s.get(), await s.post('x')])
			for (const name of Object.keys(answer.headers)) assert.ok(!/^stream-fork/.test(name), name);
	});

	it('the fork sees its source up to the fork point for ever; both go on alone', async () => {
		const source = await door.stream().create({ body: 'a' });
		const point = await source.append('b');
		await source.append('c');
		const f = await fork(source, at(point));
		assert.equal((await f.get()).text, 'ab');
		assert.equal(await f.tail(), point);
		const own = await f.append('X');
		assert.ok(own > point);
		await source.append('d');
		assert.equal((await f.get()).text, 'abX');
		assert.equal((await source.get()).text, 'abcd');
		assert.equal((await f.get({ offset: point })).text, 'X');
	});

	it('a fork starts at the tail by default, open, without producers and Stream-Seq, and inherits the type verbatim', async () => {
		const source = await door.stream().create({ type: 'text/plain; charset=utf-8', body: 'a' });
		await source.append('b', { headers: { ...producer('p', 4, 0), 'stream-seq': 'zzz' } });
		await source.append('', { headers: CLOSE });
		const f = await fork(source);
		const { headers } = await f.head();
		assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
		assert.equal(headers['stream-closed'], undefined);
		assert.equal(headers['stream-next-offset'], await source.tail());
		assert.equal(
			(await f.post('c', { headers: { ...producer('p', 0, 0), 'stream-seq': 'a' } })).status,
			200,
		);
		assert.equal((await f.get()).text, 'abc');
	});

	it('the initial body goes behind the inherited part, and a fork may be created closed', async () => {
		const source = await door.stream().create({ body: 'inherited,' });
		const f = await fork(source, CLOSE, { body: 'own' });
		const answer = await f.get();
		assert.equal(answer.text, 'inherited,own');
		assert.equal(answer.headers['stream-closed'], 'true');
	});

	it('a read across the fork point is one JSON array', async () => {
		const source = await door.stream().create({ type: JSON_TYPE, body: '[1,2]' });
		const f = await fork(source);
		await f.append('[3,4]', { type: JSON_TYPE });
		assert.equal((await f.get()).text, '[1,2,3,4]');
	});

	it(
		'refusals: unknown source 404, type 409, malformed 400, beyond the tail 400, off a boundary 400',
		ours,
		async () => {
			const source = await door.stream().create({ body: 'abcdef' });
			const next = await source.append('ghi');
			await refused({ path: `/v1/stream/${freshName('none')}` }, {}, 404);
			await refused(source, {}, 409, { type: JSON_TYPE });
			for (const offset of ['x', '', '-1', 'now', '0_0', '0,0'])
				await refused(source, { 'stream-fork-offset': offset }, 400);
			await refused(source, at(BEYOND), 400);
			const [head, tail] = next.split('_');
			for (const delta of [-3n, -1n, 1n])
				await refused(
					source,
					at(`${head}_${String(BigInt(tail) + delta).padStart(16, '0')}`),
					400,
				);
			for (const sub of ['-1', '01', 'x', '1.5', '']) await refused(source, at(ZERO, sub), 400);
		},
	);

	it('fork offset or sub-offset without a source are 400, even 0 and empty', ours, async () => {
		for (const headers of [
			{ 'stream-fork-sub-offset': '0' },
			{ 'stream-fork-sub-offset': '' },
			{ 'stream-fork-sub-offset': '3' },
			{ 'stream-fork-offset': ZERO },
		]) {
			const s = door.stream();
			assert.equal((await s.put({ headers })).status, 400, JSON.stringify(headers));
			assert.equal((await s.head()).status, 404);
		}
	});

	it('forking from itself is 404 for a new name and 409 for an existing one', async () => {
		const s = door.stream();
		assert.equal((await s.put({ type: null, headers: forkOf(s) })).status, 404);
		await s.create();
		assert.equal((await s.put({ type: null, headers: forkOf(s) })).status, 409);
	});

	it('a sub-offset counts bytes of the next append, up to all of it and never into the one behind (24 #25)', async () => {
		const source = await door.stream().create({ body: 'abcdef' });
		const second = await source.append('ghi');
		for (const [offset, sub, text] of [
			[ZERO, 1, 'a'],
			[ZERO, 5, 'abcde'],
			[ZERO, 6, 'abcdef'],
		]) {
			const f = await fork(source, at(offset, sub));
			assert.equal((await f.get()).text, text);
			const tail = await f.tail();
			const empty = await f.get({ offset: tail });
			assert.equal(empty.text, '');
			assert.equal(empty.headers['stream-up-to-date'], 'true');
			assert.ok((await f.append('!')) > tail);
			assert.equal((await f.get()).text, `${text}!`);
			assert.equal((await f.get({ offset: tail })).text, '!');
		}
		await refused(source, at(ZERO, 7), 400);
		await refused(source, at(second, 1), 400);
		await refused(source, { 'stream-fork-sub-offset': '1' }, 400);
	});

	it('a sub-offset counts flattened messages of a JSON stream (24 #25)', async () => {
		const source = await door.stream().create({ type: JSON_TYPE });
		await source.append('[{"a":[1,2]},"b,c",3]', { type: JSON_TYPE });
		await source.append('[4,5]', { type: JSON_TYPE });
		const f = await fork(source, at(ZERO, 2));
		assert.deepEqual((await f.get()).json(), [{ a: [1, 2] }, 'b,c']);
		await f.append('"own"', { type: JSON_TYPE });
		assert.deepEqual((await f.get()).json(), [{ a: [1, 2] }, 'b,c', 'own']);
		await refused(source, at(ZERO, 4), 400);
	});

	it('forks of forks with sub-offsets cut what was cut', async () => {
		const source = await door.stream().create({ body: 'abcdef' });
		const one = await fork(source, at(ZERO, 4));
		const two = await fork(one, at(ZERO, 2));
		assert.equal((await one.get()).text, 'abcd');
		assert.equal((await two.get()).text, 'ab');
	});

	it('chains of any depth read correctly, also after every ancestor was deleted', async () => {
		let s = await door.stream().create({ body: '0,' });
		const chain = [s];
		for (let depth = 1; depth <= 12; depth++) {
			s = await fork(s);
			await s.append(`${depth},`);
			chain.push(s);
		}
		const expected = Array.from({ length: 13 }, (_, n) => `${n},`).join('');
		assert.equal((await s.get()).text, expected);
		for (const ancestor of chain.slice(0, -1)) assert.equal((await ancestor.remove()).status, 204);
		assert.equal((await s.get()).text, expected);
		await s.append('end');
		assert.equal((await s.get()).text, `${expected}end`);
		for (const ancestor of chain.slice(0, -1)) assert.equal((await ancestor.head()).status, 410);
		assert.equal((await s.remove()).status, 204);
		for (const ancestor of chain) await ancestor.gone();
	});

	it('a soft-deleted stream answers 410 to everything, 409 to create and fork (24 #23)', ours, async () => {
		const s = await door.stream().create({ body: 'a' });
		const f = await fork(s);
		assert.equal((await s.remove()).status, 204);
		const gone = [
			await s.get(),
			await s.head(),
			await s.post('x'),
			await s.post('', { headers: CLOSE }),
			await s.remove(),
			await s.poll('-1'),
			await s.poll('now'),
			await s.get({ offset: '-1', live: 'sse' }),
			await s.post('x', { headers: producer('p', 0, 0) }),
			await s.post('', { headers: { ...producer('p', 0, 0), ...CLOSE } }),
			await s.get({ offset: 'now' }),
		];
		for (const [n, answer] of gone.entries()) assert.equal(answer.status, 410, `case ${n}`);
		assert.equal((await s.put()).status, 409);
		await refused(s, {}, 409);
		assert.equal((await f.get()).text, 'a');
		await f.remove();
		await s.gone();
		assert.equal((await s.put({ body: 'again' })).status, 201);
		assert.equal((await s.get()).text, 'again');
	});

	it(
		'refused forks of every kind leak no reference: the source is gone for good when deleted (24 #24)',
		ours,
		async () => {
			const source = await door.stream().create({ type: JSON_TYPE, body: '[1,2]' });
			const taken = await door.stream().create();
			await refused(source, {}, 409, { type: 'text/plain' });
			await refused(source, at(BEYOND), 400);
			await refused(source, at(ZERO, 3), 400);
			await refused(source, at(ZERO), 400, { body: '{' });
			assert.equal((await taken.put({ type: null, headers: forkOf(source) })).status, 409);
			assert.equal((await source.remove()).status, 204);
			assert.equal((await source.head()).status, 404, '410 would mean that a reference is left');
			assert.equal((await source.put({ type: JSON_TYPE })).status, 201);
		},
	);

	it('expiry: inherited, own TTL, own Expires-At', async () => {
		const instant = '2099-01-01T00:00:00Z';
		const plain = await door.stream().create({ body: 'a' });
		const ttl = await door.stream().create({ body: 'a', headers: { 'stream-ttl': '3600' } });
		const fixed = await door.stream().create({ body: 'a', headers: { 'stream-expires-at': instant } });
		const seen = async (source, extra) => {
			const { headers } = await (await fork(source, extra)).head();
			return [
				headers['stream-ttl'],
				headers['stream-expires-at'] && new Date(headers['stream-expires-at']).getTime(),
			];
		};
		const when = new Date(instant).getTime();
		assert.deepEqual(await seen(plain), [undefined, undefined]);
		assert.deepEqual(await seen(ttl), ['3600', undefined]);
		assert.deepEqual(await seen(fixed), [undefined, when]);
		for (const source of [plain, ttl, fixed]) {
			assert.deepEqual(await seen(source, { 'stream-ttl': '77' }), ['77', undefined]);
			assert.deepEqual(await seen(source, { 'stream-expires-at': '2098-01-01T00:00:00Z' }), [
				undefined,
				Date.UTC(2098, 0, 1),
			]);
		}
	});

	it(
		'a source that expires while forks live keeps their data, is 410, and its name is 409 (24 #22)',
		ours,
		async () => {
			const source = await door.stream().create({ body: 'kept', headers: { 'stream-ttl': '1' } });
			const f = await fork(source, { 'stream-ttl': '3600' });
			await source.gone(410);
			assert.equal((await source.get()).status, 410);
			assert.equal((await source.put()).status, 409);
			assert.equal((await f.get()).text, 'kept');
			await f.remove();
			await source.gone(404);
			assert.equal((await source.put()).status, 201);
		},
	);

	it('an expired source without forks cannot be forked: 404', async () => {
		const source = await door.stream().create({ body: 'x', headers: { 'stream-ttl': '1' } });
		await source.gone();
		await refused(source, {}, 404);
	});

	it('a fork that expires lets its soft-deleted source go', ours, async () => {
		const source = await door.stream().create({ body: 'x' });
		const f = await fork(source, { 'stream-ttl': '1' });
		await source.remove();
		await f.gone();
		await source.gone(404);
	});

	it('appends to the source never wake readers of the fork', async () => {
		const source = await door.stream().create({ body: 'a' });
		const f = await fork(source);
		const waiting = f.poll(await f.tail());
		await source.append('b');
		await source.append('', { headers: CLOSE });
		assert.equal((await waiting).status, 204);
		assert.equal((await f.head()).headers['stream-closed'], undefined);
	});

	it('deleting a fork in the middle keeps everything below it readable', async () => {
		const root = await door.stream().create({ body: 'a' });
		const middle = await fork(root, {}, { body: 'b' });
		const leaf = await fork(middle, {}, { body: 'c' });
		assert.equal((await middle.remove()).status, 204);
		assert.equal((await leaf.get()).text, 'abc');
		assert.equal((await root.remove()).status, 204);
		assert.equal((await leaf.get()).text, 'abc');
		await leaf.remove();
		await until(
			'the whole chain to go',
			async () => (await root.head()).status === 404 && (await middle.head()).status === 404,
		);
	});

	it('a source name may be given escaped like any path', ours, async () => {
		const source = await door.stream('sp').create({ body: 'x' });
		const f = await fork({ path: source.path.replace('sp-', 's%70-') });
		assert.equal((await f.get()).text, 'x');
	});
});
