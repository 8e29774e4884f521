// SDS: values by socket (kept, put together, answered), the persistence provider with the cases of its contract, over HTTP and TLS.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { SDS_RemotePersistenceProvider } from '../../clients/js/sds-remote-persistence-provider.mjs';
import { FRAME, Peer, ask, bytes, sha256, startSds, store, token } from '../lib/sds.mjs';
import { newCertificate } from '../lib/certificate.mjs';
import { until } from '../lib/wait.mjs';

const MIB = 1 << 20;
const u32 = (n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const chunks = (hash, data, unit = MIB) => {
	const total = Math.ceil(data.length / unit);
	return Array.from({ length: total }, (_, i) => Buffer.concat([hash, Buffer.from([...u32(i), ...u32(total)]), data.subarray(i * unit, (i + 1) * unit)]));
};
// How clients of today name a blob, and what their decoder makes of that name.
function fnvName(data) {
	let h = 0x811c9dc5;
	for (const byte of data) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
	return `fnv1a-${h.toString(16).padStart(8, '0')}-${data.length}`;
}
const mangle = (name) => Buffer.from(Uint8Array.from({ length: Math.floor(name.length / 2) }, (_, i) => parseInt(name.slice(2 * i, 2 * i + 2), 16)));

for (const workers of [1, 2])
	describe(`SDS values, ${workers} worker${workers > 1 ? 's' : ''}`, { concurrency: 6 }, () => {
		let daemon;
		before(async () => (daemon = await startSds({ workers })));
		after(() => daemon.stop());
		const provider = (id, options = {}) => new SDS_RemotePersistenceProvider(daemon.url, id, { Token: token(id), fetch: ask, ...options });
		const settled = async (id, query = '') => {
			const [a, b] = [await Peer.open(daemon, id, { query }), await Peer.open(daemon, id)];
			a.send(FRAME.PATCH, 'is b settled?');
			b.send(FRAME.PATCH, 'is a settled?');
			await b.expect(FRAME.PATCH, 'is b settled?');
			let frame = await a.next();
			while (frame.type !== FRAME.PATCH) frame = await a.next();
			a.taken = a.inbox.length;
			return [a, b];
		};

		it('a value is kept under its SHA-256, told to others when it is durable, and sent to him alone who asks', async () => {
			const id = store();
			const [a, b] = await settled(id, '&ack=1');
			const content = bytes(5000), hash = sha256(content);
			a.send(FRAME.VALUE, hash, content);
			await a.seek(FRAME.VALUE_ACK, hash);
			await b.expect(FRAME.VALUE, Buffer.concat([hash, content]));
			const reader = await Peer.open(daemon, id, { scope: 'read' });
			await until('the log', () => reader.inbox.length >= 2);
			reader.taken = reader.inbox.length;
			reader.send(FRAME.REQ_VALUE, hash);
			await reader.expect(FRAME.VALUE, Buffer.concat([hash, content]));
			await a.fence([b]);
			assert.equal(b.inbox.length, b.taken, 'the answer went to somebody else');
			assert.deepEqual(Buffer.from(await provider(id).loadValue(hash.toString('hex'))), content);
			const other = store();
			assert.equal(await provider(other).loadValue(hash.toString('hex')), undefined);
			const stranger = await Peer.open(daemon, other);
			stranger.send(FRAME.REQ_VALUE, hash);
			await stranger.fence([]);
			await Promise.all([a, b, reader, stranger].map((peer) => peer.close()));
		});

		it('empty values and those of exactly a mebibyte are values; larger ones are chunks, in any order, with repetitions', async () => {
			const id = store();
			const [a, b] = await settled(id, '&ack=1');
			for (const size of [0, MIB]) {
				const content = bytes(size, 3), hash = sha256(content);
				a.send(FRAME.VALUE, hash, content);
				await a.seek(FRAME.VALUE_ACK, hash);
				await b.expect(FRAME.VALUE);
				b.send(FRAME.REQ_VALUE, hash);
				assert.ok((await b.expect(FRAME.VALUE)).equals(Buffer.concat([hash, content])));
			}
			const content = bytes(2 * MIB + 12345, 5), hash = sha256(content), parts = chunks(hash, content);
			for (const i of [2, 0, 2, 1]) a.send(FRAME.CHUNK, parts[i]);
			await a.seek(FRAME.VALUE_ACK, hash);
			for (const i of [2, 0, 2, 1]) assert.ok((await b.expect(FRAME.CHUNK)).equals(parts[i]));
			b.send(FRAME.REQ_VALUE, hash);
			for (const part of parts) assert.ok((await b.expect(FRAME.CHUNK)).equals(part));
			const whole = await provider(id).loadValue(hash.toString('hex'));
			assert.ok(Buffer.from(whole).equals(content));
			await Promise.all([a.close(), b.close()]);
		});

		it('what today\'s clients call a value is understood, kept under their name, and not sent to who asks', async () => {
			const id = store();
			const [a, b] = await settled(id);
			const values = [bytes(5000, 1), bytes(131073, 2), bytes(9999, 3), bytes(10000, 4), bytes(2 * MIB, 5)];
			for (const content of values) {
				const name = fnvName(content), head = mangle(name);
				if (content.length <= MIB) {
					a.send(FRAME.VALUE, head, content);
					assert.ok((await b.expect(FRAME.VALUE)).equals(Buffer.concat([head, content])));
				} else {
					const hash = Buffer.concat([head, Buffer.alloc(32 - head.length)]);
					for (const part of chunks(hash, content)) a.send(FRAME.CHUNK, part);
					for (const part of chunks(hash, content)) assert.ok((await b.expect(FRAME.CHUNK)).equals(part));
					b.send(FRAME.REQ_VALUE, hash);
					await a.expect(FRAME.REQ_VALUE, hash);
				}
				await until(`the value ${name}`, async () => {
					const got = await provider(id).loadValue(name);
					return got && Buffer.from(got).equals(content);
				});
			}
			await Promise.all([a.close(), b.close()]);
		});

		it('content that its hash does not confirm is relayed and never served', async () => {
			const id = store();
			const [a, b] = await settled(id);
			const wrong = sha256('something else'), content = bytes(3000);
			a.send(FRAME.VALUE, wrong, content);
			await b.expect(FRAME.VALUE, Buffer.concat([wrong, content]));
			const parts = chunks(wrong, bytes(MIB + 1));
			for (const part of parts) a.send(FRAME.CHUNK, part);
			for (const part of parts) assert.ok((await b.expect(FRAME.CHUNK)).equals(part));
			b.send(FRAME.REQ_VALUE, wrong);
			await a.expect(FRAME.REQ_VALUE, wrong);
			assert.equal(await provider(id).loadValue(wrong.toString('hex')), undefined);
			// Malformed ones are ignored, without closing.
			for (const bad of [Buffer.alloc(10), Buffer.concat([wrong, Buffer.from([0, 0, 0, 0])]), Buffer.concat([wrong, Buffer.from([...u32(1), ...u32(1)])]),
				Buffer.concat([wrong, Buffer.from([...u32(0), ...u32(0)])]), Buffer.concat([wrong, Buffer.from([...u32(0), ...u32(0xffffffff), 1])])])
				a.send(FRAME.CHUNK, bad);
			a.send(FRAME.VALUE, 'short');
			a.send(FRAME.REQ_VALUE, 'short');
			let frame = await b.next();
			while (frame.type === FRAME.CHUNK) frame = await b.next(); // the one whose total is absurd is only relayed
			assert.equal(frame.type, FRAME.REQ_VALUE);
			await Promise.all([a.close(), b.close()]);
		});

		it('an upload that is given up leaves nothing behind; another total begins anew', async () => {
			const id = store();
			const [a, b] = await settled(id);
			const content = bytes(2 * MIB), hash = sha256(content), parts = chunks(hash, content);
			a.send(FRAME.CHUNK, parts[0]);
			await b.expect(FRAME.CHUNK);
			await a.close();
			b.send(FRAME.CHUNK, hash, [...u32(0), ...u32(9)], 'x');
			b.send(FRAME.CHUNK, parts[1]);
			b.send(FRAME.REQ_VALUE, hash);
			const c = await Peer.open(daemon, id, { scope: 'read' });
			await b.fence([]);
			assert.equal(await provider(id).loadValue(hash.toString('hex')), undefined);
			b.send(FRAME.CHUNK, parts[0]);
			await until('the value', () => provider(id).loadValue(hash.toString('hex')));
			await Promise.all([b.close(), c.close()]);
		});

		it('the contract of the provider: snapshots', async () => {
			const id = store();
			const a = provider(id), b = provider(id, { Replica: 'ä/2' });
			assert.equal(await a.loadSnapshot(), undefined);
			await a.saveSnapshot(bytes(10), 7);
			await b.saveSnapshot(bytes(3 * MIB, 9));
			assert.deepEqual(Buffer.from(await a.loadSnapshot()), bytes(10));
			assert.ok(Buffer.from(await b.loadSnapshot()).equals(bytes(3 * MIB, 9)));
			await a.saveSnapshot(bytes(5, 2), 3);
			assert.deepEqual(Buffer.from(await a.loadSnapshot()), bytes(5, 2));
			await a.saveSnapshot(new Uint8Array(0), -5);
			assert.equal((await a.loadSnapshot()).length, 0);
			const answer = await ask(`${daemon.url}/api/persistence/${id}/snapshot`, { headers: { authorization: `Bearer ${token(id, 'read')}` } });
			assert.deepEqual([answer.status, answer.headers.get('sds-clock')], [200, '-5']);
		});

		it('the contract of the provider: patches, their boundaries, conflicts', async () => {
			const id = store();
			const a = provider(id), b = provider(id, { Replica: 'b' });
			const texts = async (p, since) => (await p.loadPatchesSince(since)).map((patch) => Buffer.from(patch).toString());
			assert.deepEqual(await texts(a, 0), []);
			for (const clock of [3, 1, 0, 10, -2, 2, 9007199254740991]) await a.appendPatch(Buffer.from(`p${clock}`), clock);
			await b.appendPatch(Buffer.from('of b'), 1);
			assert.deepEqual(await texts(a, 0), ['p1', 'p2', 'p3', 'p10', 'p9007199254740991'], 'strictly greater');
			assert.deepEqual(await texts(a, -1), ['p0', 'p1', 'p2', 'p3', 'p10', 'p9007199254740991']);
			assert.deepEqual(await texts(a, -3), ['p-2', 'p0', 'p1', 'p2', 'p3', 'p10', 'p9007199254740991']);
			assert.deepEqual(await texts(a, 3), ['p10', 'p9007199254740991']);
			assert.deepEqual(await texts(b, 0), ['of b']);
			const put = async (clock, body) => {
				const answer = await ask(`${daemon.url}/api/persistence/${id}/patches/${clock}`, { method: 'PUT', body, headers: { authorization: `Bearer ${token(id)}` } });
				return [answer.status, answer.headers.get('sds-conflict')];
			};
			assert.deepEqual(await put(3, 'p3'), [200, null]);
			assert.deepEqual(await put(3, 'another'), [200, '1']);
			assert.deepEqual(await put(3, ''), [200, '1']);
			assert.deepEqual(await put(4, ''), [201, null]);
			assert.deepEqual(await texts(a, 2), ['p3', '', 'p10', 'p9007199254740991'], 'the first one stays');
			await a.prunePatches(3);
			assert.deepEqual(await texts(a, -9), ['p3', '', 'p10', 'p9007199254740991'], 'strictly smaller');
			assert.deepEqual(await put(2, 'again'), [201, null]);
			await a.prunePatches(9007199254740991);
			assert.deepEqual(await texts(a, -9), ['p9007199254740991']);
			assert.deepEqual(await texts(b, 0), ['of b']);
			const large = [bytes(400_000, 1), bytes(3 * MIB, 2), bytes(1, 3)];
			for (const [i, patch] of large.entries()) await b.appendPatch(patch, 100 + i);
			assert.ok((await b.loadPatchesSince(99)).every((patch, i) => Buffer.from(patch).equals(large[i])));
		});

		it('the contract of the provider: patches by the hundred come in the order of their clocks and are pruned in pages', async () => {
			const id = store();
			const a = provider(id);
			await Promise.all(Array.from({ length: 600 }, (_, i) => a.appendPatch(Buffer.from(String(i)), i + 1)));
			const all = await a.loadPatchesSince(0);
			assert.deepEqual(all.map((patch) => Buffer.from(patch).toString()), Array.from({ length: 600 }, (_, i) => String(i)));
			await a.prunePatches(590);
			assert.equal((await a.loadPatchesSince(0)).length, 11);
		});

		it('the contract of the provider: values and their references', async () => {
			const id = store();
			const a = provider(id), b = provider(id, { Replica: 'b' });
			const name = 'fnv1a-4b7da765-5000/ä %';
			assert.equal(await a.loadValue(name), undefined);
			await a.releaseValue(name);
			await a.saveValue(name, bytes(100));
			await b.saveValue(name, bytes(50));
			assert.deepEqual(Buffer.from(await b.loadValue(name)), bytes(100), 'the first content stays');
			await a.releaseValue(name);
			assert.deepEqual(Buffer.from(await a.loadValue(name)), bytes(100));
			await b.releaseValue(name);
			assert.equal(await a.loadValue(name), undefined);
			await b.releaseValue(name);
			await a.saveValue(name, bytes(MIB + 5, 2));
			assert.ok(Buffer.from(await a.loadValue(name)).equals(bytes(MIB + 5, 2)), 'after a release to nothing it may be another');
			assert.equal(await provider(store()).loadValue(name), undefined, 'values belong to one store');
			await a.saveValue('empty', new Uint8Array(0));
			assert.equal((await a.loadValue('empty')).length, 0);
		});

		it('references are counted right when many change them at once, and once for a request that is repeated', async () => {
			const id = store();
			const call = async (method, request, body) => {
				const answer = await ask(`${daemon.url}/api/persistence/${id}/values/v`, {
					method, body, headers: { authorization: `Bearer ${token(id)}`, ...(request ? { 'sds-request-id': request } : {}) },
				});
				assert.equal(answer.status, 204);
				return answer.headers.get('sds-ref-count');
			};
			await Promise.all(Array.from({ length: 12 }, () => call('PUT', undefined, 'x')));
			assert.equal(await call('PUT', undefined, 'x'), '13');
			const request = randomUUID();
			assert.deepEqual([await call('PUT', request, 'x'), await call('PUT', request, 'x'), await call('PUT', request, 'x')], ['14', '14', '14']);
			const release = randomUUID();
			await call('DELETE', release);
			await call('DELETE', release);
			assert.equal(await call('PUT', undefined, 'x'), '14');
			await Promise.all(Array.from({ length: 13 }, () => call('DELETE')));
			assert.ok(await provider(id).loadValue('v'));
			await call('DELETE');
			assert.equal(await provider(id).loadValue('v'), undefined);
		});

		it('a value that came by socket outlives the last reference; one of the provider is offered by socket only when its name is true', async () => {
			const id = store();
			const a = await Peer.open(daemon, id, { query: '&ack=1' });
			const content = bytes(2000), hash = sha256(content), hex = hash.toString('hex');
			a.send(FRAME.VALUE, hash, content);
			await a.seek(FRAME.VALUE_ACK, hash);
			await provider(id).saveValue(hex, content);
			await provider(id).releaseValue(hex);
			await provider(id).releaseValue(hex);
			assert.ok(await provider(id).loadValue(hex));
			const good = bytes(77), lie = sha256('lie');
			await provider(id).saveValue(sha256(good).toString('hex'), good);
			await provider(id).saveValue(lie.toString('hex'), good);
			const b = await Peer.open(daemon, id, { scope: 'read' });
			b.send(FRAME.REQ_VALUE, sha256(good));
			await b.expect(FRAME.VALUE, Buffer.concat([sha256(good), good]));
			b.send(FRAME.REQ_VALUE, lie);
			await a.expect(FRAME.REQ_VALUE, lie);
			await Promise.all([a.close(), b.close()]);
		});

		it('the provider\'s requests are refused in the words of the digest', async () => {
			const id = store();
			const call = async (method, path, bearer = token(id), body = undefined) => {
				const answer = await ask(`${daemon.url}/api/persistence/${id}/${path}`, { method, body, headers: bearer ? { authorization: `Bearer ${bearer}` } : {} });
				return [answer.status, answer.headers.get('content-type')?.includes('json') ? typeof (await answer.json()).error : 'none'];
			};
			const error = (status) => [status, 'string'];
			assert.deepEqual(await call('GET', 'snapshot', null), error(401));
			assert.deepEqual(await call('GET', 'snapshot', 'x'), error(401));
			assert.deepEqual(await call('GET', 'snapshot', token('another')), error(403));
			for (const [method, path] of [['PUT', 'snapshot'], ['PUT', 'patches/1'], ['DELETE', 'patches?before=1'], ['PUT', 'values/x'], ['DELETE', 'values/x']])
				assert.deepEqual(await call(method, path, token(id, 'read')), error(403));
			for (const [method, path] of [['GET', 'patches?since=x'], ['GET', 'patches?since=9007199254740992'], ['GET', 'patches?since=1.5'], ['DELETE', 'patches'],
				['DELETE', 'patches?before='], ['PUT', 'patches/x'], ['PUT', 'patches/--1'], ['PUT', 'snapshot?clock=-9007199254740992'],
				['GET', `snapshot?replica=${'x'.repeat(129)}`], ['GET', `values/${'x'.repeat(513)}`], ['GET', 'values/']])
				assert.deepEqual(await call(method, path), error(400), `${method} ${path}`);
			for (const [method, path] of [['GET', ''], ['GET', 'snapshots'], ['GET', 'patches/1'], ['PUT', 'patches'], ['GET', 'values'], ['GET', 'values/a/b'], ['GET', 'values/none'], ['GET', 'snapshot']])
				assert.deepEqual(await call(method, path), error(404), `${method} ${path}`);
			assert.deepEqual(await call('GET', `snapshot?replica=${encodeURIComponent('ä'.repeat(128))}`), error(404));
			assert.deepEqual(await call('GET', 'snapshot', token(id, 'read')), error(404));
		});
	});

describe('SDS and pages in browsers', () => {
	it('origins that are named may read answers, errors too; others may not, nor may any by default', async () => {
		const page = 'https://app.example';
		for (const [origins, origin, allowed] of [[[page], page, page], [['*'], 'http://x', 'http://x'], [[page], 'https://app.example.org', null], [undefined, page, null]]) {
			const daemon = await startSds({ options: origins ? { origins } : {} });
			const id = store(), url = `${daemon.url}/api/persistence/${id}/snapshot`;
			const call = async (method, bearer) => {
				const answer = await ask(url, { method, body: method === 'PUT' ? 'x' : undefined, headers: { origin, ...(bearer ? { authorization: `Bearer ${bearer}` } : {}) } });
				await answer.arrayBuffer();
				assert.equal(answer.headers.get('access-control-allow-origin'), allowed, `${method} ${answer.status}`);
				return answer;
			};
			const asked = await call('OPTIONS');
			assert.equal(asked.status, 204);
			assert.equal(asked.headers.get('access-control-allow-headers'), allowed && 'authorization, content-type, sds-request-id');
			assert.equal((await call('PUT', token(id))).status, 204);
			assert.equal((await call('GET', token(id))).status, 200);
			assert.equal((await call('GET')).status, 401);
			await daemon.stop();
		}
	});
});

describe('SDS over TLS', () => {
	it('sockets and provider are served by a listener with a certificate', async () => {
		const files = newCertificate();
		const daemon = await startSds({ workers: 2, listen: [{ address: '127.0.0.1:0', tls: { cert: files.cert, key: files.key } }] });
		assert.match(daemon.url, /^https:/);
		// fetch() with a certificate of our own.
		const secure = (url, { method = 'GET', headers = {}, body } = {}) => new Promise((done, fail) => {
			const request = httpsRequest(url, { method, headers, ca: files.ca, agent: false }, (answer) => {
				const parts = [];
				answer.on('data', (part) => parts.push(part)).on('error', fail).on('end', () => done({
					status: answer.statusCode, headers: new Headers(answer.headers), arrayBuffer: async () => Buffer.concat(parts),
				}));
			});
			request.on('error', fail).end(body);
		});
		const id = store();
		const a = await Peer.open(daemon, id, { ca: files.ca, query: '&ack=1' });
		const content = bytes(3 * MIB + 1), hash = sha256(content);
		a.send(FRAME.PATCH, bytes(200_000));
		await a.seek(FRAME.PATCH_ACK);
		for (const part of chunks(hash, content)) a.send(FRAME.CHUNK, part);
		await a.seek(FRAME.VALUE_ACK, hash);
		const b = await Peer.open(daemon, id, { ca: files.ca, scope: 'read' });
		assert.ok((await b.expect(FRAME.PATCH)).equals(bytes(200_000)));
		const provider = new SDS_RemotePersistenceProvider(daemon.url.replace('https', 'wss'), id, { Token: token(id), fetch: secure });
		assert.ok(Buffer.from(await provider.loadValue(hash.toString('hex'))).equals(content));
		await provider.saveSnapshot(content, 4);
		assert.ok(Buffer.from(await provider.loadSnapshot()).equals(content));
		await Promise.all([a.close(), b.close()]);
		await daemon.stop();
	});
});
