// SIGHUP: a new configuration takes over without one refused request, and a bad one changes nothing.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, renameSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import {
	END_HEADERS,
	END_STREAM,
	GOAWAY,
	HEADERS,
	PREFACE,
	SETTINGS,
	frame,
	frames,
	requestHeaders,
} from '../lib/h2raw.mjs';
import { startLoad } from '../lib/load.mjs';
import { Raw } from '../lib/raw.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';

describe('reload', { concurrency: 2 }, () => {
	it('five reloads under load refuse not one request, on keep-alive, one-shot and HTTP/2 connections', async () => {
		const daemon = await startSluice();
		const load = await startLoad(daemon.url);
		for (let round = 0; round < 5; round++) {
			await load.progress();
			const before = daemon.workers();
			const workers = 1 + (round % 3);
			assert.match(
				await daemon.reload({ config: (config) => (config.frontends[0].workers = workers) }),
				/reloaded/,
			);
			await load.progress();
			await until('the old workers to leave', () => {
				const now = daemon.workers();
				return now.length === workers && !now.some((pid) => before.includes(pid));
			});
		}
		await load.stop();
		assert.deepEqual(load.trouble, []);
		await load.verify();
		load.close();
		await daemon.stop();
	});

	it('the writer survives a reload; a setting that needs it restarts the writer only, without a refused request', async () => {
		const daemon = await startSluice();
		const writer = daemon.writer();
		await daemon.reload();
		assert.equal(daemon.writer(), writer);
		const load = await startLoad(daemon.url);
		await load.progress();
		await daemon.reload({ config: (config) => (config.store = { synchronous: 'normal' }) });
		await until('another writer', () => daemon.writer() && daemon.writer() !== writer);
		await load.progress();
		await load.stop();
		assert.deepEqual(load.trouble, []);
		await load.verify();
		load.close();
		await daemon.stop();
	});

	it('a bad file is reported line by line and the old configuration stays in force', async () => {
		const daemon = await startSluice({ allow: [/config_error|reload_failed/] });
		const workers = daemon.workers();
		for (const yaml of [
			'frontends: [\n',
			`data_dir: temporary\nfrontends:\n  - name: a\n    listen: [127.0.0.1:0]\n    plugins: [{ plugin: nonesuch }]\n`,
		]) {
			const from = daemon.mark();
			assert.match(await daemon.reload({ yaml }), /reload_failed/);
			assert.match(daemon.lines.slice(from).join('\n'), /sluice\.yaml:\d+:\d+: /);
		}
		assert.deepEqual(daemon.workers(), workers);
		const client = connect('HTTP/1.1', daemon.url);
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		client.close();
		await daemon.reload();
		await daemon.stop();
	});

	it('a changed mode of a Unix socket is in force after the reload, also when somebody else has changed it; not after one that fails', async () => {
		const path = join(temporary(), 'socket');
		const mode = () => statSync(path).mode & 0o7777;
		const listens = (value) => (config) => (config.frontends[0].listen[1] = { address: `unix:${path}`, mode: value });
		const daemon = await startSluice({ config: listens('0660'), allow: [/config_error|reload_failed/] });
		const held = net.connect(path);
		await once(held, 'connect');
		assert.match(await daemon.reload({ config: listens('432') }), /reload_failed/);
		assert.equal(mode(), 0o660);
		await daemon.reload({ config: listens('0600') });
		assert.equal(mode(), 0o600);
		await daemon.waitLine(/listener_mode listen=unix:\S+socket mode=0600 before=0660/);
		chmodSync(path, 0o666);
		await daemon.reload();
		assert.equal(mode(), 0o600);
		held.end('GET /v1/stream/none HTTP/1.0\r\n\r\n');
		let text = '';
		for await (const part of held) text += part;
		assert.match(text, /^HTTP\/1\.1 404 /, 'a connection from before is served');

		const from = daemon.mark();
		renameSync(path, `${path}.moved`);
		writeFileSync(path, 'of somebody else', { mode: 0o640 });
		assert.match(await daemon.reload(), /reloaded/);
		assert.match(daemon.lines.slice(from).join('\n'), /<4>\S* ?listener_mode listen=\S+ mode=0600 error="another file is there" action=/);
		assert.equal(mode(), 0o640, 'what is not ours is left alone');
		await daemon.stop();
		assert.ok(existsSync(path));
	});

	it('an address that cannot be bound leaves the old configuration in force', async () => {
		const daemon = await startSluice({ allow: [/config_error|reload_failed/] });
		const port = new URL(daemon.url).port;
		assert.match(
			await daemon.reload({
				config: (config) =>
					config.frontends.push({
						name: 'other',
						listen: [`127.0.0.1:${port}`],
						workers: 1,
						plugins: [{ plugin: 'streams' }],
					}),
			}),
			/reload_failed/,
		);
		const client = connect('HTTP/1.1', daemon.url);
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		client.close();
		await daemon.stop();
	});

	it('a frontend that is added is served, one that is removed is refused, the rest goes on', async () => {
		const daemon = await startSluice();
		const [first] = daemon.urls;
		const added = await daemon.reload({
			config: (config) =>
				config.frontends.push({
					name: 'other',
					listen: ['127.0.0.1:0'],
					workers: 1,
					plugins: [{ plugin: 'streams' }],
				}),
		});
		const urls = [...added.matchAll(/listen=(\S+)/g)].map((match) => match[1]);
		assert.equal(urls[0], first, 'the address that stays keeps its port');
		const name = freshName();
		const [a, b] = urls.map((url) => connect('HTTP/1.1', url, { keepAlive: false }));
		await new Stream(a, name).create({ body: 'x' });
		assert.equal((await new Stream(b, name).get()).text, 'x');
		await daemon.reload({ config: (config) => config.frontends.pop() });
		await until(
			'the removed address to be closed',
			() =>
				b.request('GET', '/').then(
					() => false,
					(error) => error.code === 'ECONNREFUSED',
				),
			{ step: 50 },
		);
		assert.equal((await new Stream(a, name).get()).text, 'x');
		a.close();
		b.close();
		await daemon.stop();
	});

	it('new options of a plugin are in force for new connections', async () => {
		const daemon = await startSluice({
			config: (config) => (config.frontends[0].plugins[0].max_body = '4M'),
		});
		const body = Buffer.alloc(2 << 20, 65);
		const name = freshName();
		const before = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(before, name).create();
		assert.equal((await s.post(body)).status, 204);
		before.close();
		await daemon.reload({ config: (config) => (config.frontends[0].plugins[0].max_body = '1M') });
		const after = connect('HTTP/1.1', daemon.url);
		assert.equal((await s.on(after).post(body)).status, 413);
		after.close();
		await daemon.stop();
	});

	it('several SIGHUPs in a row end in one state that is ready', async () => {
		// A stop in the middle of one more reload kills what that has started.
		const daemon = await startSluice({ allow: [/child_exit name=(check|streams).* signal=9 /] });
		for (let n = 0; n < 8; n++) daemon.signal('SIGHUP');
		await daemon.waitLine(/reloaded generation=/);
		await daemon.reload({ config: (config) => (config.frontends[0].workers = 3) });
		const count = (pattern) => (daemon.text().match(pattern) ?? []).length;
		await until('every reload that began to be done, and three workers', () => {
			const done = count(/ reload file=/g) === count(/ reloaded generation=/g);
			return done && daemon.workers().length === 3;
		});
		await daemon.stop();
	});

	it('live readers are released in order: long-poll 204, SSE after a control event, HTTP/2 finishes its streams', async () => {
		const daemon = await startSluice({
			config: (config) => (config.frontends[0].plugins[0].long_poll_timeout = '10m'),
		});
		for (const via of ['HTTP/1.1', 'h2c']) {
			const client = connect(via, daemon.url);
			const s = await new Stream(client, freshName()).create({ type: JSON_TYPE, body: '1' });
			const reader = await s.sse('-1');
			await reader.upTo();
			const poll = s.poll('now');
			const parked = await s.sse('now'); // behind the long-poll: when this one is served, that one waits
			await parked.next();
			await daemon.reload();
			const answer = await within('the long-poll', poll);
			assert.equal(answer.status, 204);
			assert.equal(
				answer.headers['stream-next-offset'],
				(await s.head()).headers['stream-next-offset'],
			);
			for (const each of [reader, parked]) {
				const rest = await each.rest();
				assert.ok(rest.length === 0 || rest.at(-1).type === 'control');
			}
			client.close();
		}
		await daemon.stop();
	});

	it('an HTTP/2 client that is told to go still gets what it has sent meanwhile; then comes the last word and the end', async () => {
		const daemon = await startSluice();
		const s = new Stream(null, freshName());
		const raw = new Raw(daemon.url);
		const get = (stream) => frame(HEADERS, END_HEADERS | END_STREAM, stream, requestHeaders('GET', s.path));
		const goaways = () =>
			frames(raw.text)
				.filter((each) => each.type === GOAWAY)
				.map((each) => each.payload.readUInt32BE(0));
		const answers = (stream) =>
			frames(raw.text).filter((each) => each.type === HEADERS && each.stream === stream);
		await raw.send(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), get(1)]).toString('latin1'));
		await raw.until(() => answers(1).length > 0, 'the first answer');
		await daemon.reload();
		await raw.until(() => goaways().length > 0, 'the notice');
		assert.equal(goaways()[0], 0x7fffffff, 'the notice refuses nothing yet');
		await raw.send(get(3).toString('latin1'));
		await raw.until(() => answers(3).length > 0, 'the answer after the notice');
		await raw.end();
		assert.equal(goaways().at(-1), 3);
		raw.close();
		await daemon.stop();
	});

	it('an idle keep-alive connection of an old worker has its next request answered, then it is closed', async () => {
		const daemon = await startSluice();
		const s = new Stream(null, freshName());
		const raw = new Raw(daemon.url);
		await raw.send(
			`PUT ${s.path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx`,
		);
		await raw.until(/^HTTP\/1\.1 201 [^]*\r\n\r\n/);
		raw.text = '';
		await daemon.reload();
		await raw.send(`GET ${s.path} HTTP/1.1\r\nHost: a\r\n\r\n`);
		const text = await raw.end();
		assert.match(text, /^HTTP\/1\.1 200 [^]*connection: close[^]*\r\n\r\nx$/i);
		raw.close();
		await daemon.stop();
	});
});
