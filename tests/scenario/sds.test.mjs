// SDS sync by WebSocket: clients written to the wire digest, every type of frame in both directions, refusals, close codes, the log,
// newcomers when nobody else is online, one worker and two.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { FRAME, SECRET, Peer, ask, bytes, handshake, readLog, sha256, sign, startSds, store, token } from '../lib/sds.mjs';
import { runSluiced } from '../lib/sluice.mjs';
import { until, within } from '../lib/wait.mjs';

const NOW = Math.floor(Date.now() / 1000);
const MIB = 1 << 20;

async function refusal(daemon, id, text, path = 'ws') {
	const peer = Peer.dial(daemon, id, { token: text, path });
	await within('the handshake', peer.opened);
	const end = await within('the close', peer.closed);
	assert.deepEqual(peer.inbox, [], 'a frame came before the close');
	assert.equal(peer.questions, 0, 'a question came before the close');
	return end;
}

const post = async (daemon, body, authorization) => {
	const answer = await ask(`${daemon.url}/api/token`, {
		method: 'POST', body, headers: authorization === undefined ? {} : { authorization },
	});
	return { status: answer.status, ...(await answer.json()) };
};

for (const workers of [1, 2])
	describe(`SDS sync, ${workers} worker${workers > 1 ? 's' : ''}`, { concurrency: 8 }, () => {
		let daemon;
		before(async () => (daemon = await startSds({ workers })));
		after(() => daemon.stop());

		// Two that are on different workers when there are two.
		const pair = async (id, options = {}) => {
			const first = await Peer.open(daemon, id, options);
			const worker = workers === 1 ? undefined : daemon.workerOf(first.ws._socket);
			for (;;) {
				const second = await Peer.open(daemon, id, options);
				if (workers === 1 || daemon.workerOf(second.ws._socket) !== worker) return [first, second];
				await second.close();
			}
		};
		// Both have got everything that was there before them: nothing is held back any more.
		const settled = async (id) => {
			const [a, b] = await pair(id);
			a.send(FRAME.PATCH, 'is b settled?');
			b.send(FRAME.PATCH, 'is a settled?');
			await a.expect(FRAME.PATCH, 'is a settled?');
			await b.expect(FRAME.PATCH, 'is b settled?');
			return [a, b];
		};

		it('every type of frame reaches the others and not its sender, in the order of its sender', async () => {
			const id = store();
			const [a, b] = await settled(id);
			const hash = sha256('hello');
			a.send(FRAME.PATCH, 'one');
			a.send(FRAME.VALUE, hash, 'hello');
			a.send(FRAME.PATCH, 'two');
			a.send(FRAME.REQ_VALUE, sha256('unknown'));
			a.send(FRAME.CHUNK, hash, [0, 0, 0, 0, 0, 0, 0, 2], 'hel');
			a.send(FRAME.PATCH);
			a.send(FRAME.PRESENCE, '{"PeerId":"a","x":1}');
			a.send(0x41, 'of another kind');
			await b.expect(FRAME.PATCH, 'one');
			await b.expect(FRAME.VALUE, Buffer.concat([hash, Buffer.from('hello')]));
			await b.expect(FRAME.PATCH, 'two');
			await b.expect(FRAME.REQ_VALUE, sha256('unknown'));
			await b.expect(FRAME.CHUNK, Buffer.concat([hash, Buffer.from([0, 0, 0, 0, 0, 0, 0, 2]), Buffer.from('hel')]));
			await b.expect(FRAME.PATCH, '');
			const seen = [await b.next(), await b.next()].sort((x, y) => x.type - y.type);
			assert.deepEqual(seen.map((frame) => [frame.type, String(frame.payload)]), [[FRAME.PRESENCE, '{"PeerId":"a","x":1}'], [0x41, 'of another kind']]);
			b.send(FRAME.PATCH, 'back');
			await a.expect(FRAME.PATCH, 'back');
			assert.equal(a.inbox.length, a.taken, 'a sender got what it had sent');
			await Promise.all([a.close(), b.close()]);
		});

		it('text, empty messages and further questions for everything disturb nobody; unknown types pass', async () => {
			const id = store();
			const [a, b] = await pair(id);
			a.ws.send('text');
			a.ws.send(Buffer.alloc(0));
			a.send(FRAME.SYNC_REQ, 'cursor');
			a.send(0x00, 'zero');
			a.send(0xff, 'last');
			await b.expect(0x00, 'zero');
			await b.expect(0xff, 'last');
			assert.equal(a.ws.readyState, WebSocket.OPEN);
			await Promise.all([a.close(), b.close()]);
		});

		it('a large frame crosses whole, as does one that comes in fragments', async () => {
			const id = store();
			const [a, b] = await settled(id);
			const large = bytes(3 * MIB + 17);
			a.send(FRAME.PATCH, large);
			a.send(0x42, large);
			a.ws.send(Buffer.from([FRAME.PATCH, 1, 2]), { fin: false });
			a.ws.send(Buffer.from([3, 4]), { fin: true });
			assert.deepEqual((await b.expect(FRAME.PATCH)).equals(large), true);
			assert.deepEqual((await b.expect(0x42)).equals(large), true);
			await b.expect(FRAME.PATCH, [1, 2, 3, 4]);
			await Promise.all([a.close(), b.close()]);
		});

		it('who may only read hears everything and changes nothing', async () => {
			const id = store();
			const [a, b] = await pair(id);
			const reader = await Peer.open(daemon, id, { scope: 'read' });
			a.send(FRAME.PATCH, 'of a writer');
			await reader.expect(FRAME.PATCH, 'of a writer');
			await b.expect(FRAME.PATCH, 'of a writer');
			reader.send(FRAME.PATCH, 'no');
			reader.send(FRAME.VALUE, sha256('no'), 'no');
			reader.send(FRAME.CHUNK, sha256('no'), [0, 0, 0, 0, 0, 0, 0, 1], 'no');
			reader.send(FRAME.SYNC_REQ);
			reader.send(FRAME.REQ_VALUE, sha256('what'));
			reader.send(FRAME.PRESENCE, '{"PeerId":"reader"}');
			const got = [await b.next(), await b.next()].map((frame) => frame.type).sort();
			assert.deepEqual(got, [FRAME.REQ_VALUE, FRAME.PRESENCE]);
			await reader.fence([b]);
			assert.deepEqual((await readLog(daemon, id)).rows.map((row) => String(row.payload)), ['of a writer']);
			const admin = await Peer.open(daemon, id, { scope: 'admin' });
			admin.send(FRAME.PATCH, 'of an admin');
			await b.expect(FRAME.PATCH, 'of an admin');
			await Promise.all([a.close(), b.close(), reader.close(), admin.close()]);
		});

		it('stores do not hear of each other, whatever their names are', async () => {
			const names = [store(), 'a/b', 'a%2Fb', 'signal:x', 'x', 'ä ö', 'A', 'a'].map((name) => (name.startsWith('store') ? name : `${name} ${workers}`));
			const pairs = await Promise.all(names.map((name) => settled(name)));
			pairs.forEach(([a], i) => a.send(FRAME.PATCH, `of ${i}`));
			pairs.forEach(([a], i) => a.send(0x43, `too ${i}`));
			for (const [i, [, b]] of pairs.entries()) {
				await b.expect(FRAME.PATCH, `of ${i}`);
				await b.expect(0x43, `too ${i}`);
				assert.equal(b.inbox.length, b.taken);
			}
			await Promise.all(pairs.flat().map((peer) => peer.close()));
		});

		it('signalling keeps text text and bytes bytes, hears every scope, and is no store', async () => {
			const id = store();
			const options = { path: 'signal', scope: 'read' };
			const [a, b] = await pair(id, options);
			const peer = await Peer.open(daemon, id);
			// There is no question that says when the other one is known to every worker.
			await until('the first message', () => {
				a.ws.send('are you there?');
				return b.inbox.length > 0;
			});
			a.ws.send('{"type":"hello","from":"a"}');
			a.ws.send(Buffer.from([1, 2, 3]));
			a.ws.send('');
			await until('the rest', () => b.inbox.some((frame) => frame.text === ''));
			const rest = b.inbox.filter((frame) => frame.text !== 'are you there?');
			assert.deepEqual(rest, [
				{ text: '{"type":"hello","from":"a"}', binary: false },
				{ type: 1, payload: Buffer.from([2, 3]), binary: true },
				{ text: '', binary: false },
			]);
			assert.deepEqual([a.inbox, peer.inbox], [[], []]);
			await Promise.all([a.close(), b.close(), peer.close()]);
		});

		it('a newcomer gets everything although nobody is there, once, in order, and then what is new', async () => {
			const id = store();
			const a = await Peer.open(daemon, id);
			const patches = Array.from({ length: 300 }, (_, i) => `patch ${i}`);
			patches.forEach((patch) => a.send(FRAME.PATCH, patch));
			a.send(FRAME.PATCH, 'patch 7');
			await until('the log', async () => (await readLog(daemon, id)).head === 300);
			await a.close();
			for (const scope of ['read', 'write']) {
				const late = await Peer.open(daemon, id, { scope });
				for (const patch of patches) await late.expect(FRAME.PATCH, patch);
				const writer = await Peer.open(daemon, id);
				const fresh = `then ${scope}`;
				patches.push(fresh);
				writer.send(FRAME.PATCH, fresh);
				await late.expect(FRAME.PATCH, fresh);
				await Promise.all([late.close(), writer.close()]);
			}
			assert.deepEqual((await readLog(daemon, id)).rows.map((row) => String(row.payload)), patches);
		});

		it('a newcomer is asked before it is told; its answer is stored, told to others, and not to itself', async () => {
			const id = store();
			const a = await Peer.open(daemon, id);
			a.send(FRAME.PATCH, 'of a');
			await until('the log', async () => (await readLog(daemon, id)).head === 1);
			const late = Peer.dial(daemon, id, { answer: (peer) => setTimeout(() => peer.send(FRAME.PATCH, 'all that late has'), 60) });
			await late.expect(FRAME.PATCH, 'of a');
			await a.expect(FRAME.PATCH, 'all that late has');
			a.send(FRAME.PATCH, 'more');
			await late.expect(FRAME.PATCH, 'more');
			assert.deepEqual((await readLog(daemon, id)).rows.map((row) => String(row.payload)), ['of a', 'all that late has', 'more']);
			await Promise.all([a.close(), late.close()]);
		});

		it('what is in the log already is neither stored nor told again', async () => {
			const id = store();
			const [a, b] = await pair(id);
			a.send(FRAME.PATCH, 'same');
			await b.expect(FRAME.PATCH, 'same');
			b.send(FRAME.PATCH, 'same');
			a.send(FRAME.PATCH, 'same');
			a.send(FRAME.PATCH, 'other');
			await b.expect(FRAME.PATCH, 'other');
			b.send(FRAME.PATCH, 'last');
			await a.expect(FRAME.PATCH, 'last');
			assert.deepEqual((await readLog(daemon, id)).rows.map((row) => [row.seq, String(row.payload)]), [[1, 'same'], [2, 'other'], [3, 'last']]);
			await Promise.all([a.close(), b.close()]);
		});

		it('who asks again is told everything again', async () => {
			const id = store();
			const [a, b] = await pair(id);
			a.send(FRAME.PATCH, 'one');
			b.send(FRAME.PATCH, 'two');
			await a.expect(FRAME.PATCH, 'two');
			await b.expect(FRAME.PATCH, 'one');
			a.send(FRAME.SYNC_REQ, 'cursor');
			a.send(FRAME.SYNC_REQ, 'cursor');
			a.send(FRAME.SYNC_REQ, 'cursor');
			const again = [await a.expect(FRAME.PATCH), await a.expect(FRAME.PATCH)].map(String);
			assert.deepEqual(again, (await readLog(daemon, id)).rows.map((row) => String(row.payload)));
			await a.fence([b]);
			assert.equal(b.inbox.length, b.taken);
			await Promise.all([a.close(), b.close()]);
		});

		it('the log can be read by HTTP and as a durable stream', async () => {
			const id = 'log/of %' + workers;
			const a = await Peer.open(daemon, id);
			for (const patch of ['a', 'bb', 'ccc', 'dddd']) a.send(FRAME.PATCH, patch);
			await until('the log', async () => (await readLog(daemon, id)).head === 4);
			const after1 = await readLog(daemon, id, '?since=1&limit=2');
			assert.deepEqual([after1.head, after1.rows.map((row) => [row.seq, String(row.payload)])], [4, [[2, 'bb'], [3, 'ccc']]]);
			assert.deepEqual((await readLog(daemon, id, '?since=4')).rows, []);
			assert.deepEqual(await readLog(daemon, store('none'), '', token('x')), { status: 403, error: 'the token is for another store' });
			assert.equal((await readLog(daemon, id, '?since=x')).status, 400);
			const none = store('none');
			assert.deepEqual(await readLog(daemon, none), { status: 200, head: 0, rows: [] });
			const name = `__sds/${id.replace(/[%/]/g, encodeURIComponent)}`;
			const stream = await ask(`${daemon.url}/v1/stream/${name.split('/').map(encodeURIComponent).join('/')}?offset=-1`);
			assert.equal(await stream.text(), 'abbcccdddd');
			const refused = await ask(`${daemon.url}/v1/stream/${name.split('/').map(encodeURIComponent).join('/')}`,
				{ method: 'POST', body: 'x', headers: { 'content-type': 'application/octet-stream' } });
			assert.equal(refused.status, 403);
			await a.close();
		});

		it('presence: kept for newcomers, named where the client named nobody, gone with its connection', async () => {
			const id = store();
			const [a, b] = await pair(id);
			const peers = async () => {
				const answer = await ask(`${daemon.url}/api/presence/${id}`, { headers: { authorization: `Bearer ${token(id, 'read')}` } });
				assert.equal(answer.status, 200);
				return (await answer.json()).peers;
			};
			a.send(FRAME.PRESENCE, '{"PeerId":"a","UserFocus":{"EntryId":"x","Cursor":{"from":3,"to":12345678901234567890}}}');
			await b.expect(FRAME.PRESENCE, '{"PeerId":"a","UserFocus":{"EntryId":"x","Cursor":{"from":3,"to":12345678901234567890}}}');
			a.send(FRAME.PRESENCE, '{"UserName":"Å","PeerId":7}');
			const named = JSON.parse(await b.expect(FRAME.PRESENCE));
			assert.equal(named.UserName, 'Å');
			assert.match(named.PeerId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
			a.send(FRAME.PRESENCE, '{}');
			assert.deepEqual(JSON.parse(await b.expect(FRAME.PRESENCE)), { PeerId: named.PeerId });
			for (const bad of ['', 'x', '[]', '"text"', '{"a":', '{"a":1} x', Buffer.from([0x7b, 0xff, 0x7d])]) a.send(FRAME.PRESENCE, bad);
			await a.fence([b]);
			const late = Peer.dial(daemon, id, { scope: 'read' });
			const first = [await late.expect(FRAME.PRESENCE), await late.expect(FRAME.PRESENCE)].map((text) => JSON.parse(text).PeerId);
			assert.deepEqual(first.sort(), ['a', named.PeerId].sort());
			const before = await peers();
			assert.deepEqual(before.map((state) => state.PeerId).sort(), ['a', named.PeerId].sort());
			assert.ok(before.every((state) => Math.abs(state.lastSeen - Date.now()) < 3_600_000));
			await a.close();
			await until('the departure', async () => (await peers()).length === 0);
			const last = Peer.dial(daemon, id, { scope: 'read' });
			b.send(FRAME.PATCH, 'fence');
			await last.expect(FRAME.PATCH, 'fence', 'no state of somebody who left');
			await Promise.all([b.close(), late.close(), last.close()]);
		});

		it('at most 16 states of a connection are kept, all of them are relayed', async () => {
			const id = store();
			const [a, b] = await pair(id);
			const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
			for (const name of names) a.send(FRAME.PRESENCE, JSON.stringify({ PeerId: name }));
			a.send(FRAME.PRESENCE, JSON.stringify({ PeerId: 'large', custom: 'x'.repeat(100_000) }));
			const seen = [];
			while (seen.length < 21) seen.push(JSON.parse(await b.expect(FRAME.PRESENCE)).PeerId);
			assert.deepEqual(seen.sort(), [...names, 'large'].sort());
			const answer = await ask(`${daemon.url}/api/presence/${id}`, { headers: { authorization: `Bearer ${token(id)}` } });
			assert.equal((await answer.json()).peers.length, 16);
			await Promise.all([a.close(), b.close()]);
		});
	});

describe('SDS tokens', { concurrency: 4 }, () => {
	let daemon;
	before(async () => (daemon = await startSds({ options: { secrets: [SECRET, 'another secret, another secret, an'], issuer: 'us' } })));
	after(() => daemon.stop());
	const good = (more = {}) => ({ sub: 'u', aud: 'demo', scope: 'write', iss: 'us', ...more });

	it('sockets with a bad token are opened and closed with 4001, with that of another store with 4003', async () => {
		const bad = {
			'missing': '',
			'no token': 'abc',
			'three dots': 'a.b.c',
			'alg none': `${sign(good(), { header: { alg: 'none' } }).split('.').slice(0, 2).join('.')}.`,
			'HS512': sign(good(), { header: { alg: 'HS512' }, hash: 'sha512' }),
			'HS384': sign(good(), { header: { alg: 'HS384' }, hash: 'sha384' }),
			'crit': sign(good(), { header: { alg: 'HS256', crit: ['x'] } }),
			'another secret': sign(good(), { secret: 'z'.repeat(32) }),
			'not an object': sign('[]'),
			'no sub': sign({ ...good(), sub: undefined }),
			'sub no string': sign(good({ sub: 1 })),
			'no aud': sign({ ...good(), aud: undefined }),
			'aud a list': sign(good({ aud: ['demo'] })),
			'no scope': sign({ ...good(), scope: undefined }),
			'scope unknown': sign(good({ scope: 'owner' })),
			'expired': sign(good({ exp: NOW - 1 })),
			'exp no number': sign(good({ exp: 'later' })),
			'too early': sign(good({ nbf: NOW + 3600 })),
			'nbf no number': sign(good({ nbf: {} })),
			'iat no number': sign(good({ iat: 'x' })),
			'other issuer': sign(good({ iss: 'them' })),
			'no issuer': sign({ ...good(), iss: undefined }),
			'bad and foreign': sign(good({ aud: 'other', exp: 1 })),
		};
		for (const [name, text] of Object.entries(bad))
			for (const path of ['ws', 'signal'])
				assert.deepEqual(await refusal(daemon, 'demo', text, path), { code: 4001, reason: 'Unauthorized' }, name);
		for (const path of ['ws', 'signal'])
			for (const aud of ['Demo', 'demo ', ''])
				assert.deepEqual(await refusal(daemon, 'demo', sign(good({ aud })), path), { code: 4003, reason: 'Forbidden' });
	});

	it('every secret is good, new tokens are signed with the first; whole seconds, no tolerance', async () => {
		for (const text of [sign(good()), sign(good(), { secret: 'another secret, another secret, an' }), sign(good({ exp: NOW + 3600, nbf: NOW - 1, iat: NOW + 3600 }))]) {
			const peer = await Peer.open(daemon, 'demo', { token: text });
			await peer.close();
		}
	});

	it('paths that are no socket are 404', async () => {
		for (const path of ['/ws/', '/ws', '/ws/a/b', '/signal/a/b', '/nothing', '/ws/%00', '/ws/%ff', '/ws/a%0ab', `/ws/${'x'.repeat(257)}`])
			assert.match(await handshake(daemon, `${path}?token=${sign(good())}`), /^HTTP\/1\.1 40[04] /, path);
		assert.equal((await ask(`${daemon.url}/ws/demo`)).status, 404);
		const head = await handshake(daemon, `/ws/demo?token=x`, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
		assert.match(head, /^HTTP\/1\.1 101 /);
		assert.doesNotMatch(head, /extensions/i);
	});

	it('POST /api/token answers each question in the order of the original', async () => {
		const admin = sign(good({ scope: 'admin' }));
		const bearer = `Bearer ${admin}`;
		assert.deepEqual(await post(daemon, '{}'), { status: 401, error: 'missing token' });
		assert.deepEqual(await post(daemon, '{}', 'Basic x'), { status: 401, error: 'missing token' });
		assert.deepEqual(await post(daemon, '{}', 'Bearer x'), { status: 401, error: 'invalid token' });
		assert.deepEqual(await post(daemon, 'no', `Bearer ${sign(good())}`), { status: 403, error: 'admin scope required' });
		for (const body of ['no', '', '{'])
			assert.deepEqual(await post(daemon, body, bearer), { status: 400, error: 'invalid JSON body' });
		for (const body of ['{}', '[]', '{"sub":"u"}', '{"sub":1,"scope":"read"}', '{"sub":"u","scope":2}'])
			assert.deepEqual(await post(daemon, body, bearer), { status: 400, error: 'sub and scope required' });
		assert.deepEqual(await post(daemon, '{"sub":"u","scope":"root"}', bearer), { status: 400, error: 'scope is read, write or admin' });
		for (const [exp, seconds] of [[undefined, 86400], ['90s', 90], ['5m', 300], ['2h', 7200], ['3d', 259200], ['1w', 86400], [60, 86400], ['s', 86400], ['1hh', 86400]]) {
			const answer = await post(daemon, JSON.stringify({ sub: 'ü', scope: 'read', aud: 'evil', exp }), bearer);
			assert.equal(answer.status, 200);
			const [head, claims] = answer.token.split('.').slice(0, 2).map((text) => JSON.parse(Buffer.from(text, 'base64url')));
			assert.deepEqual(head, { alg: 'HS256', typ: 'JWT' });
			assert.deepEqual({ ...claims, iat: 0, exp: 0 }, { sub: 'ü', scope: 'read', aud: 'demo', iss: 'us', iat: 0, exp: 0 });
			assert.equal(claims.exp - claims.iat, seconds, String(exp));
			assert.equal(answer.token, sign(claims), 'signed with the first secret');
		}
		const { token: made } = await post(daemon, '{"sub":"x","scope":"write"}', bearer);
		await (await Peer.open(daemon, 'demo', { token: made })).close();
	});

	it('the digest\'s own token is good where no issuer is asked for', async () => {
		const other = await startSds();
		const text = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsImF1ZCI6ImRlbW8iLCJzY29wZSI6InJlYWQiLCJpYXQiOjE3MDAwMDAwMDB9.98GrY2qmypNpU2y3WcvE8c93gz07NI9P-72J6-PHAJM';
		const peer = await Peer.open(other, 'demo', { token: text, scope: 'read' });
		await peer.close();
		await other.stop();
	});
});

describe('SDS as a service', { concurrency: 3 }, () => {
	it('secrets are needed and have a length', async () => {
		for (const secrets of [[], ['short'], ['x'.repeat(1025)]])
			await assert.rejects(startSds({ options: { secrets } }), /secret/);
	});

	it('/healthz tells whether the writer answers', async () => {
		const daemon = await startSds();
		const status = async () => (await ask(`${daemon.url}/healthz`)).status;
		assert.deepEqual(await (await ask(`${daemon.url}/healthz`)).json(), { status: 'ok' });
		const writer = daemon.writer();
		process.kill(writer, 'SIGSTOP');
		assert.equal(await status(), 503);
		process.kill(writer, 'SIGCONT');
		await until('health', async () => (await status()) === 200);
		await daemon.stop();
	});

	it('next to the console it leaves /healthz to that', async () => {
		const daemon = await startSds({ config: (all) => all.frontends[0].plugins.push({ plugin: 'console' }) });
		// It is ok once it knows of the whole server.
		await until('health', async () => {
			const answer = await ask(`${daemon.url}/healthz`);
			return (await answer.json()).status === 'ok' && answer.status === 200;
		});
		const a = await Peer.open(daemon, 'console'), b = await Peer.open(daemon, 'console');
		a.send(FRAME.PATCH, 'p');
		await b.expect(FRAME.PATCH, 'p');
		const metrics = await (await ask(`${daemon.url}/metrics`)).text();
		assert.match(metrics, /sds.*log_rows/);
		assert.doesNotMatch(metrics, /store="/);
		await Promise.all([a.close(), b.close()]);
		await daemon.stop();
	});

	it('a frame above the limit closes with 1009, the end of the server with 1001', async () => {
		const daemon = await startSds({ options: { max_message: '64K' } });
		const a = await Peer.open(daemon, 'limits');
		a.send(FRAME.PATCH, bytes(65 * 1024));
		assert.equal((await within('the close', a.closed)).code, 1009);
		const b = await Peer.open(daemon, 'limits');
		const stopped = daemon.stop();
		assert.equal((await within('the close', b.closed)).code, 1001);
		await stopped;
	});

	it('a store has room for so many connections; one more is closed with 1013', async () => {
		const daemon = await startSds({ options: { store_connections: 2 } });
		const peers = [await Peer.open(daemon, 'full'), await Peer.open(daemon, 'full')];
		const third = Peer.dial(daemon, 'full');
		assert.equal((await within('the close', third.closed)).code, 1013);
		await peers.pop().close();
		await (await Peer.open(daemon, 'full')).close();
		await peers.pop().close();
		await daemon.stop();
	});

	it('a mere relay forwards everything to everybody else, presence and questions as they are, and keeps nothing', async () => {
		const daemon = await startSds({ options: { storage: false } });
		const open = (options) => Peer.open(daemon, 'relay', { relay: true, answer: null, ...options });
		const a = await open(), b = await open();
		const raw = (peer, type) => until(`a frame of type ${type}`, () => peer.inbox.find((frame) => frame.type === type));
		a.send(FRAME.PATCH, 'p');
		a.send(FRAME.PRESENCE, 'no JSON');
		a.send(FRAME.SYNC_REQ, 'cursor');
		await raw(b, FRAME.SYNC_REQ);
		assert.deepEqual(b.inbox.map((frame) => [frame.type, String(frame.payload)]), [[1, 'p'], [4, 'no JSON'], [6, 'cursor']]);
		const late = await open();
		a.send(0x50, 'x');
		await raw(late, 0x50);
		assert.equal(late.inbox.length, 1);
		assert.equal(late.questions, 0);
		assert.equal((await readLog(daemon, 'relay')).status, 404);
		await Promise.all([a, b, late].map((peer) => peer.close()));
		await daemon.stop();
	});

	it('without a presence worker a store works as one worker sees it', async () => {
		const daemon = await startSds({ presence: false });
		const a = await Peer.open(daemon, 'alone'), b = await Peer.open(daemon, 'alone');
		a.send(FRAME.PATCH, 'p');
		await b.expect(FRAME.PATCH, 'p');
		a.send(FRAME.PRESENCE, '{"PeerId":"a"}');
		a.send(0x50, 'x');
		await b.expect(FRAME.PRESENCE, '{"PeerId":"a"}');
		await b.expect(0x50, 'x');
		const answer = await ask(`${daemon.url}/api/presence/alone`, { headers: { authorization: `Bearer ${token('alone')}` } });
		assert.deepEqual((await answer.json()).peers.map((state) => state.PeerId), ['a']);
		await Promise.all([a.close(), b.close()]);
		await daemon.stop();
	});

	it('what was told to others is there after everything was killed', async () => {
		const daemon = await startSds({ workers: 2, allow: [/child_exit name=.* signal=9/] });
		const a = await Peer.open(daemon, 'kept'), b = await Peer.open(daemon, 'kept', { scope: 'read' });
		const told = [];
		for (let i = 0; i < 50; i++) a.send(FRAME.PATCH, `p${i}`);
		while (told.length < 25) told.push(String(await b.expect(FRAME.PATCH)));
		await daemon.killChild(daemon.writer());
		for (let i = 50; i < 60; i++) a.send(FRAME.PATCH, `p${i}`);
		while (told.length < 60) told.push(String(await b.expect(FRAME.PATCH)));
		assert.deepEqual(told, Array.from({ length: 60 }, (_, i) => `p${i}`));
		for (const pid of daemon.workers()) await daemon.killChild(pid);
		const late = await Peer.open(daemon, 'kept');
		for (const patch of told) await late.expect(FRAME.PATCH, patch);
		await late.close();
		await daemon.stop();
	});
});
