// SDS: acknowledgements, compaction by who may, the compactor, what compactions replaced, and who is slow.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { LoroDoc } from 'loro-crdt';
import { Log, compactOnce, merge } from '../../clients/js/sds-compactor.mjs';
import { FRAME, Peer, ask, bytes, readLog, startSds, store, token } from '../lib/sds.mjs';
import { sanitized } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';

const run = promisify(execFile);
const COMPACTOR = join(import.meta.dirname, '..', '..', 'clients', 'js', 'sds-compactor.mjs');
const jj = (...patches) => {
	const u32 = (n) => Buffer.from([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
	return Buffer.concat([u32(patches.length), ...patches.flatMap((patch) => [u32(patch.length), Buffer.from(patch)])]);
};
const loroOf = (peer, key, value) => {
	const document = new LoroDoc();
	document.setPeerId(BigInt(peer));
	document.getMap('m').set(key, value);
	return Buffer.from(document.export({ mode: 'update' }));
};
const loroJson = (patches) => {
	const document = new LoroDoc();
	document.importBatch(patches);
	return document.toJSON().m;
};

describe('SDS log', { concurrency: 8 }, () => {
	let daemon;
	before(async () => (daemon = await startSds({ workers: 2 })));
	after(() => daemon.stop());
	const fill = async (id, patches) => {
		const a = await Peer.open(daemon, id, { query: '&ack=1' });
		for (const patch of patches) a.send(FRAME.PATCH, patch);
		for (let i = 1; i <= patches.length; i++) await a.seek(FRAME.PATCH_ACK);
		return a;
	};
	const compact = async (id, upto, body, bearer = token(id, 'admin')) => {
		const answer = await ask(`${daemon.url}/api/log/${encodeURIComponent(id)}/compact?upto=${upto}`, { method: 'POST', body, headers: { authorization: `Bearer ${bearer}` } });
		return answer.status;
	};
	const texts = async (id, query = '') => (await readLog(daemon, id, query)).rows.map((row) => [row.seq, String(row.payload)]);
	const admin = (id) => new Log(daemon.url, id, token(id, 'admin'), ask);

	it('each patch is acknowledged with its number, in order, a repetition with the number of the original; only where asked for', async () => {
		const id = store();
		const a = await Peer.open(daemon, id, { query: '&ack=1' }), silent = await Peer.open(daemon, id);
		const ack = (seq) => Buffer.from([0, 0, 0, 0, 0, 0, 0, seq]);
		for (const patch of ['one', 'two', 'one', 'three', 'two']) a.send(FRAME.PATCH, patch);
		for (const seq of [1, 2, 1, 3, 2]) await a.seek(FRAME.PATCH_ACK, ack(seq));
		silent.send(FRAME.PATCH, 'one');
		silent.send(FRAME.PATCH, 'four');
		await until('the fourth', async () => (await readLog(daemon, id)).head === 4);
		assert.equal(await compact(id, 2, 'one and two'), 204);
		for (const patch of ['two', 'four', 'five', 'three']) a.send(FRAME.PATCH, patch);
		for (const seq of [2, 4, 5, 3]) await a.seek(FRAME.PATCH_ACK, ack(seq));
		assert.ok(silent.inbox.every((frame) => frame.type === FRAME.PATCH));
		await Promise.all([a.close(), silent.close()]);
	});

	it('a compacted row has the number of the last it stands for; newcomers and readers get it in place of the others', async () => {
		const id = store();
		const a = await fill(id, ['1', '2', '3', '4', '5']);
		assert.equal(await compact(id, 3, '1+2+3'), 204);
		assert.deepEqual(await texts(id), [[3, '1+2+3'], [4, '4'], [5, '5']]);
		assert.deepEqual(await texts(id, '?since=2'), [[3, '1+2+3'], [4, '4'], [5, '5']]);
		assert.deepEqual(await texts(id, '?since=3'), [[4, '4'], [5, '5']]);
		assert.deepEqual(await texts(id, '?limit=1'), [[3, '1+2+3']]);
		const late = await Peer.open(daemon, id, { scope: 'read' });
		for (const patch of ['1+2+3', '4', '5']) await late.expect(FRAME.PATCH, patch);
		a.send(FRAME.PATCH, '2');
		a.send(FRAME.PATCH, '6');
		await late.expect(FRAME.PATCH, '6', 'what was compacted is known still');
		assert.equal(await compact(id, 3, 'again'), 204, 'the oldest row may be replaced');
		assert.equal(await compact(id, 6, 'all'), 204);
		assert.deepEqual(await texts(id), [[6, 'all']]);
		a.send(FRAME.PATCH, '7');
		await late.expect(FRAME.PATCH, '7');
		assert.deepEqual(await texts(id), [[6, 'all'], [7, '7']]);
		await Promise.all([a.close(), late.close()]);
	});

	it('whoever answered the question and is compacted away gets what took its place', async () => {
		const id = store();
		const a = await fill(id, ['1', '2']);
		const late = Peer.dial(daemon, id, { answer: (peer) => peer.send(FRAME.PATCH, 'of late') });
		await a.expect(FRAME.PATCH, 'of late');
		assert.equal(await compact(id, 3, 'everything'), 204);
		a.send(FRAME.PATCH, 'last');
		const got = [];
		while (got.at(-1) !== 'last') got.push(String(await late.expect(FRAME.PATCH)));
		// Its join may have been over before: then it got the rows.
		assert.ok([['everything', 'last'], ['1', '2', 'last']].some((one) => String(one) === String(got)), String(got));
		await Promise.all([a.close(), late.close()]);
	});

	it('compaction is refused to who may not, beyond the log, and without a body', async () => {
		const id = store();
		const a = await fill(id, ['1', '2', '3']);
		assert.equal(await compact(id, 2, 'x', token(id, 'write')), 403);
		assert.equal(await compact(id, 2, 'x', token('another', 'admin')), 403);
		assert.equal(await compact(id, 2, 'x', 'no token'), 401);
		for (const upto of ['', '0', 'x', '-1']) assert.equal(await compact(id, upto, 'x'), 400, `upto ${upto}`);
		assert.equal(await compact(id, 2, ''), 400);
		assert.equal(await compact(id, 4, 'x'), 409);
		assert.equal(await compact(store(), 1, 'x'), 409);
		assert.equal(await compact(id, 2, 'x'), 204);
		assert.equal(await compact(id, 1, 'y'), 409);
		await a.close();
	});

	it('a compaction with megabytes goes to newcomers whole', async () => {
		const id = store();
		const a = await fill(id, ['1', '2', '3']);
		const large = bytes(2_500_000);
		assert.equal(await compact(id, 2, large), 204);
		const late = await Peer.open(daemon, id, { scope: 'read' });
		assert.ok((await late.expect(FRAME.PATCH)).equals(large));
		await late.expect(FRAME.PATCH, '3');
		assert.ok((await readLog(daemon, id)).rows[0].payload.equals(large));
		await Promise.all([a.close(), late.close()]);
	});

	it('many newcomers of a log with large rows cost one of them, not one each', async () => {
		const id = store();
		const a = await fill(id, ['1', '2', '3']);
		const large = bytes(8 << 20), next = bytes(4 << 20, 2);
		assert.equal(await compact(id, 2, large), 204);
		a.send(FRAME.PATCH, next);
		await a.seek(FRAME.PATCH_ACK);
		const memory = () => daemon.workers().reduce((sum, pid) => sum + daemon.memory(pid), 0);
		const before = memory();
		const crowd = await Promise.all(Array.from({ length: 40 }, async () => {
			const peer = await Peer.open(daemon, id, { scope: 'read' });
			peer.ws._socket.pause();
			return peer;
		}));
		const quick = [await Peer.open(daemon, id, { scope: 'read' }), await Peer.open(daemon, id, { scope: 'read' })];
		for (const peer of quick) for (const patch of [large, '3', next]) assert.ok((await peer.expect(FRAME.PATCH)).equals(Buffer.from(patch)));
		// A sanitizer keeps what was freed.
		assert.ok(sanitized || memory() - before < 160 << 20, `${(memory() - before) >> 20} MiB for 42 newcomers of 12 MiB`);
		for (const peer of crowd) {
			peer.ws._socket.resume();
			for (const patch of [large, '3', next]) assert.ok((await peer.expect(FRAME.PATCH)).equals(Buffer.from(patch)));
		}
		await Promise.all([a, ...crowd, ...quick].map((peer) => peer.close()));
	});

	it('the compactor merges patches of Loro, and can put back what a wrong compaction lost', async () => {
		const id = store();
		const patches = Array.from({ length: 40 }, (_, i) => loroOf(i + 1, `k${i}`, i));
		const a = await fill(id, patches);
		assert.equal(await compactOnce(admin(id), 'loro'), undefined, 'below the thresholds nothing happens');
		const compactor = (...args) => run(process.execPath, [COMPACTOR, '--url', daemon.url, '--store', id, '--token', token(id, 'admin'), '--format', 'loro', ...args],
			{ cwd: join(import.meta.dirname, '..') });
		const { stdout } = await compactor('--rows', '10');
		assert.match(stdout, /^compacted 40 rows of \d+ bytes up to 40 into \d+ bytes\n$/);
		const rows = (await readLog(daemon, id)).rows;
		assert.deepEqual(rows.map((row) => row.seq), [40]);
		assert.equal(Object.keys(loroJson([rows[0].payload])).length, 40);
		assert.equal(await compact(id, 40, loroOf(99, 'only', 'this')), 204);
		a.send(FRAME.PATCH, loroOf(77, 'late', 1));
		await a.seek(FRAME.PATCH_ACK);
		assert.deepEqual(Object.keys(loroJson((await readLog(daemon, id)).rows.map((row) => row.payload))).sort(), ['late', 'only']);
		const kept = await admin(id).kept();
		assert.deepEqual(kept.map((entry) => entry.head), [40, 40]);
		assert.match((await compactor('--kept')).stdout, new RegExp(`^${kept[0].name}\t40\t.*\n${kept[1].name}\t40\t.*\n$`));
		await compactor('--restore', kept[1].name);
		assert.equal(Object.keys(loroJson((await readLog(daemon, id)).rows.map((row) => row.payload))).length, 42);
		const first = await admin(id).read(kept[0].name);
		assert.equal(first.rows.length, 40, 'what the first one replaced');
		assert.equal((await ask(`${daemon.url}/api/log/${id}/kept`, { headers: { authorization: `Bearer ${token(id)}` } })).status, 403);
		await a.close();
	});

	it('patches of json-joy are put one behind the other', async () => {
		const merged = Buffer.from(await merge.jj([jj('a', 'bc'), jj(), jj('def')]));
		assert.deepEqual(merged, jj('a', 'bc', 'def'));
		for (const bad of [jj('a').subarray(0, 8), Buffer.concat([jj('a'), Buffer.from('x')])]) await assert.rejects(merge.jj([bad]));
	});

	it('who does not read gets the patches from the log when he does, and holds up nobody', async () => {
		const id = store();
		const a = await Peer.open(daemon, id), slow = await Peer.open(daemon, id, { scope: 'read' }), quick = await Peer.open(daemon, id, { scope: 'read' });
		slow.ws._socket.pause();
		const patches = Array.from({ length: 60 }, (_, i) => bytes(300_000, i));
		for (const patch of patches) a.send(FRAME.PATCH, patch);
		for (const patch of patches) assert.ok((await quick.expect(FRAME.PATCH)).equals(patch));
		slow.ws._socket.resume();
		for (const patch of patches) assert.ok((await slow.expect(FRAME.PATCH)).equals(patch));
		await Promise.all([a, slow, quick].map((peer) => peer.close()));
	});
});

describe('SDS, slow clients', () => {
	it('frames that are not stored wait within a bound, then the client is closed with 1013', async () => {
		const daemon = await startSds({ options: { send_queue: '1M' } });
		const id = store();
		const a = await Peer.open(daemon, id), slow = await Peer.open(daemon, id, { scope: 'read' });
		slow.ws._socket.pause();
		let sent = 0;
		await until('the slow one is given up', async () => {
			for (let i = 0; i < 20; i++, sent++) a.send(0x60, bytes(500_000, sent));
			const answer = await ask(`${daemon.url}/api/presence/${id}`, { headers: { authorization: `Bearer ${token(id)}` } });
			await answer.arrayBuffer();
			slow.ws._socket.resume();
			return slow.ws.readyState === 3;
		});
		assert.equal((await slow.closed).code, 1013);
		assert.equal(a.ws.readyState, 1);
		await a.close();
		await daemon.stop();
	});
});
