// Clients of the crash test. Each keeps a model of what it was told: an operation was acknowledged, refused, or its outcome is
// unknown (no answer, or 504). verify() compares the model with what the server has after a crash: all of it, or what is new
// since it was compared last and a few of the others, so that a round stays short however many streams there are.
//
// A request of unknown outcome may still be applied a moment later, so no actor relies on one: what is retried is retried with a
// producer triple, and a name with an unknown delete or create is not used again.

import assert from 'node:assert/strict';
import { connect } from '../lib/http.mjs';
import { SseReader, valuesOf } from '../lib/live.mjs';
import { at, parts } from '../lib/riverrun.mjs';
import { CLOSE, JSON_TYPE, Stream, forkOf, freshName, producer } from '../lib/streams.mjs';

const OCTETS = 'application/octet-stream';
const BLOCKS = 8; // of a stream of large bodies

const DOORS = [
	['HTTP/1.1', {}],
	['h2c', {}],
	['HTTP/1.1', { keepAlive: false }],
];

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

// mulberry32: small, seedable, good enough to choose what to do next.
export function random(seed) {
	let state = seed >>> 0;
	const next = () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	const pick = (list) => list[Math.floor(next() * list.length)];
	return {
		below: (n) => Math.floor(next() * n),
		pick,
		some: (list, n) => (list.length ? Array.from({ length: n }, () => pick(list)) : []),
	};
}

// world: {url} of the daemon of the moment; it changes when everything was killed.
export class Actor {
	constructor(world, dice, door) {
		Object.assign(this, { world, dice, via: DOORS[door % DOORS.length], ops: 0 });
	}

	get client() {
		if (this.at !== this.world.url) {
			this.current?.close();
			this.current = connect(this.via[0], this.world.url, this.via[1]);
			this.at = this.world.url;
		}
		return this.current;
	}

	stream(name) {
		return new Stream(this.client, name);
	}

	// The answer, or {status: 0} when the outcome is unknown. 503 and connection refusals had no effect.
	async try(work) {
		this.ops++;
		try {
			const answer = await work();
			return answer.status === 504 ? { status: 0 } : answer;
		} catch (error) {
			if (/in vain/.test(error.message)) throw error;
			await new Promise((done) => setTimeout(done, 10));
			return { status: error.code === 'ECONNREFUSED' ? 503 : 0 };
		}
	}

	// Repeats what may be repeated until the server says something definite.
	async insist(work, accepted) {
		for (;;) {
			const answer = await this.try(work);
			if (accepted.includes(answer.status)) return answer;
			assert.ok(
				[0, 503].includes(answer.status),
				`${this.constructor.name}: ${answer.status} ${answer.text}`,
			);
		}
	}

	// A stream of a new name, surely there.
	async fresh(type) {
		const name = freshName('crash');
		await this.insist(() => this.stream(name).put({ type }), [200, 201]);
		return name;
	}

	// Of a list of things past: those to be compared now.
	due(past, all) {
		const looked = (this.looked ??= new WeakSet());
		const [fresh, old] = [past.filter((each) => !looked.has(each)), past.filter((each) => looked.has(each))];
		past.forEach((each) => looked.add(each));
		return all ? past : [...fresh, ...new Set(this.dice.some(old, 2))];
	}

	values(url, name, offset) {
		const client = connect('HTTP/1.1', url);
		return new Stream(client, name)
			.readAll(offset)
			.then((all) => all.values())
			.finally(() => client.close());
	}

	// The round is over: do not wait any longer for what others do.
	interrupt() {}

	close() {
		this.current?.close();
	}
}

// Numbered batches of an idempotent producer: each once, in order, in one piece.
export class ProducerActor extends Actor {
	async setUp() {
		this.name = await this.fresh(JSON_TYPE);
		this.seq = 0;
		this.sizes = [];
		this.offsets = [];
	}

	async step() {
		const size = 1 + this.dice.below(4);
		const from = this.sizes.reduce((sum, each) => sum + each, 0);
		const body = JSON.stringify(Array.from({ length: size }, (_, n) => from + n));
		this.sizes.push(size); // from now on it may be there
		const answer = await this.insist(
			() =>
				this.stream(this.name).post(body, {
					type: JSON_TYPE,
					headers: producer('p', 0, this.seq),
				}),
			[200, 204],
		);
		this.seq++;
		if (answer.status === 200) this.offsets.push([answer.headers['stream-next-offset'], from + size]);
	}

