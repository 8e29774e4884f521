// What the soak has beside the actors of the crash test: streams that expire, readers that catch up, and the end of a
// round.

import assert from 'node:assert/strict';
import { Actor } from '../crash/actors.mjs';
import { connect } from '../lib/http.mjs';
import { JSON_TYPE, Stream, freshName } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

// Streams that live for a second or two after they were last used; half of them are looked at once.
export class ExpiringActor extends Actor {
	async setUp() {
		this.names = [];
	}

	async step() {
		const name = freshName('soak');
		const made = await this.try(() =>
			this.stream(name).put({
				type: JSON_TYPE,
				body: '"short"',
				headers: { 'stream-ttl': String(1 + this.dice.below(2)) },
			}),
		);
		if (made.status !== 201) return;
		if (this.dice.below(2)) await this.try(() => this.stream(name).get());
		this.names.push(name);
		if (this.names.length > 20) this.names.shift();
	}

	async verify() {
		for (const name of this.names) await this.stream(name).gone();
	}
}

// Reads a producer's stream from its beginning, or from somewhere in it.
export class CatchUpActor extends Actor {
	constructor(world, dice, door, source) {
		super(world, dice, door);
		this.source = source;
	}

	async setUp() {}

	async step() {
		const [offset, first] =
			this.source.offsets.length && this.dice.below(2)
				? this.dice.pick(this.source.offsets)
				: ['-1', 0];
		const answer = await this.try(() =>
			this.stream(this.source.name).get({ offset }, this.dice.below(2) ? { 'accept-encoding': 'identity' } : {}),
		);
		if (answer.status !== 200) return;
		const values = answer.json();
		assert.deepEqual(
			values,
			values.map((_, n) => first + n),
			'what a reader catches up on',
		);
	}

	async verify() {}
}

// Deletes what is listed until nothing is; sources of forks go with the last of these.
export async function removeAll(url) {
	const client = connect('HTTP/1.1', url);
	const list = async () => (await new Stream(client, '__ds/streams').get({ limit: '1000' })).json().streams;
	await until(
		'an empty catalogue',
		async () => {
			const streams = await list();
			for (const { name } of streams) {
				const answer = await new Stream(client, name).remove();
				assert.ok([204, 404, 410].includes(answer.status), `${answer.status} ${answer.text}`);
			}
			return streams.length === 0;
		},
		{ step: 50 },
	);
	client.close();
}
