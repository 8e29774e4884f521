// The load whose trace is judged: every request is announced in the trace before it is sent and acknowledged there when its
// answer has come, so a cut at any place of the trace knows what was promised by then.
//
// Names and payloads are made for open_state.c: a payload, or a snapshot, is "ID " and then one letter all along; streams of
// producers are producer-N, their producer is "p", and their records are numbered from 0 on.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { connect } from '../lib/http.mjs';
import { at } from '../lib/riverrun.mjs';
import { startSluice } from '../lib/sluice.mjs';
import { CLOSE, Stream, forkOf, producer } from '../lib/streams.mjs';
import { markBytes } from './disk.mjs';

const OCTETS = 'application/octet-stream';

export const payload = (id, length) => `${id} `.padEnd(length, 'abcdefghijklmnopqrstuvwxyz'[length % 26]);

class Lane {
	constructor(run, dice, via, n) {
		Object.assign(this, { run, dice, via, n });
	}

	stream(name) {
		return new Stream((this.client ??= connect(this.via, this.run.url)), name);
	}

	async step(mark, work) {
		this.run.note({ ...mark, k: 'sent' });
		const answer = await work();
		assert.ok([200, 201, 204].includes(answer.status), `${mark.do} ${mark.s}: ${answer.status} ${answer.text}`);
		this.run.note({ ...mark, k: 'ack' });
		return answer;
	}

	create(s, more = {}, headers = {}) {
		return this.step({ do: 'create', s, ...more }, () =>
			this.stream(s).put({ type: more.inherits === undefined ? OCTETS : null, headers }),
		);
	}

	append(s, lane, seq, length, headers = {}) {
		const id = `${lane}-${seq}`;
		const body = payload(id, length);
		const mark = { do: 'append', s, lane, record: `${id}:${body.length}:${body.at(-1)}` };
		return this.step(mark, () => this.stream(s).post(body, { type: OCTETS, headers }));
	}

	close() {
		this.client?.close();
		this.client = null;
	}
}

// Appends of an idempotent producer; every `large`-th is for a segment file.
class ProducerLane extends Lane {
	seq = 0;
	offsets = [];

	async work() {
		const s = `producer-${this.n}`;
		if (this.seq === 0) await this.create(s);
		const length = this.dice.below(8) === 0 ? 200_000 + this.dice.below(100_000) : 32 + this.dice.below(3000);
		const answer = await this.append(s, this.n, this.seq, length, producer('p', 0, this.seq));
		this.seq++;
		this.offsets.push(answer.headers['stream-next-offset']);
	}
}

// Plain appends; two lanes share a stream.
class PlainLane extends Lane {
	seq = 0;

	async work() {
		if (this.seq === 0) await this.create(`plain-${this.n}`);
		const shared = this.run.shared ?? `plain-${this.n}`;
		this.run.shared = shared;
		await this.append(shared, `plain${this.n}`, this.seq++, 32 + this.dice.below(500));
	}
}

// Short lives: created or forked, appended to, then closed, removed or left alone.
class LifeLane extends Lane {
	born = 0;

	async work() {
		const s = `life-${this.n}-${this.born++}`;
		const source = this.run.lanes[0];
		if (source.offsets.length && this.dice.below(2)) {
			const inherits = 1 + this.dice.below(source.offsets.length);
			const offset = source.offsets[inherits - 1];
			await this.create(
				s,
				{ inherits, of: 'producer-0' },
				forkOf(this.stream('producer-0'), { 'stream-fork-offset': offset }),
			);
		} else await this.create(s);
		await this.append(s, s, 0, 32 + this.dice.below(200));
		const end = this.dice.below(3);
		if (end === 0)
			await this.step({ do: 'close', s }, () => this.stream(s).post('', { type: null, headers: CLOSE }));
		if (end === 1) await this.step({ do: 'remove', s }, () => this.stream(s).remove());
	}
}

// Snapshots of a stream of the Loro surface: each makes what lies before it unreadable, and every third is for a segment file.
class SnapshotLane extends Lane {
	positions = [0]; // before each record, and the tail
	placed = 0;
	published = 0;

	async work() {
		const s = `power/snapshot-${this.n}`;
		const seq = this.positions.length - 1;
		if (seq === 0) await this.begin(s);
		const length = 32 + this.dice.below(2000);
		await this.append(s, `r${this.n}`, seq, length);
		this.positions.push(this.positions.at(-1) + length);
		if (this.dice.below(2)) await this.publish(s, seq + 1 - this.dice.below(2));
	}

	// The first one makes the bucket as well, which has a stream of its own.
	async begin(s) {
		const bucket = { do: 'create', s: '__riverrun/power' };
		this.run.bucket ??= this.step(bucket, () => this.request('PUT', 'power'));
		await this.run.bucket;
		await this.step({ do: 'create', s }, () => this.request('PUT', s));
	}

	// What stands for the first `count` records.
	async publish(s, count) {
		if (count <= this.placed) return;
		const length = this.published++ % 3 === 2 ? 200_000 + this.dice.below(100_000) : 32 + this.dice.below(3000);
		const id = `s${this.n}-${count}`;
		const body = payload(id, length);
		const mark = { do: 'snapshot', s, count, record: `${id}:${length}:${body.at(-1)}` };
		await this.step(mark, () => this.request('PUT', `${s}/snapshot/${at(this.positions[count])}`, { body }));
		this.placed = count;
	}

	request(method, path, options) {
		return this.stream('').client.request(method, `/ds/${path}`, options);
	}
}

// Runs daemons on one data directory one after the other: each begins, takes its share of the load, and ends in order or by
// SIGKILL. home: where the disk begins; the data directory below it is made by the daemon.
export async function record({ home, dice, steps, ends, shim, lie, store }) {
	const trace = `${home}.trace`;
	const run = { note: (mark) => appendFileSync(trace, markBytes(mark)), lanes: [] };
	const lane = (Kind, via, n) => run.lanes.push(new Kind(run, dice, via, n));
	lane(ProducerLane, 'HTTP/1.1', 0);
	lane(ProducerLane, 'h2c', 1);
	lane(PlainLane, 'HTTP/1.1', 0);
	lane(PlainLane, 'h2c', 1);
	lane(LifeLane, 'HTTP/1.1', 0);
	lane(LifeLane, 'h2c', 1);
	lane(SnapshotLane, 'HTTP/1.1', 0);
	lane(SnapshotLane, 'h2c', 1);
	for (const end of ends) {
		const daemon = await startSluice({
			dataDir: `${home}/deep/data`,
			env: {
				LD_PRELOAD: shim,
				SLUICE_POWER_TRACE: trace,
				SLUICE_POWER_ROOT: home,
				...(lie ? { SLUICE_POWER_LIE: lie } : {}),
			},
			config: (config) => {
				config.store = { checkpoint_bytes: '64K', segment_bytes: '1M', ...store };
				config.frontends[0].plugins.push({ plugin: 'riverrun' });
			},
		});
		run.url = daemon.url;
		await Promise.all(
			run.lanes.map(async (each) => {
				for (let n = 0; n < steps; n++) await each.work();
			}),
		);
		run.lanes.forEach((each) => each.close());
		await daemon[end]();
	}
	return trace;
}