	async verify(url) {
		const total = this.sizes.reduce((sum, each) => sum + each, 0);
		assert.deepEqual(await this.values(url, this.name), numbers(0, total));
		// An offset that was given out once means the same place for ever.
		for (const [offset, count] of this.dice.some(this.offsets, 3))
			assert.deepEqual(await this.values(url, this.name, offset), numbers(count, total), `from ${offset}`);
	}
}

// Plain appends of several lanes on one stream: acknowledged ones once and in the order of their lane, refused ones
// never.
export class PlainActor extends Actor {
	async setUp() {
		this.name = await this.fresh(JSON_TYPE);
		this.lanes = Array.from({ length: 4 }, () => ({ sent: 0, acked: [], unknown: new Set() }));
	}

	async step() {
		await Promise.all(
			this.lanes.map(async (lane, n) => {
				const id = lane.sent++;
				const { status } = await this.try(() =>
					this.stream(this.name).post(JSON.stringify({ n, id }), { type: JSON_TYPE }),
				);
				if (status === 204) lane.acked.push(id);
				else if (status === 0) lane.unknown.add(id);
				else assert.equal(status, 503);
			}),
		);
	}

	async verify(url) {
		const values = await this.values(url, this.name);
		this.lanes.forEach((lane, n) => {
			const there = values.filter((value) => value.n === n).map((value) => value.id);
			assert.equal(new Set(there).size, there.length, 'nothing twice');
			assert.deepEqual(
				there.filter((id) => !lane.unknown.has(id)),
				lane.acked,
				`lane ${n}`,
			);
		});
	}
}

// Bodies that travel as descriptors and live in segment files, and forks that inherit them. A stream that has some blocks is left
// for a new one; what is kept of the past is little, the rest is removed.
export class LargeActor extends Actor {
	async setUp() {
		this.past = [];
		await this.begin();
	}

	async begin() {
		this.name = await this.fresh(OCTETS);
		this.blocks = [];
	}

	async step() {
		const size = 140_000 + this.dice.below(this.dice.below(4) ? 20_000 : 400_000);
		const seq = this.blocks.push({ size, fill: this.dice.below(256) }) - 1;
		const answer = await this.insist(
			() =>
				this.stream(this.name).post(Buffer.alloc(size, this.blocks[seq].fill), {
					type: OCTETS,
					headers: producer('p', 0, seq),
				}),
			[200, 204],
		);
		if (answer.status === 200 && this.dice.below(4) === 0) await this.fork(answer.headers['stream-next-offset']);
		if (this.blocks.length < BLOCKS) return;
		await this.leave({ name: this.name, blocks: this.blocks });
		await this.begin();
	}

	async fork(offset) {
		const name = freshName('crash');
		const headers = forkOf(this.stream(this.name), { 'stream-fork-offset': offset });
		const made = await this.try(() => this.stream(name).put({ type: null, headers }));
		if (made.status === 201) await this.leave({ name, blocks: this.blocks.slice() });
	}

	async leave(one) {
		this.past.push(one);
		if (this.past.length <= 4) return;
		const [{ name }] = this.past.splice(this.dice.below(4), 1);
		await this.try(() => this.stream(name).remove());
	}

	async verify(url, all) {
		for (const { name, blocks } of [...this.due(this.past, all), this]) await this.compare(url, name, blocks);
	}

	async compare(url, name, blocks) {
		const client = connect('HTTP/1.1', url);
		const { body } = await new Stream(client, name).readAll();
		client.close();
		let at = 0;
		for (const { size, fill } of blocks) {
			assert.ok(body.subarray(at, at + size).equals(Buffer.alloc(size, fill)), `block at ${at}`);
			at += size;
		}
		assert.equal(body.length, at);
	}
}

// Short lives: create, append, close in one of three ways; a close that was acknowledged is for ever.
export class CloseActor extends Actor {
	async setUp() {
		this.past = [];
	}

	async step() {
		const name = await this.fresh(JSON_TYPE);
		const s = () => this.stream(name);
		const expected = [0];
		await this.insist(() => s().post('0', { type: JSON_TYPE, headers: producer('p', 0, 0) }), [200, 204]);
		if (this.dice.below(2)) {
			await this.insist(
				() => s().post('1', { type: JSON_TYPE, headers: { ...producer('p', 0, 1), ...CLOSE } }),
				[200, 204],
			);
			expected.push(1);
		} else {
			await this.insist(() => s().post('', { headers: CLOSE }), [204]);
		}
		const refused = await this.insist(() => s().post('9', { type: JSON_TYPE }), [409]);
		assert.equal(refused.headers['stream-closed'], 'true');
		this.past.push({ name, expected });
		if (this.past.length > 40) this.past.splice(this.dice.below(40), 1);
	}

