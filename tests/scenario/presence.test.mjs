// Free ephemeral channels: every row of the surface over both HTTP versions and WebSocket, two programs with the real EphemeralStore,
// and what restarts, reloads and crashes leave of them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import WebSocket from 'ws';
import { ephemeralStore } from '../lib/ephemeral.mjs';
import { connect } from '../lib/http.mjs';
import { SseReader } from '../lib/live.mjs';
import { runSluiced, startSluice, temporary } from '../lib/sluice.mjs';
import { freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';

const start = (options = {}, more = {}) =>
	startSluice({
		config: (config) =>
			(config.frontends = [
				{
					name: 'presence',
					listen: ['127.0.0.1:0'],
					plugins: [{ plugin: 'presence', ...options }, { plugin: 'streams', mount: '/v1/stream' }],
				},
				{ name: 'streams', listen: ['127.0.0.1:0'], workers: 2, plugins: [{ plugin: 'streams', mount: '/v1/stream' }] },
			]),
		...more,
	});

const path = (channel, query = '') => `/presence/${channel.split('/').map(encodeURIComponent).join('/')}${query}`;
const update = (key, value) => {
	const store = ephemeralStore(60_000);
	store.set(key, value);
	return Buffer.from(store.encode(key));
};

// A subscriber: the bootstrap state, then updates as they come.
class Follower {
	static async open(client, channel) {
		const live = await client.open('GET', path(channel, '?live=sse'));
		assert.equal(live.status, 200);
		assert.equal(live.headers['content-type'], 'text/event-stream');
		assert.equal(live.headers['stream-sse-data-encoding'], 'base64');
		const follower = new Follower();
		follower.reader = new SseReader(live);
		const first = await follower.reader.next();
		assert.equal(first.type, 'bootstrap');
		follower.state = Buffer.from(first.data, 'base64');
		return follower;
	}

	async next() {
		const event = await this.reader.next();
		if (event === null) return null;
		assert.equal(event.type, 'data');
		return Buffer.from(event.data, 'base64');
	}

	close() {
		this.reader.close();
	}
}

for (const via of ['http/1.1', 'h2c'])
	describe(`presence over ${via}`, () => {
		const withDaemon = async (options, run) => {
			const daemon = await start(options);
			const client = connect(via, daemon.url);
			try {
				await run(client, daemon);
			} finally {
				client.close();
			}
			await daemon.stop();
		};

		it('a channel: written, shown, listed, followed, cleared, ended', () =>
			withDaemon({}, async (client) => {
				const channel = `${freshName()}/ä`;
				const before = await client.request('GET', path(channel));
				assert.deepEqual([before.status, before.body.length], [200, 0], 'never written: zero bytes');
				const follower = await Follower.open(client, channel);
				assert.equal(follower.state.length, 0, 'nothing, and not an empty list');
				const body = update('k', { a: [1, 'x'] });
				assert.equal((await client.request('POST', path(channel), { body })).status, 204);
				assert.deepEqual(await follower.next(), body, 'the bytes as they were posted');
				const json = await client.request('GET', path(channel), { headers: { accept: 'application/json' } });
				assert.deepEqual(json.json(), { k: { a: [1, 'x'] } });
				const list = (await client.request('GET', `/presence?prefix=${encodeURIComponent(channel)}`)).json();
				assert.deepEqual(
					[list.channels.length, list.channels[0].channel, list.channels[0].entries, list.channels[0].subscribers, list.has_more],
					[1, channel, 1, 1, false],
				);
				const clear = `/presence?prefix=${encodeURIComponent(channel)}`;
				assert.equal((await client.request('DELETE', clear)).status, 204);
				assert.equal((await client.request('GET', path(channel))).body.length, 0, 'cleared: never written again');
				assert.equal((await client.request('POST', path(channel), { body })).status, 204);
				assert.deepEqual(await follower.next(), body, 'a soft clear leaves subscribers');
				assert.equal((await client.request('DELETE', `${clear}&terminate=true`)).status, 204);
				assert.equal(await follower.next(), null, 'a hard one ends them in order');
			}));

		it('what is wrong is refused and changes nothing', () =>
			withDaemon({ channel_bytes: '2K' }, async (client) => {
				const channel = freshName();
				const post = async (body) => (await client.request('POST', path(channel), { body })).status;
				assert.equal(await post(update('k', 1)), 204);
				for (const body of [Buffer.alloc(0), Buffer.from([1]), Buffer.from('{"k":2}')]) assert.equal(await post(body), 400);
				assert.equal(await post(update('large', 'x'.repeat(3000))), 413, 'over channel_bytes');
				assert.equal(await post(Buffer.alloc((1 << 20) + 1)), 413, 'over 1 MiB');
				const state = await client.request('GET', path(channel), { headers: { accept: 'application/json' } });
				assert.deepEqual(state.json(), { k: 1 });
				for (const [method, target, code] of [
					['GET', path(channel, '?live=long-poll'), 'invalid_live'],
					['GET', '/presence?limit=0', 'bad_request'],
					['DELETE', '/presence', 'bad_request'],
					['GET', path('x'.repeat(257)), 'bad_request'],
				]) {
					const answer = await client.request(method, target);
					assert.deepEqual([answer.status, answer.json().code], [400, code], target);
				}
			}));

		it('entries expire by their own timestamps', () =>
			withDaemon({ timeout: '1s' }, async (client) => {
				const channel = freshName();
				await client.request('POST', path(channel), { body: update('k', 1) });
				await until('the entry to expire', async () => (await client.request('GET', path(channel))).body.length <= 1);
				await until('the channel to be forgotten', async () => (await client.request('GET', '/presence')).json().channels.length === 0);
			}));

		it('the list goes on page by page, in the order of bytes', () =>
			withDaemon({}, async (client) => {
				const prefix = freshName();
				const names = Array.from({ length: 25 }, (_, i) => `${prefix}/${String(i).padStart(2, '0')}`);
				for (const name of [...names].reverse()) await client.request('POST', path(name), { body: update('k', 1) });
				const found = [];
				for (let after = ''; ;) {
					const page = (await client.request('GET', `/presence?prefix=${prefix}&limit=10${after}`)).json();
					found.push(...page.channels.map((c) => c.channel));
					if (!page.has_more) break;
					after = `&after=${encodeURIComponent(page.next_cursor)}`;
				}
				assert.deepEqual(found, names);
			}));

		it('two programs with the real EphemeralStore see each other: state, live changes, deletion', () =>
			withDaemon({}, async (client, daemon) => {
				const channel = freshName();
				const open = async (own) => {
					const store = ephemeralStore(30_000);
					const follower = await Follower.open(own, channel);
					if (follower.state.length) store.apply(follower.state);
					(async () => {
						for (let bytes; (bytes = await follower.next()) !== null;) store.apply(bytes);
					})().catch(() => {});
					store.subscribeLocalUpdates((bytes) => own.request('POST', path(channel), { body: Buffer.from(bytes) }));
					return { store, follower };
				};
				const ann = await open(client);
				ann.store.set('ann', { x: 1, name: 'Ann' });
				await until('the state to be there', async () => (await client.request('GET', path(channel))).body.length > 1);
				const other = connect(via, daemon.url);
				const bob = await open(other);
				assert.deepEqual(bob.store.get('ann'), { x: 1, name: 'Ann' }, 'a newcomer knows at once');
				bob.store.set('bob', 7);
				await until('Ann to see Bob', () => ann.store.get('bob') === 7);
				ann.store.delete('ann');
				await until('Bob to miss Ann', () => bob.store.get('ann') === undefined);
				assert.deepEqual(ann.store.getAllStates(), bob.store.getAllStates());
				ann.follower.close();
				bob.follower.close();
				other.close();
			}));
	});

describe('presence', () => {
	const socket = async (daemon, channel) => {
		const ws = new WebSocket(daemon.url.replace('http', 'ws') + path(channel));
		ws.inbox = [];
		ws.on('message', (data) => ws.inbox.push(data));
		ws.closed = new Promise((done) => ws.once('close', (code) => done(code)));
		await within('the handshake', once(ws, 'open'));
		return ws;
	};

	it('by WebSocket: the state first, then every accepted update, the own ones too; close codes say why', async () => {
		const daemon = await start({ channel_bytes: '2K' });
		const channel = freshName();
		const a = await socket(daemon, channel);
		await until('the first message', () => a.inbox.length === 1);
		assert.equal(a.inbox[0].length, 0, 'never written');
		const body = update('k', 'v');
		a.send(body);
		await until('the own update', () => a.inbox.length === 2);
		assert.deepEqual(a.inbox[1], body);
		const b = await socket(daemon, channel);
		await until('the state', () => b.inbox.length === 1 && b.inbox[0].length > 1);
		b.send(Buffer.from([9, 9, 9]));
		assert.equal(await within('the close', b.closed), 1007);
		const c = await socket(daemon, channel);
		c.send(update('big', 'x'.repeat(3000)));
		assert.equal(await within('the close', c.closed), 1009);
		const client = connect('http/1.1', daemon.url);
		await client.request('DELETE', `/presence?prefix=${channel}&terminate=true`);
		assert.equal(await within('the close', a.closed), 4410);
		client.close();
		await daemon.stop();
	});

	it('a reload keeps the channels; a crash of their worker ends subscriptions and empties them; streams are untouched', async () => {
		const daemon = await start({}, { allow: [/child_exit name=presence#1 .*signal=9/] });
		const client = connect('http/1.1', daemon.url);
		const channel = freshName();
		const stream = `/v1/stream/${freshName()}`;
		await client.request('PUT', stream, { headers: { 'content-type': 'text/plain' }, body: 'kept' });
		await client.request('POST', path(channel), { body: update('k', 1) });
		const follower = await Follower.open(client, channel);
		assert.match(await daemon.reload(), /reloaded/);
		assert.deepEqual(daemon.lines.filter((line) => /^<[0-4]>(?!sluiced temporary_data)/.test(line)), [], 'nothing needs attention');
		await client.request('POST', path(channel), { body: update('l', 2) });
		assert.ok(await follower.next(), 'the subscription goes on through a reload');
		const worker = daemon.children().find((child) => child.args.some((arg) => arg.includes('presence')));
		assert.ok(worker, 'the presence worker is known');
		await daemon.killChild(worker.pid);
		await assert.rejects(follower.next(), 'its connection went with it');
		await until('presence to be back', async () => {
			try {
				return (await client.request('GET', path(channel))).status === 200;
			} catch {
				return false;
			}
		});
		assert.equal((await client.request('GET', path(channel))).body.length, 0, 'and it is empty');
		assert.equal((await client.request('GET', stream)).text, 'kept');
		client.close();
		await daemon.stop();
	});

	it('exactly one worker mounts it, once', async () => {
		const file = join(temporary(), 'two.yaml');
		writeFileSync(
			file,
			'data_dir: temporary\nfrontends:\n  - name: a\n    listen: ["127.0.0.1:0"]\n    workers: 2\n    plugins: [{ plugin: presence }]\n  - name: b\n    listen: ["127.0.0.1:0"]\n    plugins: [{ plugin: presence }]\n',
		);
		const { code, out, err } = await runSluiced(['-t', '-c', file]);
		const text = out + err;
		assert.notEqual(code, 0);
		assert.match(text, /two\.yaml:5:\d+: frontends\[0\]\.workers: .*exactly 1 worker/);
		assert.match(text, /two\.yaml:9:\d+: .*presence is mounted already in line 3/);
	});
});

// Random and damaged updates through the library and through the daemon: the same verdict, the same state.
describe('presence against loro-crdt', () => {
	it('agrees on a thousand updates, half of them damaged', async () => {
		const seed = Number(process.env.SLUICE_PRESENCE_SEED ?? Date.now() % 1e9);
		let state = seed;
		const random = (n) => {
			state = (Math.imul(state, 1103515245) + 12345) >>> 0;
			return Math.floor((state / 4294967296) * n);
		};
		const value = (depth) => {
			switch (random(depth > 3 ? 6 : 8)) {
				case 0:
					return null;
				case 1:
					return random(2) === 1;
				case 2:
					return random(1 << 30) - (1 << 29);
				case 3:
					return random(1000) / 7;
				case 4:
					return 'ä€😀x'.repeat(random(5));
				case 5:
					return new Uint8Array(Array.from({ length: random(20) }, () => random(256)));
				case 6:
					return Array.from({ length: random(4) }, () => value(depth + 1));
				default:
					return Object.fromEntries(Array.from({ length: random(4) }, (_, i) => [`m${i}`, value(depth + 1)]));
			}
		};
		const daemon = await start({ timeout: '1d' });
		const client = connect('http/1.1', daemon.url);
		const DAY = 24 * 3600 * 1000;
		for (let round = 0; round < 40; round++) {
			const channel = freshName();
			const mirror = ephemeralStore(DAY);
			const source = ephemeralStore(DAY);
			for (let i = 0; i < 25; i++) {
				const key = `k${random(6)}`;
				if (random(6) === 0) source.delete(key);
				else source.set(key, value(0));
				const bytes = Buffer.from(random(4) === 0 ? source.encodeAll() : source.encode(key));
				if (random(2) === 0) {
					if (random(2) === 0) bytes[random(bytes.length)] = random(256);
					else bytes.fill(random(256), random(bytes.length));
				}
				let good = true;
				try {
					mirror.apply(new Uint8Array(bytes));
				} catch {
					good = false;
				}
				const { status } = await client.request('POST', path(channel), { body: bytes });
				assert.equal(status === 204, good, `seed ${seed}: ${bytes.toString('hex')} gave ${status}`);
			}
			const { body } = await client.request('GET', path(channel));
			const copy = ephemeralStore(DAY);
			if (body.length) copy.apply(new Uint8Array(body));
			assert.deepEqual(copy.getAllStates(), mirror.getAllStates(), `seed ${seed}, round ${round}`);
		}
		client.close();
		await daemon.stop();
	});
});
