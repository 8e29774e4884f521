// WebSockets share the port with HTTP, survive what clients do, and end in order; the example plugin is what they talk to.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { until, within } from '../lib/wait.mjs';

const TOP = join(import.meta.dirname, '..', '..');
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

async function open(daemon, options = {}) {
	const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/echo`, options);
	ws.inbox = [];
	ws.on('message', (data, binary) => ws.inbox.push(binary ? data : String(data)));
	ws.closed = new Promise((done) => ws.once('close', (code, reason) => done({ code, reason: String(reason) })));
	await within('the handshake', once(ws, 'open'));
	return ws;
}

// The status line and headers of an answer to a handmade request.
async function ask(daemon, head) {
	const { hostname, port } = new URL(daemon.url);
	const socket = dial(Number(port), hostname);
	let text = '';
	socket.setEncoding('latin1');
	socket.on('data', (data) => (text += data));
	socket.write(head);
	await until('an answer', () => text.includes('\r\n\r\n'));
	socket.destroy();
	return text.slice(0, text.indexOf('\r\n\r\n'));
}

describe('WebSocket', { concurrency: 2 }, () => {
	let plugin;
	before(() => {
		plugin = join(temporary(), 'hello.so');
		execFileSync('cc', ['-std=c11', '-Wall', '-Wextra', '-Werror', `-I${join(TOP, 'include')}`, '-fPIC', '-fvisibility=hidden',
			'-shared', '-Wl,-z,defs', '-o', plugin, join(TOP, 'examples', 'hello', 'hello.c')]);
	});
	const start = (workers = 1) => startSluice({
		config: (config) => (config.frontends = [{
			name: 'hello', listen: ['127.0.0.1:0'], workers, plugins: [{ plugin, greeting: 'Good morning' }, { plugin: 'streams', mount: '/v1/stream' }],
		}]),
	});

	it('20 clients exchange 1000 messages each while HTTP is answered on the same port', async () => {
		const daemon = await start(2);
		const clients = await Promise.all(Array.from({ length: 20 }, () => open(daemon)));
		const talk = clients.map(async (ws, i) => {
			for (let n = 0; n < 1000; n++) {
				ws.send(`${i}:${n}`);
				await within('an echo', once(ws, 'message'));
			}
			assert.deepEqual(ws.inbox, Array.from({ length: 1000 }, (_, n) => `${i}:${n}`));
		});
		let busy = true;
		const http = (async () => {
			while (busy) {
				const answer = await fetch(`${daemon.url}/hello/you`);
				assert.equal(await answer.text(), 'Good morning, you!\n');
			}
		})();
		await Promise.all(talk);
		busy = false;
		await http;
		clients.forEach((ws) => ws.close(1000));
		for (const ws of clients) assert.equal((await within('the close', ws.closed)).code, 1000);
		await daemon.stop();
	});

	it('large and empty, text and binary messages come back as they were', async () => {
		const daemon = await start();
		const ws = await open(daemon);
		const big = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i * 7 % 256));
		for (const message of ['', 'grüß', 'ä'.repeat(70_000), big, Buffer.alloc(0)]) {
			ws.send(message);
			await within('an echo', once(ws, 'message'));
			assert.deepEqual(ws.inbox.at(-1), message);
		}
		ws.send(Buffer.alloc((1 << 20) + 1));                       // hello.c: max_message is 1 MiB
		assert.equal((await within('the close', ws.closed)).code, 1009);
		await daemon.stop();
	});

	it('a request that cannot become a WebSocket is told why, and the daemon goes on', async () => {
		const daemon = await start();
		const upgrade = (path, more) => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`;
		assert.match(await ask(daemon, upgrade('/echo', `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 8\r\n`)),
			/^HTTP\/1\.1 426 [^]*\r\nsec-websocket-version: 13\b/i);
		assert.match(await ask(daemon, upgrade('/echo', 'Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n')), /^HTTP\/1\.1 400 /);
		assert.match(await ask(daemon, upgrade('/nowhere', `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`)), /^HTTP\/1\.1 404 /);
		assert.match(await ask(daemon, upgrade('/hello/you', `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`)), /^HTTP\/1\.1 200 /);
		assert.match(await ask(daemon, upgrade('/echo', `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`)), /^HTTP\/1\.1 101 /);
		const ws = await open(daemon);
		ws.send('still here');
		await within('an echo', once(ws, 'message'));
		ws.terminate();
		await daemon.stop();
	});

	it('a reload moves clients on with 1001 after what was sent to them, a stop does the same', async () => {
		const daemon = await start();
		const first = await open(daemon);
		first.send('before');
		await within('an echo', once(first, 'message'));
		await daemon.reload();
		assert.equal((await within('the close', first.closed)).code, 1001);
		const second = await open(daemon);
		second.send('after');
		await within('an echo', once(second, 'message'));
		await daemon.stop();
		assert.equal((await within('the close', second.closed)).code, 1001);
		assert.deepEqual([first.inbox, second.inbox], [['before'], ['after']]);
	});

	it('a client that talks and never reads is closed, the others do not notice', async () => {
		const daemon = await start();
		const deaf = await open(daemon);
		deaf._socket.pause();
		const other = await open(daemon);
		const chunk = Buffer.alloc(64 * 1024);
		const flood = setInterval(() => deaf.readyState === WebSocket.OPEN && deaf._socket.writableLength < 1 << 22 && deaf.send(chunk), 1);
		for (let n = 0; n < 200; n++) {
			other.send(String(n));
			await within('an echo', once(other, 'message'));
		}
		await daemon.stop({ patience: 30_000 });
		clearInterval(flood);
		assert.equal((await within('the close', other.closed)).code, 1001);
		deaf.terminate();
	});
});
