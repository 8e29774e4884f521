// Snapshots of the Loro Streams surface: what is published stands for what is before it, for newcomers by bootstrap, for everybody else by 410; a
// Loro document lives in a stream that way; the other door shows what is left.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { LoroDoc } from 'loro-crdt';
import { connect } from '../lib/http.mjs';
import { SseReader } from '../lib/live.mjs';
import { at, parts } from '../lib/riverrun.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';

const TEXT = { 'content-type': 'text/plain' };
const JSON_TYPE = { 'content-type': 'application/json' };
const OCTETS = 'application/octet-stream';
const GONE = 'offset is outside the readable retained range';

let daemon, serial = 0;
const fresh = () => `s${++serial}`;

const config = (settings) => {
	settings.frontends[0].plugins.push({ plugin: 'riverrun', max_snapshot: '4M' });
	settings.frontends.push({ name: 'presence', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin: 'presence' }] });
};

const digest = (type, body) => 'sha256:' + createHash('sha256').update(`${type}\0`).update(body).digest('hex');

const texts = (answer) => parts(answer).map((part) => part.body.toString());

// A CRDT stream: frames of a length and an update.
const frame = (update) => {
	const head = Buffer.alloc(4);
	head.writeUInt32BE(update.length);
	return Buffer.concat([head, update]);
};
function* frames(bytes) {
	for (let place = 0; place < bytes.length;) {
		const length = bytes.readUInt32BE(place);
		yield new Uint8Array(bytes.subarray(place + 4, place + 4 + length));
		place += 4 + length;
	}
}

