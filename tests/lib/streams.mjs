// What the protocol tests share: one server per file, every test once over each HTTP version, and streams with fresh
// names.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { connect } from './http.mjs';
import { SseReader } from './live.mjs';
import { onReference, startServer } from './server.mjs';
import { until } from './wait.mjs';

export const ROOT = '/v1/stream/';
export const ZERO = '0000000000000000_0000000000000000';
export const BEYOND = '9999999999999999_9999999999999999';
export const JSON_TYPE = 'application/json';

// ours: the reference is known to fail it (section 24 of the protocol digest), so it runs on sluice only.
export const ours = { skip: onReference && 'the reference does otherwise' };

export const oursIf = (condition) => (condition ? ours : {});

export const freshName = (hint = 's') => `${hint}-${randomBytes(6).toString('hex')}`;

const query = (params) => {
	if (!params) return '';
	const text = typeof params === 'string' ? params : new URLSearchParams(params).toString();
	return text === '' ? '' : `?${text}`;
};

export class Stream {
	constructor(client, name) {
		Object.assign(this, { client, name, path: ROOT + name });
	}

	on(client) {
		return new Stream(client, this.name);
	}

	send(method, { query: params, ...options } = {}) {
		return this.client.request(method, this.path + query(params), options);
	}

	// type null = no Content-Type header
	put({ type = 'text/plain', headers, body } = {}) {
		return this.send('PUT', {
			headers: { ...(type === null ? {} : { 'content-type': type }), ...headers },
			body,
		});
	}

	post(body, { type = 'text/plain', headers } = {}) {
		return this.send('POST', {
			headers: { ...(type === null ? {} : { 'content-type': type }), ...headers },
			body,
		});
	}

	get(params, headers) {
		return this.send('GET', { query: params, headers });
	}

	head() {
		return this.send('HEAD');
	}

	remove() {
		return this.send('DELETE');
	}

	poll(offset, params) {
		return this.get({ offset, live: 'long-poll', ...params });
	}

	open(params, headers) {
		return this.client.open('GET', this.path + query(params), { headers });
	}

	async sse(offset, params, headers) {
		const live = await this.open({ offset, live: 'sse', ...params }, headers);
		assert.equal(live.status, 200, 'SSE status');
		return new SseReader(live);
	}

	// The same with what must succeed asserted.
	async create(options) {
		const answer = await this.put(options);
		assert.equal(answer.status, 201, `create ${this.name}: ${answer.status} ${answer.text}`);
		return this;
	}

	async append(body, options) {
		const answer = await this.post(body, options);
		assert.ok(
			[200, 204].includes(answer.status),
			`append to ${this.name}: ${answer.status} ${answer.text}`,
		);
		return answer.headers['stream-next-offset'];
	}

	async tail() {
		const answer = await this.head();
		assert.equal(answer.status, 200);
		return answer.headers['stream-next-offset'];
	}

	// Everything from `offset` to the tail, however many answers it takes: {body, next, closed, parts}.
	async readAll(offset = '-1') {
		const parts = [];
		for (;;) {
			const answer = await this.get({ offset });
			assert.equal(
				answer.status,
				200,
				`read ${this.name} at ${offset}: ${answer.status} ${answer.text}`,
			);
			parts.push(answer);
			const next = answer.headers['stream-next-offset'];
			if (answer.headers['stream-up-to-date'] === 'true')
				return {
					body: Buffer.concat(parts.map((part) => part.body)),
					next,
					parts,
					values: () => parts.flatMap((part) => part.json()),
					closed: answer.headers['stream-closed'] === 'true',
				};
			assert.ok(next > offset || offset === '-1', `no progress at ${offset}`);
			offset = next;
		}
	}

	gone(status = 404) {
		return until(`${status} for ${this.name}`, async () => (await this.head()).status === status, {
			step: 100,
		});
	}
}

export const producer = (id, epoch, seq) => ({
	'producer-id': id,
	'producer-epoch': String(epoch),
	'producer-seq': String(seq),
});
export const CLOSE = { 'stream-closed': 'true' };
export const forkOf = (source, extra) => ({ 'stream-forked-from': source.path, ...extra });

// define(door, it): door.stream(hint) names a stream, door.client and door.server as they are. Options as for
// startServer, plus vias and concurrency.
export function overBothVersions(title, { vias = ['HTTP/1.1', 'h2c'], concurrency = 6, ...options }, define) {
	describe(title, () => {
		const door = { server: null };
		before(async () => (door.server = await startServer(options)));
		after(() => door.server?.stop());
		for (const via of vias)
			describe(`over ${via}`, { concurrency }, () => {
				const mine = {
					via,
					get server() {
						return door.server;
					},
					get url() {
						return via === 'h2c'
							? (door.server.h2url ?? door.server.url)
							: door.server.url;
					},
					get client() {
						return (this.current ??= connect(via, this.url));
					},
					connect(more) {
						return connect(via, this.url, more);
					},
					stream(hint) {
						return new Stream(this.client, freshName(hint));
					},
				};
				after(() => mine.current?.close());
				define(mine, it);
			});
	});
}
