// Clients that are slow, deaf, broken or hostile cost themselves at most: everybody else is served, memory stays
// bounded.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import http2 from 'node:http2';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import {
	CONTINUATION,
	DATA,
	END_HEADERS,
	HEADERS,
	PING,
	PREFACE,
	SETTINGS,
	frame,
	requestHeaders,
} from '../lib/h2raw.mjs';
import { Raw } from '../lib/raw.mjs';
import { sanitized, startSluice } from '../lib/sluice.mjs';
import { Stream, freshName, producer } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const OCTETS = 'application/octet-stream';
const impatient = (config) =>
	(config.limits = {
		header_timeout: '1s',
		body_timeout: '1s',
		idle_timeout: '2s',
		send_timeout: '2s',
		header_bytes: '16K',
		path_bytes: '2K',
	});
const MEMORY = (sanitized ? 1024 : 192) << 20;

// New connections over both HTTP versions are served.
async function serves(daemon) {
	for (let n = 0; n < 4; n++) {
		const client = connect(n % 2 ? 'h2c' : 'HTTP/1.1', daemon.url, { keepAlive: false });
		assert.equal((await new Stream(client, freshName()).put({ body: 'x' })).status, 201);
		client.close();
	}
}

async function withDaemon(config, work) {
	const daemon = await startSluice({ config });
	const workers = daemon.workers();
	await work(daemon);
	await serves(daemon);
	assert.deepEqual(daemon.workers(), workers, 'no worker died');
	await daemon.stop();
}

const memoryBounded = (daemon) => {
	for (const pid of daemon.workers())
		assert.ok(daemon.memory(pid) < MEMORY, `a worker has ${daemon.memory(pid) >> 20} MiB`);
};

async function largeStream(client, megabytes) {
	const s = await new Stream(client, freshName()).create({ type: OCTETS });
	for (let n = 0; n < megabytes; n++) await s.append(Buffer.alloc(1 << 20, 65), { type: OCTETS });
	return s;
}

