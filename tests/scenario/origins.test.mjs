// Which pages in browsers may use a frontend, and by which host names it is asked for: requests over both versions, WebSockets.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { newCertificate } from '../lib/certificate.mjs';
import { connect } from '../lib/http.mjs';
import { Raw } from '../lib/raw.mjs';
import { startSluice } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';

const FOREIGN = /Pages of this origin may not use the server; it is none of its frontend's origins\./;
const UNKNOWN = /not known by the host name of the request; it is none of its frontend's hosts\./;

const start = (more) => startSluice({
	config: (config) => Object.assign(config.frontends[0], {
		workers: 1,
		plugins: [{ plugin: 'streams' }, { plugin: 'presence' }, { plugin: 'console' }],
		...more,
	}),
});

async function handshake(daemon, headers) {
	const raw = new Raw(daemon.url);
	const all = {
		host: new URL(daemon.url).host, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
		'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers,
	};
	await raw.send(`GET /presence/${freshName()} HTTP/1.1\r\n${Object.entries(all).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`);
	try {
		return await raw.status();
	} finally {
		raw.close();
	}
}

for (const via of ['HTTP/1.1', 'h2c'])
	describe(`origins over ${via}`, () => {
		let open, shut, own;
		const host = via === 'h2c' ? ':authority' : 'host';
		before(async () => {
			open = await start({});
			shut = await start({
				origins: ['https://app.example', 'http://localhost:*', 'http://[::1]:*', 'null'],
				hosts: ['127.0.0.1', 'sluice.example', '[::1]'],
			});
			own = `http://${new URL(shut.url).host}`;
		});
		after(async () => {
			await open.stop();
			await shut.stop();
		});

		async function put(daemon, headers) {
			const client = connect(via, daemon.url);
			const s = new Stream(client, freshName('page'));
			const answer = await s.put({ body: 'x', headers });
			client.close();
			return answer;
		}

		it('without lists every page and every name will do', async () => {
			assert.equal((await put(open, { origin: 'https://anybody.example' })).status, 201);
			assert.equal((await put(open, { [host]: 'anything.example:99' })).status, 201);
			assert.equal(await handshake(open, { origin: 'https://anybody.example' }), 101);
		});

		it('what has no origin, is listed, or is its own page may', async () => {
			assert.equal((await put(shut, {})).status, 201);
			for (const origin of ['https://app.example', 'HTTPS://App.example', 'http://localhost', 'http://localhost:5173', 'http://[::1]:1', 'null', own])
				assert.equal((await put(shut, { origin })).status, 201, origin);
		});

		it('others are answered 403, whatever they ask for, and nothing is done', async () => {
			const foreign = [
				'https://evil.example', 'http://app.example', 'https://app.example:8443', 'https://app.example.evil.example', 'https://evil-app.example',
				'https://localhost:5173', 'http://localhost.evil.example', 'http://localhost:x', 'http://127.0.0.1:1', `https://evil.example/${own}`, 'NULL/', '*', '',
			];
			const client = connect(via, shut.url);
			const s = new Stream(client, freshName('page'));
			assert.equal((await s.put({ body: 'kept' })).status, 201);
			for (const origin of foreign) {
				for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'OPTIONS']) {
					const answer = await client.request(method, s.path, { headers: { origin } });
					assert.equal(answer.status, 403, `${method} from ${origin}`);
					assert.match(answer.text, FOREIGN);
				}
				assert.equal((await client.request('HEAD', '/health', { headers: { origin } })).status, 403);
			}
			assert.equal((await s.get()).text, 'kept');
			client.close();
		});

		it('a name that is not listed is answered 421', async () => {
			for (const name of ['sluice.example', 'SLUICE.example:4437', '[::1]:80', '127.0.0.1'])
				assert.equal((await put(shut, { [host]: name })).status, 201, name);
			for (const name of ['evil.example', 'evil.example:4437', '127.0.0.1.evil.example', '[::2]', 'sluice.example.', 'localhost']) {
				// To the browser it is the page's own server.
				const answer = await put(shut, { [host]: name, origin: `http://${name}` });
				assert.equal(answer.status, 421, name);
				assert.match(answer.text, UNKNOWN);
			}
		});

		if (via === 'HTTP/1.1')
			it('WebSockets are held to the same; HTTP/1.0 need not name a host', async () => {
				for (const [headers, status] of [
					[{}, 101], [{ origin: own }, 101], [{ origin: 'http://localhost:3000' }, 101],
					[{ origin: 'https://evil.example' }, 403], [{ host: 'evil.example', origin: 'http://evil.example' }, 421],
				])
					assert.equal(await handshake(shut, headers), status, JSON.stringify(headers));
				const raw = new Raw(shut.url);
				await raw.send('GET /health HTTP/1.0\r\n\r\n');
				assert.equal(await raw.status(), 200);
				raw.close();
				const twice = new Raw(shut.url);
				await twice.send(`GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: ${own}\r\nOrigin: https://evil.example\r\n\r\n`);
				assert.equal(await twice.status(), 403, 'the worst of two');
				twice.close();
			});
	});

describe('origins over TLS', () => {
	it('the own page is one that came by TLS', async () => {
		const files = newCertificate();
		const daemon = await start({ listen: [{ address: '127.0.0.1:0', tls: { cert: files.cert, key: files.key } }], origins: [] });
		const { host } = new URL(daemon.url);
		for (const via of ['HTTP/1.1', 'h2c']) {
			const client = connect(via, daemon.url, { ca: files.ca });
			for (const [origin, status] of [[`https://${host}`, 200], [`http://${host}`, 403], [`wss://${host}`, 403], ['https://other', 403]])
				assert.equal((await client.request('GET', '/health', { headers: { [via === 'h2c' ? ':authority' : 'host']: host, origin } })).status, status, `${via}: ${origin}`);
			client.close();
		}
		await daemon.stop();
	});
});