	async verify(url, all) {
		const client = connect('HTTP/1.1', url);
		for (const { name, expected } of this.due(this.past, all)) {
			const all = await new Stream(client, name).readAll();
			assert.deepEqual(all.values(), expected);
			assert.ok(all.closed, name);
		}
		client.close();
	}
}

// Deleted stays deleted; a name made anew has the new content only.
export class DeleteActor extends Actor {
	async setUp() {
		this.past = [];
	}

	async step() {
		const name = freshName('crash');
		const made = await this.try(() => this.stream(name).put({ type: JSON_TYPE, body: '"old"' }));
		if (made.status !== 201) return;
		const removed = await this.try(() => this.stream(name).remove());
		if (removed.status !== 204) return;
		const again = this.dice.below(2)
			? await this.try(() => this.stream(name).put({ type: JSON_TYPE, body: '"new"' }))
			: null;
		if (again && again.status !== 201) return;
		this.past.push({ name, expected: again ? ['new'] : null });
		if (this.past.length > 40) this.past.splice(this.dice.below(40), 1);
	}

	async verify(url, all) {
		const client = connect('HTTP/1.1', url);
		for (const { name, expected } of this.due(this.past, all)) {
			const s = new Stream(client, name);
			if (expected) assert.deepEqual((await s.get()).json(), expected);
			else assert.equal((await s.head()).status, 404, name);
		}
		client.close();
	}
}

// Forks of a producer's stream at offsets it was given; the source may be deleted, the forks stay whole.
export class ForkActor extends Actor {
	constructor(world, dice, door, source) {
		super(world, dice, door);
		this.source = source;
	}

	async setUp() {
		this.past = [];
	}

	async step() {
		if (!this.source.offsets.length) return void (await this.try(() => this.stream('none').head()));
		const [offset, values] = this.dice.pick(this.source.offsets);
		const [name, source] = [freshName('crash'), this.stream(this.source.name)];
		const made = await this.try(() =>
			this.stream(name).put({
				type: null,
				headers: forkOf(source, { 'stream-fork-offset': offset }),
			}),
		);
		if (made.status !== 201) return;
		const middle = this.dice.below(3) === 0 ? freshName('crash') : null;
		if (middle) {
			const parent = { path: this.stream(name).path };
			if (
				(await this.try(() => this.stream(middle).put({ type: null, headers: forkOf(parent) })))
					.status !== 201
			)
				return;
			if ((await this.try(() => this.stream(name).remove())).status !== 204) return;
		}
		const leaf = middle ?? name;
		await this.insist(
			() => this.stream(leaf).post('"own"', { type: JSON_TYPE, headers: producer('f', 0, 0) }),
			[200, 204],
		);
		this.past.push({ leaf, values, removed: middle ? name : null });
		if (this.past.length > 40) this.past.splice(this.dice.below(40), 1);
	}

	async verify(url, all) {
		const client = connect('HTTP/1.1', url);
		for (const { leaf, values, removed } of this.due(this.past, all)) {
			const all = await new Stream(client, leaf).readAll();
			assert.deepEqual(all.values(), [...numbers(0, values), 'own']);
			if (removed) assert.equal((await new Stream(client, removed).head()).status, 410);
		}
		client.close();
	}
}

// Appends to a stream of the Loro surface and publishes snapshots of it, small ones and such as live in segment files; forks by the other door
// have what was there. Whenever a newcomer comes: one of the snapshots, at its own offset, and every append behind it.
export class SnapshotActor extends Actor {
	async setUp() {
		this.id = freshName('doc');
		this.messages = [];
		this.offsets = [0]; // before each message, and the tail
		this.snapshot = 0; // the number of messages that the newest one stands for; 0: there is none
		this.forks = [];
		await this.insist(() => this.client.request('PUT', `/ds/crash/${this.id}`), [200, 201]);
	}

	// What stands for so many messages; larger than what fits a row, now and then.
	state(count) {
		const text = `state of ${count}`;
		return Buffer.alloc(count % 4 === 1 ? 250_000 + count : text.length, text);
	}