describe('snapshots', () => {
	before(async () => (daemon = await startSluice({ config })));
	after(() => daemon?.stop());

	for (const via of ['HTTP/1.1', 'h2c'])
		describe(via, () => {
			let client;
			before(() => (client = connect(via, daemon.url)));
			after(() => client.close());
			const request = (method, path, headers = {}, body) => client.request(method, `/ds/${path}`, { headers, body });
			const publish = (path, offset, body, headers) => request('PUT', `${path}/snapshot/${offset}`, headers, body);

			it('one stands for what is before it: the examples of the specification', async () => {
				const id = `${fresh()}%3Ameta`, path = `team/${id}`;
				const made = await request('PUT', path);
				assert.equal(made.headers['stream-extensions'], 'snapshot, bootstrap, ephemeral, append-cas');
				await request('POST', path, {}, Buffer.from('\0\0\0\x03abc'));
				assert.equal((await request('HEAD', path)).headers['stream-snapshot-offset'], undefined);
				assert.equal((await request('GET', `${path}/snapshot`)).json().code, 'snapshot_not_found');
				const put = await publish(path, at(7), 'SNAP');
				assert.equal(put.status, 204);
				assert.equal(put.headers['stream-snapshot-offset'], at(7));
				assert.equal(put.headers['stream-next-offset'], at(7));
				assert.equal(put.headers['stream-snapshot-digest'], digest(OCTETS, 'SNAP'));
				for (const query of ['', '?offset=-1', '?offset=6', '?offset=-1&live=sse', '?offset=0&live=long-poll']) {
					const gone = await request('GET', path + query);
					assert.equal(gone.status, 410, query);
					assert.equal(gone.headers['content-type'], 'application/json');
					for (const name of ['stream-earliest-offset', 'stream-snapshot-offset', 'stream-next-offset'])
						assert.equal(gone.headers[name], at(7), name);
					assert.deepEqual(gone.json(), { error: GONE, code: 'offset_gone' });
				}
				await request('POST', path, {}, 'xy');
				assert.equal((await request('GET', `${path}?offset=7`)).text, 'xy');
				assert.equal((await request('GET', `${path}?offset=now`)).status, 200);
				const head = await request('HEAD', path);
				assert.equal(head.headers['stream-snapshot-offset'], at(7));
				assert.equal(head.headers['stream-earliest-offset'], at(7));
				assert.equal(head.headers['cache-control'], 'no-store');
				const boot = await request('GET', `${path}/bootstrap?whatever=1`);
				assert.equal(boot.status, 200);
				assert.equal(boot.headers['stream-snapshot-offset'], at(7));
				assert.equal(boot.headers['stream-next-offset'], at(9));
				assert.equal(boot.headers['stream-up-to-date'], 'true');
				assert.equal(boot.headers['cache-control'], 'no-store');
				const boundary = boot.headers['content-type'].split('=')[1];
				assert.equal(
					boot.text,
					`--${boundary}\r\nContent-Type: ${OCTETS}\r\n\r\nSNAP\r\n` +
						`--${boundary}\r\nContent-Type: ${OCTETS}\r\n\r\nxy\r\n--${boundary}--\r\n`,
				);
			});

			it('it is located, read, and replaced by a newer one only', async () => {
				const id = `${fresh()}:ü`, path = `team/${encodeURIComponent(id)}`;
				await request('PUT', path, TEXT, 'abc');
				await request('POST', path, TEXT, 'de');
				await publish(path, 3, 'three', { 'content-type': 'application/x-state; v=1' });
				const located = await client.open('GET', `/ds/${path}/snapshot`);
				await located.body();
				assert.equal(located.status, 307);
				assert.equal(located.headers.location, `/ds/team/${encodeURIComponent(id)}/snapshot/${at(3)}`);
				assert.equal(located.headers['stream-snapshot-offset'], at(3));
				assert.equal(located.headers['stream-next-offset'], at(5));
				const read = await client.request('GET', located.headers.location);
				assert.equal(read.text, 'three');
				assert.equal(read.headers['content-type'], 'application/x-state; v=1');
				assert.equal(read.headers['content-length'], '5');
				assert.equal(read.headers['stream-next-offset'], at(3));
				assert.equal(read.headers['stream-snapshot-offset'], at(3));
				assert.equal(read.headers['stream-up-to-date'], 'false');
				assert.equal(read.headers['stream-snapshot-digest'], digest('application/x-state; v=1', 'three'));
				for (const offset of ['0', at(5), '-1', 'now'])
					assert.equal((await request('GET', `${path}/snapshot/${offset}`)).json().code, 'snapshot_not_found', offset);
				assert.equal((await request('GET', `${path}/snapshot/x`)).json().code, 'invalid_offset');
				assert.equal((await request('DELETE', `${path}/snapshot/3`)).json().code, 'snapshot_in_use');
				assert.equal((await request('DELETE', `${path}/snapshot/5`)).json().code, 'snapshot_not_found');
				await publish(path, 5, '');
				const empty = await request('GET', `${path}/snapshot/5`);
				assert.equal(empty.status, 200);
				assert.equal(empty.text, '');
				assert.equal(empty.headers['stream-up-to-date'], 'true');
				assert.equal((await request('GET', `${path}/snapshot/3`)).status, 404);
				assert.deepEqual(texts(await request('GET', `${path}/bootstrap`)), ['']);
			});

			it('what is wrong with one is said in order, and changes nothing', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, TEXT, 'abc');
				await request('POST', path, TEXT, 'def');
				await publish(path, 3, 'three', TEXT);
				const cases = [
					[`${path}/snapshot/x`, 400, 'invalid_offset'],
					[`${path}/snapshot/-1`, 400, 'invalid_offset'],
					[`${path}/snapshot/now`, 400, 'invalid_offset'],
					[`${path}/snapshot/${'0'.repeat(21)}`, 400, 'invalid_offset'],
					['team/none/snapshot/x', 400, 'invalid_offset'],
					['team/none/snapshot/0', 404, 'stream_not_found'],
					['nobucket/none/snapshot/0', 404, 'bucket_not_found'],
					[`${path}/snapshot/7`, 409, 'snapshot_beyond_tail'],
					[`${path}/snapshot/99999999999999999999`, 409, 'snapshot_beyond_tail'],
					[`${path}/snapshot/2`, 410, 'offset_gone'],
					[`${path}/snapshot/4`, 400, 'invalid_offset'],
					[`${path}/snapshot/3`, 409, 'snapshot_conflict'],
				];
				for (const [target, status, code] of cases) {
					const refused = await request('PUT', target, TEXT, 'other');
					assert.equal(refused.status, status, target);
					assert.equal(refused.json().code, code, target);
					if (status !== 409 && status !== 410) continue;
					assert.equal(refused.headers['stream-next-offset'], at(6), target);
					assert.equal(refused.headers['stream-snapshot-offset'], at(3), target);
				}
				assert.equal((await publish(path, 3, 'three', JSON_TYPE)).json().code, 'snapshot_conflict', 'another type');
				assert.equal((await publish(path, 3, 'three', TEXT)).status, 204, 'the same again');
				const match = digest('text/plain', 'three');
				const other = { ...TEXT, 'stream-snapshot-match': match.replace(/.$/, (last) => (last === '0' ? '1' : '0')) };
				assert.equal((await publish(path, 6, 'six', other)).json().code, 'snapshot_conflict');
				assert.equal((await publish(path, 6, 'six', { ...TEXT, 'stream-snapshot-match': match })).status, 204);
				for (const [method, target, status, code] of [
					['POST', `${path}/snapshot`, 405, 'method_not_allowed'],
					['PUT', `${path}/bootstrap`, 405, 'method_not_allowed'],
					['PUT', `${path}/retention/3`, 404, 'not_found'],
					['GET', `${path}/snapshot/3/more`, 404, 'not_found'],
					['GET', `${path}/bootstrap?live=sse`, 400, 'live_not_allowed'],
					['GET', 'team/none/bootstrap', 404, 'stream_not_found'],
					['GET', 'team/none/snapshot', 404, 'stream_not_found'],
					['GET', `${path}/bootstrap?ephemeral=x&live=sse`, 400, 'bad_request'],
				]) {
					const refused = await request(method, target);
					assert.equal(refused.status, status, `${method} ${target}`);
					assert.equal(refused.json().code, code, `${method} ${target}`);
				}
			});

			it('a bootstrap has one part for each message, elements of JSON too', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, JSON_TYPE, '[1, "two" ,{"three":3}]');
				await request('POST', path, JSON_TYPE, '4');
				const all = await request('GET', `${path}/bootstrap`);
				assert.equal(all.headers['stream-snapshot-offset'], '-1');
				assert.deepEqual(parts(all).map((part) => part.type), [OCTETS, ...Array(4).fill('application/json')]);
				assert.deepEqual(texts(all), ['', '1', '"two"', '{"three":3}', '4']);
				assert.equal((await publish(path, 2, 'x')).json().code, 'invalid_offset', 'inside an element');
				assert.equal((await publish(path, 6, '{"state":2}', JSON_TYPE)).status, 204, 'between two of one append');
				assert.deepEqual(texts(await request('GET', `${path}/bootstrap`)), ['{"state":2}', '{"three":3}', '4']);
				assert.equal((await request('GET', `${path}?offset=1`)).status, 410);
				assert.equal((await request('GET', `${path}?offset=6`)).text, '[{"three":3},4]');
				await request('POST', path, { 'stream-closed': 'true' });
				const closed = await request('GET', `${path}/bootstrap`);
				assert.equal(closed.headers['stream-closed'], 'true');
				assert.equal(closed.headers['stream-next-offset'], at(18));
			});

			it('large ones and many messages come whole', async () => {
				const path = `team/${fresh()}`;
				const big = Buffer.alloc(3 << 20, 'abcdefg');
				await request('PUT', path, {}, 'first');
				assert.equal((await publish(path, 5, big)).status, 204);
				assert.ok((await request('GET', `${path}/snapshot/5`)).body.equals(big));
				const messages = Array.from({ length: 300 }, (_, n) => `${n}.`.repeat(1 + (n % 7) * 300));
				for (const message of messages) await request('POST', path, {}, message);
				const large = Buffer.alloc(700_000, 'z');
				await request('POST', path, {}, large);
				const found = parts(await request('GET', `${path}/bootstrap`)).map((part) => part.body);
				assert.ok(found[0].equals(big));
				assert.deepEqual(found.slice(1, 301).map(String), messages);
				assert.ok(found[301].equals(large));
				assert.equal((await publish(path, 5, Buffer.alloc((4 << 20) + 1))).status, 413);
			});

			it('a reader at the tail does not notice; one that comes back too late is sent to the snapshot', async () => {
				const path = `team/${fresh()}`;
				await request('PUT', path, TEXT, 'abc');
				const live = await client.open('GET', `/ds/${path}?offset=3&live=sse`);
				const events = new SseReader(live);
				await events.next();
				await publish(path, 3, 'state');
				await request('POST', path, TEXT, 'de');
				assert.equal((await events.next()).data, 'de');
				assert.equal(JSON.parse((await events.next()).data).streamNextOffset, at(5));
				const poll = client.open('GET', `/ds/${path}?offset=5&live=long-poll`);
				await publish(path, 5, 'later');
				await request('POST', path, TEXT, 'f');
				assert.equal((await (await poll).body()).toString(), 'f');
				assert.equal((await events.next()).data, 'f');
				live.close();
				const late = await client.open('GET', `/ds/${path}?offset=3&live=sse`);
				assert.equal(late.status, 410);
				assert.equal(late.headers['stream-snapshot-offset'], at(5));
				await late.body();
			});

			it('the other door shows what is left, and its forks keep what they had', async () => {
				const id = fresh(), path = `team/${id}`;
				const stream = `/v1/stream/team/${id}`;
				await request('PUT', path, TEXT, 'abc');
				const cut = (await client.request('HEAD', stream)).headers['stream-next-offset'];
				await request('POST', path, TEXT, 'de');
				const fork = (name, offset) =>
					client.request('PUT', `/v1/stream/team/${name}`, {
						headers: { 'stream-forked-from': stream, ...(offset ? { 'stream-fork-offset': offset } : {}) },
					});
				await fork(`${id}-early`, cut);
				await publish(path, 3, 'state');
				await fork(`${id}-late`);
				const gone = await client.request('GET', `${stream}?offset=${'0'.repeat(16)}_${'0'.repeat(16)}`);
				assert.equal(gone.status, 410);
				assert.equal(gone.headers['stream-earliest-offset'], cut);
				assert.equal((await client.request('GET', `${stream}?offset=-1`)).text, 'de', 'its beginning is what is left');
				assert.equal((await client.request('GET', `${stream}?offset=${cut}`)).text, 'de');
				assert.equal((await request('GET', `${path}-early?offset=-1`)).text, 'abc');
				assert.deepEqual(texts(await request('GET', `${path}-early/bootstrap`)), ['', 'abc']);
				await client.request('POST', `/v1/stream/team/${id}-late`, { headers: TEXT, body: 'own' });
				const boot = await request('GET', `${path}-late/bootstrap`);
				assert.equal(boot.headers['stream-snapshot-offset'], at(3));
				assert.deepEqual(texts(boot), ['state', 'de', 'own']);
				await publish(path, 5, 'later');
				await request('DELETE', path);
				assert.deepEqual(texts(await request('GET', `${path}-late/bootstrap`)), ['state', 'de', 'own']);
				await request('DELETE', `${path}-late`);
				await request('PUT', `${path}-late`, TEXT);
				assert.deepEqual(texts(await request('GET', `${path}-late/bootstrap`)), [''], 'a new stream of a name has none');
			});

			it('a Loro document is appended to, snapshotted, bootstrapped by a newcomer and equal', async () => {
				const path = `team/${fresh()}%3Adoc`;
				await request('PUT', path);
				const writers = [1n, 2n].map((peer) => {
					const doc = new LoroDoc();
					doc.setPeerId(peer);
					return { doc, seen: doc.oplogVersion(), offset: 0 };
				});
				// Local changes of one writer go up as a frame; what the others sent comes down.
				const push = async (writer) => {
					writer.doc.commit();
					const update = writer.doc.export({ mode: 'update', from: writer.seen });
					await request('POST', path, { 'content-type': OCTETS }, frame(update));
					writer.seen = writer.doc.oplogVersion();
				};
				const pull = async (writer) => {
					const answer = await request('GET', `${path}?offset=${at(writer.offset)}`);
					assert.equal(answer.status, 200);
					for (const update of frames(answer.body)) writer.doc.import(update);
					writer.offset = Number(answer.headers['stream-next-offset']);
					writer.seen = writer.doc.oplogVersion();
				};
				for (let round = 0; round < 40; round++) {
					const writer = writers[round % 2];
					writer.doc.getText('text').insert(0, `${round} `);
					writer.doc.getMap('map').set(`key${round % 5}`, round);
					await push(writer);
					await pull(writers[(round + 1) % 2]);
					if (round % 10 === 9) {
						await pull(writer);
						const state = writer.doc.export({ mode: 'snapshot' });
						assert.equal((await publish(path, at(writer.offset), Buffer.from(state))).status, 204);
					}
				}
				writers[0].doc.getText('text').insert(0, 'last ');
				await push(writers[0]);
				await pull(writers[1]);
				const boot = await request('GET', `${path}/bootstrap`);
				assert.notEqual(boot.headers['stream-snapshot-offset'], '-1');
				const [snapshot, ...rest] = parts(boot);
				const newcomer = new LoroDoc();
				newcomer.import(new Uint8Array(snapshot.body));
				for (const part of rest) for (const update of frames(part.body)) newcomer.import(update);
				assert.deepEqual(newcomer.toJSON(), writers[0].doc.toJSON());
				assert.deepEqual(writers[1].doc.toJSON(), writers[0].doc.toJSON());
				assert.equal((await request('GET', `${path}?offset=${boot.headers['stream-next-offset']}`)).text, '');
			});
		});
});