describe('abuse over HTTP/1.1', { concurrency: 3 }, () => {
	it('slow loris: half-sent headers are cut, others are served meanwhile', () =>
		withDaemon(impatient, async (daemon) => {
			const slow = Array.from({ length: 100 }, () => new Raw(daemon.url));
			for (const raw of slow) await raw.send('GET /v1/stream/x HTTP/1.1\r\nHost: a\r\nX-A: ');
			const drip = setInterval(() => slow.forEach((raw) => raw.ended || raw.socket.write('b')), 100);
			await serves(daemon);
			for (const raw of slow) {
				const text = await raw.end('the cut');
				assert.ok(text === '' || /^HTTP\/1\.1 408 /.test(text), text);
				raw.close();
			}
			clearInterval(drip);
		}));

	it('a body that stops coming is cut and appends nothing', () =>
		withDaemon(impatient, async (daemon) => {
			const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
			const s = await new Stream(client, freshName()).create();
			const raws = ['Content-Length: 100', 'Transfer-Encoding: chunked'].map((framing) => {
				const raw = new Raw(daemon.url);
				raw.socket.write(
					`POST ${s.path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n${framing}\r\n\r\n5\r\nhello\r\n`,
				);
				return raw;
			});
			for (const raw of raws) {
				await raw.end('the cut');
				raw.close();
			}
			assert.equal((await s.get()).text, '');
			client.close();
		}));

	it('a connection that says nothing, or nothing more, is closed', () =>
		withDaemon(impatient, async (daemon) => {
			const silent = new Raw(daemon.url);
			const served = new Raw(daemon.url);
			await served.send('GET /v1/stream/none HTTP/1.1\r\nHost: a\r\n\r\n');
			assert.equal(await served.status(), 404);
			await silent.end('the end of the silent one');
			await served.end('the end of the idle one');
			silent.close();
			served.close();
		}));

	it('readers that never read are bounded in memory and cut; a reader beside them is served', () =>
		withDaemon(impatient, async (daemon) => {
			const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
			const s = await largeStream(client, 24);
			const deaf = Array.from({ length: 40 }, (_, n) => {
				const raw = new Raw(daemon.url);
				raw.socket.pause();
				const target = `${s.path}?offset=-1${n % 2 ? '&live=sse' : ''}`;
				raw.socket.write(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(n % 2 ? 1 : 20));
				return raw;
			});
			for (let n = 0; n < 8; n++) await s.append(Buffer.alloc(1 << 20, 65), { type: OCTETS });
			assert.equal((await s.readAll()).body.length, 32 << 20);
			memoryBounded(daemon);
			// Whoever was cut hears of it when he writes.
			await until(
				'the deaf to be cut',
				() => {
					deaf.forEach((raw) => raw.error || raw.socket.write('G'));
					return deaf.every((raw) => raw.error || raw.ended || raw.socket.destroyed);
				},
				{ step: 200 },
			);
			deaf.forEach((raw) => raw.close());
			client.close();
		}));

	it('connections beyond the limit are refused, and the place is free again when others leave', () =>
		withDaemon(
			(config) => {
				config.limits = { connections: 20 };
				config.frontends[0].workers = 1;
			},
			async (daemon) => {
				const many = Array.from({ length: 60 }, () => new Raw(daemon.url));
				for (const raw of many)
					raw.socket.write('GET /v1/stream/none HTTP/1.1\r\nHost: a\r\n\r\n');
				await until('an answer or an end for each', () =>
					many.every((raw) => raw.ended || raw.error || /\r\n\r\n/.test(raw.text)),
				);
				assert.ok(
					many.some((raw) => /^HTTP\/1\.1 503 |^$/.test(raw.text)),
					'some were refused',
				);
				assert.ok(
					many.filter((raw) => /^HTTP\/1\.1 404 /.test(raw.text)).length >= 15,
					'those within the limit were served',
				);
				many.forEach((raw) => raw.close());
				await until('room again', async () => {
					const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
					const status = await client.request('GET', '/v1/stream/none').then(
						(answer) => answer.status,
						() => 0,
					);
					client.close();
					return status === 404;
				});
			},
		));

	const noises = {
		'random bytes': () => randomBytes(5000),
		'a TLS hello': () => Buffer.from('16030100c8010000c40303', 'hex'),
		'zeros': () => Buffer.alloc(100_000),
		'empty lines': () => Buffer.from('\r\n'.repeat(50_000)),
		'another protocol': () => Buffer.from('SSH-2.0-x\r\n'),
		'a broken HTTP/2 preface': () =>
			Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all, not at all'),
		'a target without end': () => Buffer.from(`GET /${'a'.repeat(200_000)}`),
		'headers without end': () =>
			Buffer.from(
				`GET /v1/stream/x HTTP/1.1\r\nHost: a\r\n${'X-A: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(5000)}`,
			),
	};
	it('noise of every kind ends with an error or a cut', () =>
		withDaemon(impatient, async (daemon) => {
			for (const [what, make] of Object.entries(noises)) {
				const raw = new Raw(daemon.url);
				raw.socket.write(make());
				const text = await raw.end(`the end of ${what}`);
				// HTTP/2 begins with the server's settings frame, and ends with its GOAWAY.
				assert.ok(
					text === '' ||
						/^HTTP\/1\.[01] [45]\d\d /.test(text) ||
						text.charCodeAt(3) === 4,
					`${what}: ${JSON.stringify(text.slice(0, 80))}`,
				);
				raw.close();
			}
		}));

	it('bodies beyond the memory budget wait, or are told to come again; with retries all arrive', () =>
		withDaemon(
			(config) => {
				config.limits = { body: '4M', body_memory: '4M', body_timeout: '1s' };
			},
			async (daemon) => {
				const client = connect('HTTP/1.1', daemon.url);
				const s = await new Stream(client, freshName()).create({ type: OCTETS });
				await Promise.all(
					Array.from({ length: 24 }, (_, n) =>
						until('room for a body', async () => {
							const { status, text } = await s.post(
								Buffer.alloc(1 << 20, 66),
								{ type: OCTETS, headers: producer(`p${n}`, 0, 0) },
							);
							assert.ok(
								[200, 204, 503].includes(status),
								`${status} ${text}`,
							);
							return status !== 503;
						}),
					),
				);
				assert.equal((await s.readAll()).body.length, 24 << 20);
				client.close();
			},
		));

	it('half-sent requests by the hundred, reset, leave nothing behind', () =>
		withDaemon(undefined, async (daemon) => {
			for (let round = 0; round < 5; round++) {
				const raws = Array.from({ length: 100 }, () => new Raw(daemon.url));
				await Promise.all(
					raws.map((raw) =>
						raw.send(
							'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nContent-Type: text/plain\r\n\r\nabc',
						),
					),
				);
				raws.forEach((raw) => raw.socket.resetAndDestroy());
			}
			await until('the descriptors to be closed', () =>
				daemon.workers().every((pid) => readdirSync(`/proc/${pid}/fd`).length < 60),
			);
		}));
});

