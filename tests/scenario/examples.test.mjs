// The examples of the plugin guide do what it says of them; a plugin that was built against the first header still works; and
// one that misbehaves costs what the guide's table says, and no more.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { ctlFor } from '../lib/ctl.mjs';
import { newCertificate } from '../lib/certificate.mjs';
import { runSluiced, startSluice, temporary } from '../lib/sluice.mjs';
import { until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const TOP = join(import.meta.dirname, '..', '..');
const GUIDE = join(TOP, 'examples', 'guide');
const STREAMS = { plugin: 'streams', mount: '/v1/stream' };

function build(name, source, include = join(TOP, 'include')) {
	const object = join(temporary('sluice-plugin'), `${name}.so`);
	execFileSync('cc', ['-std=gnu11', '-Wall', '-Wextra', '-Werror', `-I${include}`, '-fPIC', '-fvisibility=hidden', '-shared',
		'-Wl,-z,defs', '-o', object, source]);
	return object;
}

// A connection that speaks lines.
class Lines {
	constructor(url) {
		const { hostname, port } = new URL(url);
		this.socket = dial(Number(port), hostname);
		this.text = '';
		this.socket.setEncoding('utf8').on('data', (data) => (this.text += data));
		this.socket.on('error', () => {});
		this.ended = new Promise((done) => this.socket.once('close', done));
	}

	say(text) {
		this.socket.write(text);
		return this;
	}

	lines(n) {
		return until(`${n} lines`, () => this.text.split('\n').length > n && this.text.split('\n').slice(0, n));
	}
}

describe('the examples of the guide', { concurrency: 2 }, () => {
	let greet, note, line;
	before(() => {
		[greet, note, line] = ['greet', 'note', 'line'].map((name) => build(name, join(GUIDE, `${name}.c`)));
	});

	it('greet.c: a route, and the guide shows it as it is', async () => {
		assert.ok(readFileSync(join(TOP, 'docs', 'plugin-guide.md'), 'utf8').includes(readFileSync(join(GUIDE, 'greet.c'), 'utf8')));
		const daemon = await startSluice({ config: (config) => (config.frontends[0].plugins = [{ plugin: greet }]) });
		assert.equal(await (await fetch(`${daemon.url}/greet/J%C3%BCrgen`)).text(), 'Hello, Jürgen!\n');
		assert.equal(await (await fetch(`${daemon.url}/greet/${'x'.repeat(1000)}`)).text(), `Hello, ${'x'.repeat(200)}!\n`);
		assert.equal((await fetch(`${daemon.url}/greet/a`, { method: 'POST', body: 'x' })).status, 405);
		await daemon.stop();
	});

	it('note.c: a WebSocket whose messages are in the stream when they are confirmed', async () => {
		const daemon = await startSluice({ config: (config) => (config.frontends[0].plugins = [{ plugin: note }, STREAMS]) });
		const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/note/diary/monday`);
		const inbox = [];
		ws.on('message', (data) => inbox.push(String(data)));
		const closed = once(ws, 'close');
		await within('the handshake', once(ws, 'open'));
		for (const text of ['one', 'two', 'three']) ws.send(text);
		await until('three confirmations', () => inbox.length === 3);
		assert.deepEqual(inbox, ['kept 8', 'kept 16', 'kept 26']);
		assert.equal(await (await fetch(`${daemon.url}/v1/stream/diary/monday`)).text(), 'onetwothree');
		ws.close();
		await within('the close', closed);
		await fetch(`${daemon.url}/v1/stream/other`, { method: 'PUT', headers: { 'content-type': 'application/json' } });
		const refused = new WebSocket(`${daemon.url.replace('http', 'ws')}/note/other`);
		refused.once('open', () => refused.send('four'));
		const [code, reason] = await within('the refusal', once(refused, 'close'));
		assert.equal(code, 4000);
		assert.match(String(reason), /another configuration/);
		await daemon.stop();
	});

	const withLine = (config) => {
		const [{ listen }] = config.frontends;
		config.frontends[0].listen = [...listen, 'localhost:0'];
		config.frontends[0].plugins = [STREAMS, { plugin: line, listen: 'localhost:0' }];
	};

	it('line.c: a listener that the plugin claims speaks its protocol, the other one HTTP', async () => {
		const daemon = await startSluice({ config: withLine });
		const [http, raw] = daemon.urls;
		const client = new Lines(raw).say('log first\nlog sec').say('ond\nnonsense\n');
		const answers = await client.lines(3);
		assert.deepEqual(answers, ['ok 10', 'ok 21', 'error say: NAME TEXT']);
		assert.equal(await (await fetch(`${http}/v1/stream/log`)).text(), 'firstsecond');
		const greedy = new Lines(raw).say('x'.repeat(5000));
		await within('the end of a line without end', greedy.ended);
		client.socket.end('log third\n'); // whoever says no more is still answered
		await within('the end', client.ended);
		assert.match(client.text, /ok 31\n$/);
		await Promise.all(Array.from({ length: 40 }, async (_, at) => {
			const each = new Lines(raw).say(`many ${at}\n`.repeat(25));
			assert.ok((await each.lines(25)).every((text) => /^ok \d+$/.test(text)));
			each.socket.destroy();
		}));
		const all = await (await fetch(`${http}/v1/stream/many`)).text();
		assert.equal(all.length, 25 * (10 + 2 * 30));
		await daemon.stop();
	});

	it('line.c: a reload hands the listener on; who is idle is let go, who is in the middle is answered, an end closes it', async () => {
		const daemon = await startSluice({ config: withLine });
		const raw = daemon.urls[1];
		const idle = new Lines(raw).say('log a\n');
		const halfway = new Lines(raw).say('log b\nlog ');
		await Promise.all([idle.lines(1), halfway.lines(1)]);
		const from = daemon.mark();
		daemon.signal('SIGHUP');
		await within('the end of the idle one', idle.ended);
		assert.deepEqual(await new Lines(raw).say('log c\n').lines(1), ['ok 18']);
		halfway.say('d\n');
		await within('the end of the other', halfway.ended);
		assert.match(halfway.text, /^ok \d+\nok 24\n$/);
		await daemon.waitLine(/generation number=1 state=gone/, { from });
		const last = new Lines(raw).say('log e\n');
		await last.lines(1);
		const ended = daemon.stop();
		await within('the end of the last', last.ended);
		await ended;
		const late = new Lines(raw);
		await within('a refusal', late.ended);
		assert.equal(late.text, '');
	});

	it('line.c: a listener that the frontend has not, or that has TLS, is not served', async () => {
		const { cert, key } = newCertificate();
		for (const [listen, status] of [[['127.0.0.1:0'], -6], [['127.0.0.1:0', { address: 'localhost:0', tls: { cert, key } }], -3]]) {
			const daemon = await startSluice({
				ready: false,
				allow: [/no_listener|plugin line|failed|child|fatal/],
				config: (config) => (config.frontends[0] = { name: 'a', listen, workers: 1, plugins: [{ plugin: line, listen: 'localhost:0' }] }),
			});
			const end = await within('the end', daemon.exited);
			assert.notEqual(end.code, 0);
			assert.match(daemon.text(), /line: no_listener address=localhost:0/);
			assert.match(daemon.text(), new RegExp(`plugin line did not start \\(status ${status}\\)`));
			daemon.killAll();
			daemon.cleanUp();
		}
	});
});

describe('a plugin of version 1.0 of the ABI', () => {
	it('loads and works', async () => {
		const include = temporary();
		mkdirSync(join(include, 'sluice'));
		copyFileSync(join(TOP, 'tests', 'abi', 'plugin-1.0.h'), join(include, 'sluice', 'plugin.h'));
		const plugins = ['hello/hello.c', 'guide/note.c', 'guide/line.c'].map((file) =>
			build(file.slice(6, -2), join(TOP, 'examples', file), include));
		const daemon = await startSluice({
			config: (config) => {
				config.frontends[0].listen.push('localhost:0');
				config.frontends[0].plugins = [STREAMS, { plugin: plugins[0] }, { plugin: plugins[1] }, { plugin: plugins[2], listen: 'localhost:0' }];
			},
		});
		const ctl = ctlFor(daemon);
		const listed = await ctl.json('plugins');
		assert.deepEqual(listed.flat().filter(({ name }) => name !== 'streams').map(({ name, abi }) => [name, ...abi]),
			[['hello', 1, 0], ['note', 1, 0], ['line', 1, 0]]);
		assert.equal(await (await fetch(`${daemon.url}/hello/you`)).text(), 'Hello, you!\n');
		for (const [path, sent, back] of [['echo', 'x', 'x'], ['note/n', 'first', 'kept 10']]) {
			const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/${path}`);
			await within('the handshake', once(ws, 'open'));
			ws.send(sent);
			const [data] = await within('an answer', once(ws, 'message'));
			assert.equal(String(data), back);
			ws.close();
			await within('the close', once(ws, 'close'));
		}
		assert.deepEqual(await new Lines(daemon.urls[1]).say('n second\n').lines(1), ['ok 21']);
		await daemon.stop();
	});
});

