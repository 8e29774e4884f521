// A client of SDS sync, written to the wire digest: tokens, frames, and what has arrived.

import assert from 'node:assert/strict';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { connect as dial } from 'node:net';
import WebSocket from 'ws';
import { startSluice } from './sluice.mjs';
import { until, within } from './wait.mjs';

export const SECRET = '0123456789abcdef0123456789abcdef';
export const FRAME = { PATCH: 1, VALUE: 2, REQ_VALUE: 3, PRESENCE: 4, CHUNK: 5, SYNC_REQ: 6, PATCH_ACK: 0x80, VALUE_ACK: 0x81 };

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
export function sign(claims, { secret = SECRET, header = { alg: 'HS256', typ: 'JWT' }, hash = 'sha256' } = {}) {
	const text = `${part(header)}.${part(claims)}`;
	return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`;
}
export const token = (store, scope = 'write', more = {}) => sign({ sub: 'tester', aud: store, scope, ...more });
export const sha256 = (data) => createHash('sha256').update(data).digest();
// So many bytes, others for another seed; made of a piece, for millions of them cost a busy machine seconds.
export const bytes = (n, seed = 1) => Buffer.alloc(n, Buffer.from(Uint8Array.from({ length: 8191 }, (_, i) => (i * 31 + (i >> 8) * 7 + seed * 17) & 255)));
export const store = (name = 'store') => `${name}-${randomUUID()}`;

// options: of the plugin; presence: false leaves the worker out that lets workers hear of each other.
export const startSds = ({ workers = 1, options = {}, presence = true, listen = ['127.0.0.1:0'], config, ...more } = {}) =>
	startSluice({
		config: (all) => {
			all.frontends = [
				{
					name: 'sync', listen, workers,
					plugins: [{ plugin: 'sds', secrets: [SECRET], ...options }, { plugin: 'streams', mount: '/v1/stream' }],
				},
				...(presence ? [{ name: 'presence', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'presence' }] }] : []),
			];
			config?.(all);
		},
		...more,
	});

// Without a connection that is kept: a daemon that stops would wait for it.
export const ask = (url, { headers, ...options } = {}) => fetch(url, { ...options, headers: { ...headers, connection: 'close' } });

export const socketUrl = (daemon, path) => daemon.url.replace(/^http/, 'ws') + path;

export class Peer {
	// id: of the store; scope or token: who it is; query: more parameters; answers: what it sends when the server asks for what it has.
	static dial(daemon, id, { scope = 'write', token: given, query = '', path = 'ws', answer, ...options } = {}) {
		const peer = new Peer();
		const text = given ?? token(id, scope);
		peer.inbox = [];
		peer.taken = 0;
		peer.questions = 0;
		peer.ws = new WebSocket(socketUrl(daemon, `/${path}/${encodeURIComponent(id)}?token=${encodeURIComponent(text)}${query}`), options);
		peer.ws.on('message', (data, binary) => {
			const frame = binary && data.length ? { type: data[0], payload: data.subarray(1), binary } : { text: String(data), binary };
			if (frame.type === FRAME.SYNC_REQ && frame.payload.length === 0) {
				peer.questions++;
				answer?.(peer);
				if (answer !== undefined || path === 'ws') return;
			}
			peer.inbox.push(frame);
		});
		peer.ws.on('error', (error) => { peer.error = error; });
		peer.closed = new Promise((done) => peer.ws.once('close', (code, reason) => done((peer.end = { code, reason: String(reason) }))));
		peer.opened = new Promise((done, fail) => {
			peer.ws.once('open', done);
			peer.ws.once('error', fail);
		});
		return peer;
	}

	// Open, and asked by the server for what it has, so that whatever others send from now on reaches it.
	static async open(daemon, id, options = {}) {
		const peer = Peer.dial(daemon, id, options);
		await within('the handshake', peer.opened);
		if ((options.scope ?? 'write') !== 'read' && (options.path ?? 'ws') === 'ws' && !options.relay)
			await until('the question of the server', () => peer.questions > 0);
		return peer;
	}

	send(type, ...payload) {
		const bytes = payload.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : Buffer.from(piece)));
		this.ws.send(Buffer.concat([Buffer.from([type]), ...bytes]));
	}

	// The next frame that was not looked at yet.
	async next(what = 'a frame') {
		await until(what, () => this.inbox.length > this.taken || this.ws.readyState > 1);
		assert.ok(this.inbox.length > this.taken, `the socket was closed before ${what}: ${JSON.stringify(this.end)} ${this.error}`);
		return this.inbox[this.taken++];
	}

	async expect(type, payload, what = `a frame of type ${type}`) {
		const frame = await this.next(what);
		assert.equal(frame.type, type, `${what}: ${JSON.stringify({ ...frame, payload: frame.payload?.toString('latin1').slice(0, 80) })}`);
		if (payload !== undefined) assert.deepEqual(frame.payload, Buffer.from(payload), what);
		return frame.payload;
	}

	// The next frame of a type, behind any patches: one's own join may not be over, and then what a compaction made comes in between.
	async seek(type, payload) {
		let frame = await this.next(`a frame of type ${type}`);
		while (frame.type === FRAME.PATCH && type !== FRAME.PATCH) frame = await this.next(`a frame of type ${type}`);
		assert.equal(frame.type, type);
		if (payload !== undefined) assert.deepEqual(frame.payload, Buffer.from(payload));
		return frame.payload;
	}

	// Everything that was sent before by the others has arrived here when this has: the next frame is theirs, or the mark.
	static fence = 0;
	async fence(others) {
		const mark = `fence-${Peer.fence++}`;
		this.send(0x70, mark);
		for (const other of others) await other.expect(0x70, mark);
	}

	async close(code = 1000) {
		this.ws.close(code);
		await within('the end of a socket', this.closed);
	}
}

// The status line of a handshake that is made by hand.
export async function handshake(daemon, path, headers = '') {
	const { hostname, port } = new URL(daemon.url);
	const socket = dial(Number(port), hostname);
	let text = '';
	socket.setEncoding('latin1').on('data', (data) => (text += data)).on('error', () => {});
	socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
		`Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`);
	await until('an answer', () => text.includes('\r\n\r\n'));
	socket.destroy();
	return text.slice(0, text.indexOf('\r\n\r\n'));
}

// Rows of a log: u64 seq, u32 length, payload.
export function rows(body) {
	const all = [];
	for (let at = 0; at < body.length;) {
		const length = body.readUInt32BE(at + 8);
		all.push({ seq: Number(body.readBigUInt64BE(at)), payload: body.subarray(at + 12, at + 12 + length) });
		at += 12 + length;
	}
	return all;
}

export async function readLog(daemon, id, query = '', bearer = token(id, 'read')) {
	const answer = await ask(`${daemon.url}/api/log/${encodeURIComponent(id)}${query}`, { headers: { authorization: `Bearer ${bearer}` } });
	const body = Buffer.from(await answer.arrayBuffer());
	if (answer.status !== 200) return { status: answer.status, error: JSON.parse(body).error };
	return { status: 200, head: Number(answer.headers.get('sds-head')), rows: rows(body) };
}