describe('abuse over HTTP/2', { concurrency: 2 }, () => {
	it('a deaf reader does not hinder others, nor fill the memory', () =>
		withDaemon(undefined, async (daemon) => {
			const client = connect('h2c', daemon.url);
			const s = await largeStream(client, 8);
			const deaf = Array.from({ length: 20 }, () => {
				const other = http2.connect(daemon.url, { settings: { initialWindowSize: 1 << 16 } });
				other.on('error', () => {});
				const stream = other.request({ ':path': `${s.path}?offset=-1&live=sse` });
				stream.on('error', () => {});
				stream.pause();
				return other;
			});
			assert.equal((await s.readAll()).body.length, 8 << 20);
			memoryBounded(daemon);
			deaf.forEach((session) => session.destroy());
			client.close();
		}));

	it('requests reset at once, without end, cost that connection at most', () =>
		withDaemon(undefined, async (daemon) => {
			const session = http2.connect(daemon.url);
			session.on('error', () => {});
			for (let n = 0; n < 5000 && !session.destroyed && !session.closed; n++) {
				const stream = session.request({ ':path': '/v1/stream/none' });
				stream.on('error', () => {});
				stream.close(8);
				if (n % 100 === 0) await new Promise((done) => setImmediate(done));
			}
			session.destroy();
		}));

	const request = requestHeaders('POST', '/v1/stream/none', { 'content-type': 'text/plain' });
	const floods = {
		'pings': Array.from({ length: 20_000 }, () => frame(PING, 0, 0, Buffer.alloc(8))),
		'settings': Array.from({ length: 20_000 }, () => frame(SETTINGS, 0, 0)),
		'continuations': [
			frame(HEADERS, 0, 1, request),
			...Array.from({ length: 5000 }, () => frame(CONTINUATION, 0, 1, Buffer.alloc(10, 0x82))),
		],
		'empty data': [
			frame(HEADERS, END_HEADERS, 1, request),
			...Array.from({ length: 20_000 }, () => frame(DATA, 0, 1)),
		],
	};
	for (const [what, frames] of Object.entries(floods))
		it(`a flood of ${what} whose answers are not read costs that connection at most`, () =>
			withDaemon(undefined, async (daemon) => {
				const raw = new Raw(daemon.url);
				raw.socket.pause();
				raw.socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), ...frames]));
				await serves(daemon);
				memoryBounded(daemon);
				raw.close();
			}));

	it('an over-long header list costs that connection at most', () =>
		withDaemon(impatient, async (daemon) => {
			const client = connect('h2c', daemon.url);
			const outcome = await client
				.request('GET', '/v1/stream/x', { headers: { 'x-large': 'y'.repeat(60_000) } })
				.then(
					(answer) => answer.status,
					() => 'cut',
				);
			assert.ok(outcome === 431 || outcome === 'cut', String(outcome));
			client.close();
		}));
});
