// A steady load whose outcome can be judged: writers that append numbered messages with an idempotent producer each,
// over keep-alive, one-shot and HTTP/2 connections, and note what was acknowledged and what was refused.

import assert from 'node:assert/strict';
import { connect } from './http.mjs';
import { JSON_TYPE, Stream, freshName, producer } from './streams.mjs';
import { until } from './wait.mjs';

const DOORS = [
	['HTTP/1.1', {}],
	['HTTP/1.1', { keepAlive: false }],
	['h2c', {}],
];

class Writer {
	constructor(url, [via, how], retry, ca) {
		const options = { ...how, ca };
		this.client = connect(via, url, options);
		this.stream = new Stream(this.client, freshName('load'));
		Object.assign(this, { url, via, options, retry, acked: 0, trouble: [] });
	}

	reconnect(url) {
		this.client.close();
		this.client = connect(this.via, url, this.options);
		this.stream = this.stream.on(this.client);
	}

	// Until stop: one message after the other, each until it is acknowledged.
	async run() {
		while (!this.stopped) {
			try {
				const answer = await this.stream.post(String(this.acked), {
					type: JSON_TYPE,
					headers: producer('w', 0, this.acked),
				});
				if ([200, 204].includes(answer.status)) {
					this.acked++;
					continue;
				}
				this.trouble.push(
					`${this.via} ${JSON.stringify(this.options)}: ${answer.status} ${answer.text}`,
				);
			} catch (error) {
				// A request that was still in the client's queue when GOAWAY came; RFC 9113 8.7: not
				// processed, repeat it.
				if (/REFUSED_STREAM/.test(error.message)) continue;
				this.trouble.push(
					`${this.via} ${JSON.stringify(this.options)}: ${error.code ?? ''} ${error.message}`,
				);
			}
			if (!this.retry) return;
			await new Promise((done) => setTimeout(done, 5));
		}
	}
}

// retry: go on after a refusal (crash tests), otherwise the first refusal ends that writer.
export async function startLoad(url, { writers = 6, retry = false, ca } = {}) {
	const all = Array.from({ length: writers }, (_, n) => new Writer(url, DOORS[n % DOORS.length], retry, ca));
	for (const writer of all) await writer.stream.create({ type: JSON_TYPE });
	const running = all.map((writer) => writer.run());
	return {
		writers: all,
		get acked() {
			return all.reduce((sum, writer) => sum + writer.acked, 0);
		},
		get trouble() {
			return all.flatMap((writer) => writer.trouble);
		},

		// Waits until every writer has had `more` acknowledgements from now on.
		async progress(more = 20) {
			const goals = all.map((writer) => writer.acked + more);
			await until(`${more} more appends of every writer`, () => {
				if (!retry) assert.deepEqual(this.trouble, []);
				return all.every((writer, n) => writer.acked >= goals[n]);
			});
		},

		async stop() {
			all.forEach((writer) => (writer.stopped = true));
			await Promise.all(running);
		},

		// Every acknowledged message is there exactly once and in order, read from `from`.
		async verify(from = url) {
			const client = connect('HTTP/1.1', from, { ca });
			for (const writer of all) {
				const values = (await writer.stream.on(client).readAll()).values();
				const expected = Array.from({ length: values.length }, (_, n) => n);
				assert.deepEqual(values, expected, `${writer.via}: order`);
				assert.ok(
					values.length >= writer.acked && values.length <= writer.acked + 1,
					`${writer.acked} acknowledged, ${values.length} there`,
				);
			}
			client.close();
		},

		close() {
			all.forEach((writer) => writer.client.close());
		},
	};
}
