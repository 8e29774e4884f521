// A listener with TLS serves everything a plain one does, to clients of all kinds; a reload brings new certificates without a failed
// request; and what is wrong with a certificate or key is said by the check.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { encryptedKey, expiredCertificate, newCertificate } from '../lib/certificate.mjs';
import { ctlFor } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { startLoad } from '../lib/load.mjs';
import { Raw } from '../lib/raw.mjs';
import { baseConfig, runSluiced, sanitized, startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const run = promisify(execFile);
const TOP = join(import.meta.dirname, '..', '..');
const OCTETS = 'application/octet-stream';
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

const withTls = (files, more = {}) => (config) => {
	config.frontends[0].listen = [{ address: '127.0.0.1:0', tls: { cert: files.cert, key: files.key, ...more } }];
};

// A TLS connection under our own hands.
async function dial(daemon, { ca }, options = {}) {
	const { hostname, port } = new URL(daemon.url);
	const socket = tls.connect({ host: hostname, port: Number(port), ca, servername: 'localhost', ...options });
	socket.on('error', (error) => (socket.failure = error));
	socket.ended = new Promise((done) => socket.once('close', done));
	await within('the handshake', Promise.race([once(socket, 'secureConnect'), socket.ended]));
	if (socket.failure) throw socket.failure;
	return socket;
}

describe('TLS', { concurrency: 2 }, () => {
	let files, plugin;
	before(() => {
		files = newCertificate();
		plugin = join(temporary(), 'hello.so');
		execFileSync('cc', ['-std=c11', `-I${join(TOP, 'include')}`, '-fPIC', '-fvisibility=hidden', '-shared', '-o', plugin,
			join(TOP, 'examples', 'hello', 'hello.c')]);
	});
	const start = (config) => startSluice({
		config: (settings) => {
			withTls(files)(settings);
			config?.(settings);
		},
	});
	const hello = (config) => config.frontends[0].plugins.push({ plugin, greeting: 'Hello' });

	it('sluicectl status and the ready line show it as https, also when a reload has put TLS on a listener', async () => {
		const daemon = await startSluice();
		const shown = async () => (await ctlFor(daemon).json('status'))[0].listeners[0].address;
		assert.equal(await shown(), daemon.url);
		const line = await daemon.reload({ config: withTls(files) });
		assert.equal(await shown(), daemon.url.replace('http:', 'https:'));
		assert.ok(line.includes(` listen=${await shown()}`), line);
		assert.match(await ctlFor(daemon)('status'), /listening\s+https:\/\/127\.0\.0\.1:\d+ \(streams\)/);
		await daemon.stop();
	});

	it('curl speaks HTTP/1.1 and HTTP/2 by ALPN; without ALPN it is HTTP/1.1', async () => {
		const daemon = await start();
		assert.match(daemon.url, /^https:/);
		const curl = async (...args) => (await run('curl', ['-sS', '--cacert', files.cert, ...args])).stdout;
		for (const [option, version] of [['--http1.1', '1.1'], ['--http2', '2'], ['--no-alpn', '1.1']]) {
			const url = `${daemon.url}/v1/stream/${freshName()}`;
			const said = await curl(option, '-X', 'PUT', '-D', '-', '-w', '%{http_code} %{http_version}', '-H', 'content-type: text/plain', url);
			assert.match(said, new RegExp(`201 ${version.replace('.', '\\.')}$`));
			assert.match(said, /^location: https:/im);
			await curl(option, '-H', 'content-type: text/plain', '-d', 'some text', url);
			assert.equal(await curl(option, `${url}?offset=-1`), 'some text');
		}
		await daemon.stop();
	});

	it('a listener with protocol http1 does not offer HTTP/2', async () => {
		const daemon = await start((config) => (config.frontends[0].listen[0].protocol = 'http1'));
		const both = await dial(daemon, files, { ALPNProtocols: ['h2', 'http/1.1'] });
		assert.equal(both.alpnProtocol, 'http/1.1');
		both.destroy();
		await assert.rejects(dial(daemon, files, { ALPNProtocols: ['h2'] }), /no application protocol/i);
		await daemon.stop();
	});

	it('bodies of 8 MiB go through unchanged both ways, over both versions', async () => {
		const daemon = await start();
		for (const via of ['HTTP/1.1', 'h2c']) {
			const client = connect(via, daemon.url, files);
			const stream = await new Stream(client, freshName()).create({ type: OCTETS });
			const body = randomBytes(8 << 20);
			assert.equal((await stream.post(body, { type: OCTETS })).status, 204);
			assert.equal(digest((await stream.get({ offset: '-1' })).body), digest(body));
			client.close();
		}
		await daemon.stop();
	});

	it('a live reader gets what others append, over both versions', async () => {
		const daemon = await start();
		const writer = connect('HTTP/1.1', daemon.url, files);
		const stream = await new Stream(writer, freshName()).create({ type: 'text/plain' });
		for (const via of ['HTTP/1.1', 'h2c']) {
			const client = connect(via, daemon.url, files);
			const live = await client.open('GET', `${stream.path}?offset=now&live=sse`);
			let text = String(await live.chunk());
			assert.match(text, /^event: control\n/);
			await stream.post(`for ${via}`);
			while (!text.includes(`data:for ${via}\n`)) text += await live.chunk();
			client.close();
		}
		writer.close();
		await daemon.stop();
	});

	it('versions before 1.2, before min_version, unknown protocols and h2 without ALPN are refused', async () => {
		const daemon = await start(withTls(files, { min_version: '1.3' }));
		await assert.rejects(dial(daemon, files, { maxVersion: 'TLSv1.2' }), /alert protocol version/);
		await assert.rejects(dial(daemon, files, { ALPNProtocols: ['spdy/1'] }), /alert no application protocol/);
		const socket = await dial(daemon, files, { ALPNProtocols: ['h2', 'http/1.1'] });
		assert.deepEqual([socket.alpnProtocol, socket.getProtocol()], ['h2', 'TLSv1.3']);
		socket.destroy();
		const sniff = await dial(daemon, files);
		let answer = '';
		sniff.on('data', (data) => (answer += data.toString('latin1')));
		sniff.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
		await within('its end', sniff.ended);
		assert.match(answer, /^HTTP\/1\.1 (400|501|505) /);
		await daemon.stop();
		const usual = await start();
		await assert.rejects(dial(usual, files, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
			/alert protocol version/);
		const old = await dial(usual, files, { maxVersion: 'TLSv1.2' });
		assert.match(old.getCipher().name, /^ECDHE-ECDSA-(AES\d+-GCM|CHACHA20)/);
		old.destroy();
		await usual.stop();
	});

	it('sessions are resumed by ticket, and close_notify ends what is complete', async () => {
		const daemon = await start((config) => (config.frontends[0].workers = 1));
		const first = await dial(daemon, files);
		const ticket = once(first, 'session');
		first.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
		first.resume();
		const [session] = await within('a ticket', ticket);
		await within('the end', once(first, 'end')); // a FIN alone would be an error here
		const second = await dial(daemon, files, { session });
		assert.ok(second.isSessionReused());
		second.destroy();
		await daemon.stop();
	});

	it('HTTP without TLS is told so; garbage and half a handshake end by themselves, and nobody else notices', async () => {
		const daemon = await start((config) => (config.limits = { header_timeout: '1s' }));
		const workers = daemon.workers();
		const plain = new Raw(daemon.url);
		await plain.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
		assert.match(await plain.end(), /^HTTP\/1\.1 400 [^]*https\.\n$/);
		const greeting = await clientHello();
		const strange = [randomBytes(600), Buffer.from('\x16\x03\x01\x40\x00garbage', 'latin1'), greeting.subarray(0, 40), greeting,
			Buffer.concat([greeting, randomBytes(400)]), Buffer.alloc(0)];
		const raws = strange.flatMap((bytes) => [bytes, bytes]).map((bytes) => [new Raw(daemon.url), bytes]);
		for (const [raw, bytes] of raws) await raw.send(bytes.toString('latin1'));
		const client = connect('h2c', daemon.url, files);
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		for (const [raw] of raws) await raw.end('the end of a strange connection');
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		client.close();
		assert.deepEqual(daemon.workers(), workers);
		assert.doesNotMatch(daemon.text(), /tls_failed/, 'only at debug');
		await daemon.stop();
	});

	it('a client that stops reading holds little memory and is cut after send_timeout; one that goes on gets everything', async () => {
		const daemon = await start((config) => {
			config.limits = { send_timeout: '2s' };
			config.frontends[0].workers = 1;
			config.frontends[0].plugins[0].read_chunk = '64M';
		});
		const client = connect('HTTP/1.1', daemon.url, files);
		const stream = await new Stream(client, freshName()).create({ type: OCTETS });
		for (let n = 0; n < 24; n++) await stream.append(Buffer.alloc(1 << 20, 65), { type: OCTETS });
		const ask = `GET ${stream.path}?offset=-1 HTTP/1.1\r\nhost: a\r\n\r\n`;
		const before = daemon.memory(daemon.workers()[0]);
		const stuck = await Promise.all(Array.from({ length: 10 }, () => dial(daemon, files)));
		for (const socket of stuck) socket.pause().write(ask);
		await until('their connections to be cut', () => stuck.every((socket) => !daemon.workerOf(socket)), { limit: 60_000 });
		// A sanitizer keeps what was freed; ten answers would be 240 MiB.
		if (!sanitized) assert.ok(daemon.memory(daemon.workers()[0]) - before < 40 << 20, 'nothing was buffered for them');
		stuck.forEach((socket) => socket.destroy());
		assert.equal((await stream.get({ offset: '-1' })).body.length, 24 << 20);
		client.close();
		await daemon.stop();
	});

	it('a WebSocket: messages of all sizes both ways, 20 MB of them, closing with its code', async () => {
		const daemon = await start((config) => hello(config));
		const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/echo`, { ca: files.ca });
		const inbox = [];
		ws.on('message', (data) => inbox.push(data));
		await within('the handshake', once(ws, 'open'));
		// The plugin ends who has more than 1 MiB of echoes unread (1008): no more than that is ever under way.
		const sent = [1, 125, 126, 4096, 16384, 65536, 200_000, 900_000].flatMap((n) => [randomBytes(n), randomBytes(n)]);
		for (const [n, message] of sent.entries()) {
			ws.send(message);
			if (message.length > 100_000) await until('its echo', () => inbox.length === n + 1);
		}
		await until('the echoes', () => inbox.length === sent.length);
		sent.forEach((message, n) => assert.ok(message.equals(inbox[n]), `message ${n}`));
		for (let n = 0; n < 40; n++) {
			ws.send(Buffer.alloc(500_000, n));
			await until('the echo before it', () => inbox.length >= sent.length + n);
		}
		await until('all echoes', () => inbox.length === sent.length + 40);
		const closed = once(ws, 'close');
		ws.close(1000);
		assert.equal((await within('the close', closed))[0], 1000);
		await daemon.stop();
	});

	it('WebSockets: refusals are HTTP answers; a vanished client is forgotten; a drain closes with 1001', async () => {
		const daemon = await start((config) => hello(config));
		const refused = new WebSocket(`${daemon.url.replace('http', 'ws')}/nowhere`, { ca: files.ca });
		refused.on('error', () => {});
		const [, answer] = await within('the refusal', once(refused, 'unexpected-response'));
		assert.equal(answer.statusCode, 404);
		answer.destroy();
		const open = async () => {
			const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/echo`, { ca: files.ca });
			await within('the handshake', once(ws, 'open'));
			return ws;
		};
		const gone = await open(), stays = await open();
		const { localPort, remotePort } = gone._socket;
		gone.terminate();
		await until('the server to close it', () => !daemon.workerOf({ localPort, remotePort }));
		const closed = once(stays, 'close');
		await daemon.reload();
		assert.equal((await within('the close', closed))[0], 1001);
		await daemon.stop();
	});

	it('three reloads with new certificates under load: not one request fails, and the new one is shown', async () => {
		const all = [files, newCertificate('second'), newCertificate('third')];
		const ca = all.map((one) => one.ca);
		const used = { cert: join(temporary(), 'cert.pem'), key: join(temporary(), 'key.pem') };
		const install = (from) => ['cert', 'key'].forEach((which) => copyFileSync(from[which], used[which]));
		install(files);
		const daemon = await startSluice({ config: withTls(used) });
		const load = await startLoad(daemon.url, { ca });
		for (const next of [...all.slice(1), files]) {
			await load.progress();
			install(next);
			assert.match(await daemon.reload(), /reloaded .*listen=https:/);
			const socket = await dial(daemon, { ca });
			assert.equal(socket.getPeerCertificate().subject.CN, next.name);
			socket.destroy();
			await load.progress();
		}
		await load.stop();
		assert.deepEqual(load.trouble, []);
		await load.verify();
		load.close();
		await daemon.stop();
	});

	it('a broken file keeps the old configuration and certificate, and says why', async () => {
		const used = { ...newCertificate(), ca: undefined };
		const ca = readFileSync(used.cert, 'utf8');
		const daemon = await startSluice({ config: withTls(used), allow: [/config_error|reload_failed/] });
		writeFileSync(used.cert, 'not a certificate');
		const from = daemon.mark();
		assert.match(await daemon.reload(), /reload_failed/);
		assert.match(daemon.lines.slice(from).join('\n'), /sluice\.yaml:\d+:\d+: frontends\[0\]\.listen\[0\]\.tls\.cert: \S+ is not a certificate in PEM/);
		(await dial(daemon, { ca })).destroy();
		await daemon.stop();
	});

	it('the check says what is wrong with certificate and key, and warns of what only an operator can judge', async () => {
		const other = newCertificate('other'), folder = temporary();
		const write = (name, text) => (writeFileSync(join(folder, name), text, { mode: 0o600 }), join(folder, name));
		const check = async (cert, key) => {
			const config = baseConfig();
			withTls({ cert, key })(config);
			const result = await runSluiced(['-t', '-c', write('sluice.yaml', toYaml(config))]);
			return `${result.code} ${result.err}${result.out}`;
		};
		const { cert, key } = files;
		assert.match(await check(cert, key), /^0 .*ok\n$/);
		for (const [c, k, expected] of [
			[join(folder, 'none.pem'), key, /^1 .*:7:17: frontends\[0\]\.listen\[0\]\.tls\.cert: \S+none\.pem cannot be read: No such file/],
			['cert.pem', key, /\.tls\.cert: expected an absolute path, got "cert\.pem"/],
			[folder, key, /\.tls\.cert: \S+ is not a file/],
			[write('text', 'x'), key, /\.tls\.cert: \S+text is not a certificate in PEM/],
			[key, key, /\.tls\.cert: \S+ is not a certificate in PEM/],
			[write('half', `${files.ca}-----BEGIN CERTIFICATE-----\nMII=\n`), key, /\.tls\.cert: \S+half is damaged behind its first certificate/],
			[cert, other.key, /^1 .*:8:16: frontends\[0\]\.listen\[0\]\.tls\.key: \S+ is not the key of the certificate in \S+/],
			[cert, encryptedKey(files), /\.tls\.key: \S+ is encrypted, .*without a passphrase/],
			[cert, cert, /\.tls\.key: \S+ is not a private key in PEM/],
		])
			assert.match(await check(c, k), expected);
		assert.match(await check(expiredCertificate(files), key), /certificate_expired file=\S+expired\.pem[^]*ok\n$/);
		const open = write('open.pem', readFileSync(key));
		chmodSync(open, 0o644);
		assert.match(await check(cert, open), /key_readable file=\S+open\.pem mode=0644 action="every user can read it: chmod o-rwx [^]*ok\n$/);
		for (const [mode, expected] of [
			[0o640, /^0 \S+: ok\n$/],
			[0o660, /^0 \S+: ok\n$/],
			[0o602, /^1 .*:8:16: frontends\[0\]\.listen\[0\]\.tls\.key: \S+open\.pem may be written by everybody: chmod o-w/],
		]) {
			chmodSync(open, mode);
			assert.match(await check(cert, open), expected, mode.toString(8));
		}
	});

	it('a key that everybody can read is warned of once, however many listeners and workers have it', async () => {
		const open = join(temporary(), 'open.pem');
		writeFileSync(open, readFileSync(files.key));
		chmodSync(open, 0o644);
		const listener = { address: '127.0.0.1:0', tls: { cert: files.cert, key: open } };
		const daemon = await startSluice({
			config: (config) => {
				config.frontends[0].listen = [listener, listener];
				config.frontends.push({ ...config.frontends[0], name: 'other' });
			},
		});
		assert.equal(daemon.text().match(/key_readable /g).length, 1);
		await daemon.reload();
		assert.equal(daemon.text().match(/key_readable /g).length, 2);
		await daemon.stop();
	});
});

// The first bytes of a handshake, as a client sends them.
async function clientHello() {
	const { createServer } = await import('node:net');
	const server = createServer();
	await once(server.listen(0, '127.0.0.1'), 'listening');
	const client = tls.connect({ port: server.address().port, host: '127.0.0.1' });
	client.on('error', () => {});
	const [socket] = await once(server, 'connection');
	const [bytes] = await once(socket, 'data');
	client.destroy();
	socket.destroy();
	server.close();
	return bytes;
}