// ---- plugins that misbehave ----

const BAD = (name, { top = '', configure = '', start = '', request = '', drain = '' }) => `
#include <sluice/plugin.h>
#include <stdlib.h>
#include <unistd.h>
static const struct sluice_host *host;
static struct sluice_ctx *ctx;
${top}
static void on_request(void *self, struct sluice_http_req *req)
{ (void)self; ${request} host->http->reply(req, 200, NULL, 0, (struct sluice_slice){"fine", 4}); }
static int on_configure(struct sluice_ctx *c, const struct sluice_host *h, const struct sluice_conf *o, void **self)
{ (void)o; ctx = c; host = h; *self = &ctx; ${configure} return 0; }
static int on_start(void *self)
{ static const struct sluice_route r = {.size = sizeof r, .methods = "GET", .pattern = "/x", .action = "read", .request = on_request};
  (void)self; ${start} return host->http->route(ctx, &r); }
static void on_drain(void *self, uint64_t deadline) { (void)self; (void)deadline; ${drain} }
SLUICE_PLUGIN = {SLUICE_HEAD, .needs = SLUICE_CAP_HTTP, .name = "${name}", .version = "1", .default_mount = "/bad",
	.configure = on_configure, .start = on_start, .drain = on_drain};
`;

describe('a plugin that misbehaves', { concurrency: 2 }, () => {
	const bad = (name, what) => {
		const source = join(temporary('sluice-plugin'), `${name}.c`);
		writeFileSync(source, BAD(name, what));
		return build(name, source);
	};
	const beside = (plugin, frontend = {}) => (config) => {
		config.frontends.push({ name: 'bad', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin }], ...frontend });
		config.limits = { drain_timeout: '300ms' };
	};
	const serves = async (url) => assert.equal((await fetch(`${url}/v1/stream/${Math.random()}`, { method: 'PUT' })).status, 201);

	for (const [when, what] of [
		['its constructor', { top: '__attribute__((constructor)) static void early(void) { abort(); }' }],
		['configure()', { configure: 'abort();' }],
	])
		it(`crashes in ${when}: the check says so at its line, and the supervisor is not touched`, async () => {
			const file = join(temporary(), 'sluice.yaml');
			const config = { data_dir: 'temporary', frontends: [] };
			beside(bad('early', what))(config);
			delete config.limits;
			writeFileSync(file, toYaml(config));
			const result = await runSluiced(['-t', '-c', file]);
			assert.equal(result.code, 1);
			assert.match(result.err + result.out, /sluice\.yaml:\d+:\d+: .*a plugin brought its check down: signal 6/);
		});

	it('crashes in start(): it is tried again, more and more rarely, and nothing is called ready; an end is obeyed', async () => {
		const daemon = await startSluice({ ready: false, allow: [/child|bad/], config: beside(bad('start', { start: 'abort();' })) });
		await daemon.waitLine(/child_throttled name=bad/);
		assert.doesNotMatch(daemon.text(), /\bready\b.*\blisten=/);
		await daemon.stop();
	});

	it('crashes in a request: its worker comes back, and other frontends and the writer do not notice', async () => {
		const daemon = await startSluice({ allow: [/child|bad/], config: beside(bad('request', { request: 'abort();' })) });
		const [good, url] = daemon.urls;
		const writer = daemon.writer();
		const others = daemon.children().filter(({ program }) => program === 'sluice-frontend').length;
		const from = daemon.mark();
		await assert.rejects(fetch(`${url}/bad/x`));
		await serves(good);
		await daemon.waitLine(/child_exit .*signal=6/, { from });
		await until('its successor', async () => (await fetch(`${url}/nothing`).catch(() => null))?.status === 404);
		assert.equal(daemon.writer(), writer);
		assert.equal(daemon.workers().length, others);
		await serves(good);
		await daemon.stop();
	});

	it('never says that it is drained: the worker ends when the time for that is over', async () => {
		const daemon = await startSluice({ allow: [/child|drain/], config: beside(bad('undrained', {})) });
		const from = daemon.mark();
		daemon.signal('SIGHUP');
		await daemon.waitLine(/drain_deadline/, { from });
		await daemon.waitLine(/generation number=1 state=gone/, { from });
		assert.equal(await (await fetch(`${daemon.urls[1]}/bad/x`)).text(), 'fine');
		await daemon.stop();
	});

	it('blocks the loop of its worker: that one is killed and replaced', async () => {
		const daemon = await startSluice({ allow: [/child|ping|hung/], config: beside(bad('blocks', { request: 'for (;;) pause();' })) });
		const from = daemon.mark();
		await assert.rejects(fetch(`${daemon.urls[1]}/bad/x`));
		await daemon.waitLine(/child_exit .*signal=/, { from });
		await until('its successor', async () => (await fetch(`${daemon.urls[1]}/nothing`).catch(() => null))?.status === 404);
		await serves(daemon.url);
		await daemon.stop();
	});
});
