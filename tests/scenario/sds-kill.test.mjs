// SDS: two clients that edit one Loro document over two workers, and a newcomer, have the same document in the end, although the writer,
// the worker of one of them, or the presence worker is killed with SIGKILL while they sync.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoroDoc } from 'loro-crdt';
import { FRAME, Peer, readLog, startSds, store } from '../lib/sds.mjs';
import { until } from '../lib/wait.mjs';

// As the engine does it: patches are sent when connected, otherwise queued; on a connection first the queue, then a question, and all it has
// when it is asked. It comes back for ever.
class Engine {
	constructor(daemon, id, number) {
		Object.assign(this, { daemon, id, number, document: new LoroDoc(), queue: [], edits: 0, ended: false });
		this.document.setPeerId(BigInt(number));
		this.map = this.document.getMap('entries');
		this.connect();
	}

	connect() {
		if (this.ended) return;
		const peer = (this.peer = Peer.dial(this.daemon, this.id, {
			query: '&ack=1',
			answer: (self) => setTimeout(() => self.ws.readyState === 1 && self.send(FRAME.PATCH, this.document.export({ mode: 'snapshot' })), 60),
		}));
		peer.ws.on('open', () => {
			for (const patch of this.queue.splice(0)) peer.send(FRAME.PATCH, patch);
			peer.send(FRAME.SYNC_REQ);
		});
		peer.ws.on('message', (data) => data[0] === FRAME.PATCH && data.length > 1 && this.document.import(data.subarray(1)));
		peer.ws.on('close', () => setTimeout(() => this.connect(), 50));
	}

	edit() {
		const before = this.document.version();
		this.map.set(`${this.number}-${this.edits++}`, this.edits);
		const patch = this.document.export({ mode: 'update', from: before });
		if (this.peer.ws.readyState === 1) this.peer.send(FRAME.PATCH, patch);
		else this.queue.push(patch);
	}

	size() {
		return Object.keys(this.document.toJSON().entries ?? {}).length;
	}

	end() {
		this.ended = true;
		this.peer.ws.terminate();
	}
}

describe('SDS, when processes are killed', { concurrency: 2 }, () => {
	for (const victim of ['writer', 'worker', 'presence', 'everything'])
		it(`${victim}: nothing that was told or typed is lost`, async (t) => {
			const daemon = await startSds({ workers: 2, allow: [/child_exit name=.* signal=9/] });
			const id = store();
			const engines = [1, 2].map((number) => new Engine(daemon, id, number));
			t.after(() => engines.forEach((engine) => engine.end())); // or they come back for ever after a failure
			await until('both connected', () => engines.every((engine) => engine.peer.questions > 0));
			const kill = async () => {
				const ready = (name) => Number([...daemon.text().matchAll(new RegExp(`name=${name}#\\d pid=(\\d+) from=starting to=ready`, 'g'))].at(-1)[1]);
				const presence = ready('presence'), sync = daemon.workers().filter((pid) => pid !== presence);
				// It may still be on its way back from the death before.
				await until('the first to be connected', () => engines[0].peer.ws.readyState === 1 && engines[0].peer.ws._socket?.localPort);
				const worker = () => daemon.workerOf(engines[0].peer.ws._socket) ?? sync[0];
				const pids = { writer: () => [daemon.writer()], worker: () => [worker()], presence: () => [presence], everything: () => [daemon.writer(), ...sync] }[victim]();
				for (const pid of pids) await daemon.killChild(pid);
			};
			let deaths = Promise.resolve();
			for (let i = 0; i < 120; i++) {
				engines[i % 2].edit();
				if (i === 40 || i === 80) deaths = deaths.then(kill);
				await new Promise((done) => setImmediate(done));
			}
			await deaths;
			for (const engine of engines) for (let i = 0; i < 5; i++) engine.edit();
			await until('the two agree', () => engines.every((engine) => engine.size() === 130));
			for (const engine of engines) engine.end();
			const late = new Engine(daemon, id, 3);
			engines.push(late);
			await until('the newcomer has everything', () => late.size() === 130);
			late.end();
			const { rows } = await readLog(daemon, id);
			assert.deepEqual(rows.map((row) => row.seq), rows.map((_, i) => i + 1), 'numbers without a gap');
			const alone = new LoroDoc();
			alone.importBatch(rows.map((row) => row.payload));
			assert.equal(Object.keys(alone.toJSON().entries).length, 130);
			await daemon.stop();
		});
});