	async step() {
		const message = Buffer.from(`${this.messages.length}:`.repeat(1 + this.dice.below(30)));
		const headers = producer('p', 0, this.messages.push(message) - 1);
		this.offsets.push(this.offsets.at(-1) + message.length);
		await this.insist(() => this.client.request('POST', `/ds/crash/${this.id}`, { headers, body: message }), [200, 204]);
		if (this.dice.below(3) === 0) await this.publish();
		if (this.dice.below(20) === 0) await this.fork();
	}

	// Nobody else publishes here, so doing it again is harmless.
	async publish() {
		const count = this.messages.length - this.dice.below(Math.min(3, this.messages.length - this.snapshot));
		const path = `/ds/crash/${this.id}/snapshot/${at(this.offsets[count])}`;
		await this.insist(() => this.client.request('PUT', path, { body: this.state(count) }), [204]);
		this.snapshot = count;
	}

	async fork() {
		const id = freshName('doc');
		const headers = { 'stream-forked-from': `/v1/stream/crash/${this.id}` };
		const made = await this.try(() => this.client.request('PUT', `/v1/stream/crash/${id}`, { headers }));
		if (made.status === 201) this.forks.push({ id, snapshot: this.snapshot, count: this.messages.length });
		if (this.forks.length > 4) this.forks.splice(this.dice.below(4), 1);
	}

	async verify(url, all) {
		await this.compare(url, this.id, this.snapshot, this.messages.length);
		for (const { id, snapshot, count } of this.due(this.forks, all)) await this.compare(url, id, snapshot, count);
	}

	async compare(url, id, snapshot, count) {
		const client = connect('HTTP/1.1', url);
		const boot = await client.request('GET', `/ds/crash/${id}/bootstrap`);
		const head = await client.request('HEAD', `/ds/crash/${id}`);
		client.close();
		const [state, ...rest] = parts(boot).map((part) => part.body);
		const offset = snapshot ? at(this.offsets[snapshot]) : undefined;
		assert.equal(boot.status, 200);
		assert.equal(boot.headers['stream-snapshot-offset'], offset ?? '-1');
		assert.equal(head.headers['stream-snapshot-offset'], offset);
		assert.equal(head.headers['stream-earliest-offset'], offset ?? at(0));
		assert.equal(boot.headers['stream-next-offset'], at(this.offsets[count]));
		assert.ok(state.equals(snapshot ? this.state(snapshot) : Buffer.alloc(0)), `${id}: the snapshot of ${snapshot}`);
		assert.deepEqual(rest.map(String), this.messages.slice(snapshot, count).map(String));
	}
}

// Follows a producer's stream live through everything: never a value twice, never one missing.
export class FollowActor extends Actor {
	constructor(world, dice, door, source) {
		super(world, dice, door);
		Object.assign(this, { source, seen: [], offset: '-1' });
	}

	async setUp() {}

	async step() {
		this.hurry = false;
		await this.try(async () => {
			const live = await this.stream(this.source.name).open({
				offset: this.offset,
				live: this.dice.below(2) ? 'sse' : 'long-poll',
			});
			if (live.headers['content-type'] !== 'text/event-stream') return this.take(live);
			const reader = new SseReader(live);
			this.reader = reader;
			let pending = [];
			for (let event, left = 5; !this.hurry && left > 0 && (event = await reader.next()) !== null;) {
				if (event.type === 'data') pending.push(...valuesOf([event]));
				if (!event.control) continue;
				this.seen.push(...pending);
				pending = [];
				this.offset = event.control.streamNextOffset;
				left--;
			}
			reader.close();
			return { status: 200 };
		});
	}

	interrupt() {
		this.hurry = true;
		this.reader?.close();
	}

	async take(live) {
		const body = await live.body();
		if (live.status === 200) this.seen.push(...JSON.parse(body.toString()));
		if ([200, 204].includes(live.status)) this.offset = live.headers['stream-next-offset'];
		return { status: live.status };
	}

	async verify(url) {
		assert.deepEqual(this.seen, numbers(0, this.seen.length), 'what was followed');
		const client = connect('HTTP/1.1', url);
		const rest = (await new Stream(client, this.source.name).readAll(this.offset)).values();
		client.close();
		const total = this.source.sizes.reduce((sum, each) => sum + each, 0);
		assert.deepEqual(rest, numbers(this.seen.length, total), 'what is left to follow');
	}
}
