// SDS when the disk is full and when an allocation of a worker fails: whoever sent what could not be kept is told so by the close of his
// socket, nobody else hears of it, no process falls over, and afterwards everything goes on.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import { random } from '../crash/actors.mjs';
import { FRAME, Peer, ask, bytes, readLog, sha256, startSds, store, token } from '../lib/sds.mjs';
import { sanitized } from '../lib/sluice.mjs';
import { until, within } from '../lib/wait.mjs';
import { Faults } from './faults.mjs';

const SEED = Number(process.env.SLUICE_FAULT_SEED ?? randomInt(1 << 30));
const ROUNDS = process.env.SLUICE_TEST_SLOW ? 1000 : 40;
const NOISE = [/memory|commit failed|store_|child|link|writer|failed|log_unreadable|event|control/];
const skip = sanitized && 'the shim is preloaded before the runtime of a sanitizer';

const start = (faults, options = {}) => startSds({ dataDir: faults.dataDir, env: faults.env(), allow: NOISE, ...options });

// Whatever becomes of each of them.
async function everything(daemon, id) {
	const bearer = { authorization: `Bearer ${token(id, 'admin')}` };
	const url = `${daemon.url}/api/persistence/${id}`;
	const tries = [];
	const call = (method, path, body) => tries.push(ask(path, { method, body, headers: bearer }).then((answer) => answer.arrayBuffer()).catch(() => {}));
	const peers = [Peer.dial(daemon, id, { query: '&ack=1' }), Peer.dial(daemon, id, { scope: 'read' }), Peer.dial(daemon, id, { path: 'signal' })];
	await Promise.all(peers.map((peer) => peer.opened.catch(() => {})));
	const [a, b, c] = peers, content = bytes(2000, id.length), hash = sha256(content);
	const send = (peer, ...frame) => peer.ws.readyState === 1 && peer.send(...frame);
	send(a, FRAME.PATCH, `patch ${id}`);
	send(a, FRAME.PATCH, `patch ${id}`);
	send(a, FRAME.VALUE, hash, content);
	send(a, FRAME.CHUNK, hash, [0, 0, 0, 0, 0, 0, 0, 2], content.subarray(0, 1000));
	send(a, FRAME.CHUNK, hash, [0, 0, 0, 1, 0, 0, 0, 2], content.subarray(1000));
	send(a, FRAME.PRESENCE, '{"PeerId":"a"}');
	send(a, FRAME.PRESENCE, '{}');
	send(b, FRAME.REQ_VALUE, hash);
	send(b, 0x55, 'relayed');
	send(c, 0x55, 'signal');
	call('PUT', `${url}/snapshot?clock=3`, 'snapshot');
	call('PUT', `${url}/patches/1`, 'one');
	call('PUT', `${url}/patches/1`, 'other');
	call('PUT', `${url}/values/v`, 'value');
	await Promise.all(tries.splice(0));
	for (const path of ['snapshot', 'patches', 'values/v']) call('GET', `${url}/${path}`);
	call('GET', `${daemon.url}/api/log/${id}`);
	call('GET', `${daemon.url}/api/presence/${id}`);
	call('POST', `${daemon.url}/api/log/${id}/compact?upto=1`, 'compacted');
	call('POST', `${daemon.url}/api/token`, '{"sub":"x","scope":"read"}');
	call('DELETE', `${url}/values/v`);
	call('DELETE', `${url}/patches?before=9`);
	await Promise.all(tries);
	peers.forEach((peer) => peer.ws.terminate());
}

const presence = async (daemon, id) =>
	(await ask(`${daemon.url}/api/presence/${id}`, { headers: { authorization: `Bearer ${token(id, 'admin')}` } })).status === 200;

describe('SDS and faults', { skip, concurrency: 2 }, () => {
	it('a full disk: the sender is closed with 1011 and nobody hears of his patch; when there is room, it comes', async () => {
		const faults = new Faults();
		const daemon = await start(faults);
		const id = store();
		const reader = await Peer.open(daemon, id, { scope: 'read' });
		let a = await Peer.open(daemon, id);
		a.send(FRAME.PATCH, 'before');
		await reader.expect(FRAME.PATCH, 'before');
		faults.set('full');
		a.send(FRAME.PATCH, 'lost');
		assert.equal((await within('the close', a.closed)).code, 1011);
		const late = await Peer.open(daemon, id, { scope: 'read' });
		await late.expect(FRAME.PATCH, 'before', 'reading goes on');
		const snapshot = (method, body) => ask(`${daemon.url}/api/persistence/${id}/snapshot`, { method, body, headers: { authorization: `Bearer ${token(id)}` } });
		assert.equal((await snapshot('PUT', 'x')).status, 507);
		faults.clear();
		a = await Peer.open(daemon, id);
		a.send(FRAME.PATCH, 'after');
		for (const peer of [reader, late]) await peer.expect(FRAME.PATCH, 'after');
		assert.equal((await snapshot('PUT', 'x')).status, 204);
		assert.deepEqual((await readLog(daemon, id)).rows.map((row) => String(row.payload)), ['before', 'after']);
		await Promise.all([a, reader, late].map((peer) => peer.close()));
		await daemon.stop();
		faults.close();
	});

	it(`no memory in a worker: connections and requests end, the worker does not; seed ${SEED}`, async () => {
		const faults = new Faults();
		const dice = random(SEED);
		let daemon = await start(faults);
		faults.write('programs', 4);
		faults.write('allocations', 0);
		await everything(daemon, store('count'));
		const count = faults.read('allocations');
		assert.ok(count > 200, `${count} allocations`);
		let hits = 0;
		for (let round = 0; round < ROUNDS; round++) {
			const n = dice.below(count);
			faults.set('alloc', { program: 'frontend', skip: n, count: 1 });
			await everything(daemon, store(`n${n}`));
			hits += faults.read('hits');
			faults.clear();
			const text = daemon.text();
			assert.doesNotMatch(text, /child_exit .*signal=/, `allocation ${n}`);
			// It may leave in order; its successor finds as little memory, and is put off. Another daemon is quicker.
			if (!/child_exit/.test(text)) {
				await until(`presence, after allocation ${n}`, () => presence(daemon, store('presence')));
				continue;
			}
			daemon.killAll();
			await daemon.exited;
			daemon.cleanUp();
			daemon = await start(faults);
		}
		assert.ok(hits > 0, 'no allocation failed');
		const id = store('afterwards');
		const [a, b] = [await Peer.open(daemon, id), await Peer.open(daemon, id, { scope: 'read' })];
		a.send(FRAME.PATCH, 'p');
		await b.expect(FRAME.PATCH, 'p');
		await until('health', async () => (await ask(`${daemon.url}/healthz`)).status === 200);
		await Promise.all([a.close(), b.close()]);
		await daemon.stop();
		assert.doesNotMatch(daemon.text(), /did not finish in time/);
		faults.close();
	});
});