describe('snapshots and restarts', () => {
	it('a restart keeps streams and snapshots, and drops presence', async () => {
		const dataDir = temporary('sluice-snapshot');
		let daemon = await startSluice({ dataDir, config });
		const big = Buffer.alloc(1 << 20, 'xyz');
		const with_ = async (work) => {
			const client = connect('HTTP/1.1', daemon.url);
			await work((method, path, body) => client.request(method, `/ds/${path}`, { body }));
			client.close();
		};
		await with_(async (request) => {
			await request('PUT', 'team/small', 'abc');
			await request('PUT', 'team/small/snapshot/3', 'state');
			await request('POST', 'team/small', 'de');
			await request('PUT', 'team/big', 'abc');
			await request('PUT', 'team/big/snapshot/3', big);
			const update = Buffer.from('AQFrAQNUgKCr/vli', 'base64');
			assert.equal((await request('POST', 'team/small?ephemeral=c', update)).status, 204);
		});
		await daemon.stop();
		daemon = await startSluice({ dataDir, config });
		await with_(async (request) => {
			assert.deepEqual(texts(await request('GET', 'team/small/bootstrap')), ['state', 'de']);
			assert.ok((await request('GET', 'team/big/snapshot/3')).body.equals(big));
		});
		const client = connect('HTTP/1.1', daemon.url);
		const events = new SseReader(await client.open('GET', '/ds/team/small?ephemeral=c&live=sse'));
		assert.deepEqual({ ...(await events.next()) }.data, '', 'a channel that nobody has written to');
		client.close();
		await daemon.stop();
	});
});
