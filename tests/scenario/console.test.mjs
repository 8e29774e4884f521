// The console plugin of a real server: health follows the store-writer, metrics are what Prometheus reads and cover every process, what
// the page is given is what its user may see, and nothing of it is markup.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { SseReader } from '../lib/live.mjs';
import { parse, sum } from '../lib/prometheus.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const withConsole = (options = {}, more) => (config) => {
	config.frontends[0].plugins.push({ plugin: 'console', ...options });
	more?.(config);
};
const bearer = (token) => ({ authorization: `Bearer ${token}` });
const hash = (token) => `sha256:${createHash('sha256').update(token).digest('hex')}`;
const path = (kind, name) => `/console/${kind}/${name.split('/').map(encodeURIComponent).join('/')}`;
const scrape = async (client) => parse((await client.request('GET', '/metrics')).text);
const FROM_PAGE = { 'x-sluice-console': '1' };
const NASTY = 'x/"><img src=x onerror=alert(1)>/<script>alert(2)</script>';

for (const via of ['http1', 'h2c'])
	describe(`console over ${via}`, () => {
		let daemon, client;
		before(async () => {
			daemon = await startSluice({ config: withConsole() });
			client = connect(via, daemon.url);
		});
		after(async () => {
			client?.close();
			await daemon?.stop();
		});
		const stream = (name = freshName('console')) => new Stream(client, name);

		it('health is 200 by both names', async () => {
			for (const name of ['/health', '/healthz']) {
				const answer = await client.request('GET', name);
				assert.equal(answer.status, 200);
				assert.deepEqual(answer.json(), { status: 'ok' });
				assert.equal(answer.headers['cache-control'], 'no-store');
			}
		});

		it('HEAD answers what GET does, without the body', async () => {
			const { name } = await stream().create({ headers: { 'content-type': 'text/plain' }, body: 'x' });
			const page = ['/', '/console/app.js', '/console/style.css'];
			const shown = ['/console/status', '/console/channels', '/console/streams?prefix=none', path('stream', name)];
			const others = ['/console', '/console/stream/none', '/console/streams?limit=many', '/console/other'];
			for (const target of ['/health', '/healthz', '/metrics', ...page, ...shown, ...others]) {
				const [get, head] = [await client.request('GET', target), await client.request('HEAD', target)];
				assert.equal(head.text, '', target);
				assert.equal(head.status, get.status, target);
				const told = ({ headers }) => {
					const { date, 'content-length': length, ...rest } = headers;
					return rest;
				};
				assert.deepEqual(told(head), told(get), target);
				// Counts and times of what is between the two may be a digit longer.
				if (!['/metrics', '/console/status'].includes(target))
					assert.equal(head.headers['content-length'], String(Buffer.byteLength(get.text)), target);
				else assert.ok(Number(head.headers['content-length']) > 0, target);
			}
			const live = await client.request('HEAD', path('tail', name));
			assert.deepEqual([live.status, live.headers.allow], [405, 'GET'], 'an answer without end has no head to ask for');
		});

		it('metrics parse strictly, cover every process, and count what was done', async () => {
			const before = await scrape(client);
			const one = await stream().create({ headers: { 'content-type': 'text/plain' } });
			for (let i = 0; i < 5; i++) assert.equal((await one.post('x')).status, 204);
			const answer = await client.request('GET', '/metrics');
			assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
			const now = parse(answer.text);
			assert.deepEqual(
				now.get('sluice_process_up').samples.map(({ labels, value }) => [labels.process, value]),
				[['sluiced', 1], ['store', 1], ['streams#1', 1], ['streams#2', 1]],
			);
			const grown = (name) => sum(now, name) - sum(before, name);
			assert.equal(grown('sluice_store_append_seconds_count'), 5);
			assert.equal(grown('sluice_streams_appends_total'), 5);
			assert.equal(grown('sluice_streams_creates_total'), 1);
			assert.ok(grown('sluice_http_requests_total') >= 7);
			await until('the writer tells of its commits', async () => {
				const later = await scrape(client);
				return sum(later, 'sluice_writer_commit_seconds_count') - sum(before, 'sluice_writer_commit_seconds_count') >= 6
					&& sum(later, 'sluice_writer_batch_operations_sum') - sum(before, 'sluice_writer_batch_operations_sum') >= 6;
			});
			assert.ok(sum(now, 'sluice_process_resident_memory_bytes', { process: 'store' }) > 1e6);
			assert.ok(!answer.text.includes(one.name), 'names of streams are no labels');
		});

		it('the page, its files and nothing else; a version that is known is not sent again', async () => {
			const page = await client.request('GET', '/');
			assert.equal(page.status, 200);
			assert.match(page.headers['content-type'], /^text\/html/);
			assert.match(page.headers['content-security-policy'], /^default-src 'none'; script-src 'self'; style-src 'self'/);
			assert.doesNotMatch(page.headers['content-security-policy'], /unsafe|\*/);
			assert.equal(page.headers['x-content-type-options'], 'nosniff');
			assert.equal(page.headers['x-frame-options'], 'DENY');
			for (const [, file] of page.text.matchAll(/(?:src|href)="(console\/[^"]+)"/g)) {
				const answer = await client.request('GET', `/${file}`);
				assert.equal(answer.status, 200, file);
				const again = await client.request('GET', `/${file}`, { headers: { 'if-none-match': answer.headers.etag } });
				assert.equal(again.status, 304, file);
			}
			assert.equal((await client.request('GET', '/console/other.js')).status, 404);
			assert.equal((await client.request('POST', '/')).status, 405);
		});

		it('processes and listeners are those of the server', async () => {
			const status = (await client.request('GET', '/console/status')).json();
			assert.deepEqual(status.processes.map(({ name, kind, state }) => [name, kind, state]), [
				['sluiced', 'supervisor', 'running'],
				['store', 'store', 'ready'],
				['streams#1', 'worker', 'ready'],
				['streams#2', 'worker', 'ready'],
			]);
			assert.equal(status.processes[0].pid, daemon.pid);
			assert.deepEqual(status.processes.slice(1).map(({ pid }) => pid).sort(), [daemon.writer(), ...daemon.workers()].sort());
			assert.deepEqual(status.listeners, [{ frontend: 'streams', url: daemon.url }]);
			assert.equal(status.config, daemon.file);
		});

		it('names and messages that look like markup are data, in lists, views and live views', async () => {
			const one = await stream(encodeURIComponent(NASTY)).create({ headers: { 'content-type': 'text/plain' } });
			const text = '<script>alert("3")</script>\u2028\nevent: end\ndata: {}\n\n';
			assert.equal((await one.post(text)).status, 204);
			const list = await client.request('GET', '/console/streams?prefix=x%2F');
			assert.doesNotMatch(list.text, /</);
			assert.equal(list.headers['content-type'], 'application/json');
			assert.deepEqual(list.json().streams.map(({ name }) => name), [NASTY]);
			const view = await client.request('GET', path('stream', NASTY));
			assert.doesNotMatch(view.text, /<|\u2028/);
			assert.equal(view.json().name, NASTY);
			assert.deepEqual(view.json().messages, [{ bytes: Buffer.byteLength(text), text, cut: false }]);
			const reader = new SseReader(await client.open('GET', path('tail', NASTY)));
			const event = await reader.next();
			assert.equal(event.type, 'message');
			assert.equal(JSON.parse(event.data).text, text);
			assert.equal((await reader.next()).type, 'offset');
			await reader.close();
			assert.equal((await one.send('DELETE')).status, 204);
		});

		it('the list comes in pages, by prefix, with sizes', async () => {
			const prefix = freshName('page');
			for (let i = 0; i < 5; i++) await stream(`${prefix}/${i}`).create({ headers: { 'content-type': 'text/plain' }, body: 'x'.repeat(i) });
			const names = [];
			for (let after = ''; after !== null;) {
				const page = (await client.request('GET', `/console/streams?${new URLSearchParams({ prefix, after, limit: 2 })}`)).json();
				names.push(...page.streams.map(({ name, bytes }) => [name, bytes]));
				after = page.next;
			}
			assert.deepEqual(names, [0, 1, 2, 3, 4].map((i) => [`${prefix}/${i}`, i]));
			for (const query of ['limit=0', 'limit=501', 'limit=a', 'prefix=%FF', 'prefix=a&prefix=b'])
				assert.equal((await client.request('GET', `/console/streams?${query}`)).status, 400, query);
		});

		it('only the page appends, and JSON to JSON', async () => {
			const one = await stream().create({ headers: { 'content-type': 'application/json' } });
			const append = (body, headers = FROM_PAGE) => client.request('POST', path('stream', one.name), { headers, body });
			assert.equal((await append('{"a":1}', {})).status, 403);
			assert.equal((await append(' {"a": 1}\n')).status, 204);
			assert.equal((await append('{"a":')).status, 400);
			assert.equal((await append('x'.repeat(70_000))).status, 413);
			assert.equal((await client.request('POST', path('stream', 'none'), { headers: FROM_PAGE, body: '1' })).status, 404);
			assert.deepEqual((await one.get({ offset: '-1' })).json(), [{ a: 1 }]);
		});

		it('a live view goes on where it was over the death of the writer, and ends with the stream', async () => {
			const one = await stream().create({ headers: { 'content-type': 'text/plain' } });
			const reader = new SseReader(await client.open('GET', path('tail', one.name)));
			const next = async () => {
				for (;;) {
					const event = await reader.next();
					if (event.type !== 'offset') return [event.type, JSON.parse(event.data)];
				}
			};
			assert.equal((await one.post('one')).status, 204);
			assert.deepEqual(await next(), ['message', { bytes: 3, text: 'one', cut: false }]);
			daemon.allow.push(/child_exit name=store .*signal=9/);
			await daemon.killChild(daemon.writer());
			await until('appends are taken again', async () => (await one.post('two')).status === 204);
			assert.equal((await next())[1].text, 'two');
			assert.equal((await one.send('POST', { headers: { 'stream-closed': 'true' } })).status, 204);
			assert.deepEqual(await next(), ['end', { why: 'closed' }]);
			assert.equal(await reader.next(), null);
		});
	});

describe('health and the writer', () => {
	it('a writer that is stopped, then one that cannot start: 503 with the reason, and 200 when it is back', async () => {
		const dataDir = temporary();
		const daemon = await startSluice({
			dataDir,
			config: withConsole({ health_timeout: '100ms' }),
			allow: [/store/],
		});
		const client = connect('http1', daemon.url);
		const health = async () => {
			const { status, json } = await client.request('GET', '/health');
			return [status, json().reason ?? json().status];
		};
		const becomes = (status, reason) =>
			until(`${status} ${reason}`, async () => {
				const now = await health();
				return now[0] === status && now[1] === reason;
			});
		await becomes(200, 'ok');
		const writer = daemon.writer();
		process.kill(writer, 'SIGSTOP');
		assert.deepEqual(await health(), [503, 'the store-writer does not answer']);
		assert.deepEqual(await health(), [503, 'the store-writer does not answer']);
		process.kill(writer, 'SIGCONT');
		await becomes(200, 'ok');
		renameSync(dataDir, `${dataDir}-away`);
		writeFileSync(dataDir, ''); // the next writer finds no directory there
		process.kill(writer, 'SIGKILL');
		await becomes(503, 'the store-writer is not running');
		await until('the metrics say so, and what the dead process counted is not told as the present', async () => {
			const down = await scrape(client);
			return sum(down, 'sluice_process_up', { process: 'store' }) === 0 && sum(down, 'sluice_writer_commits_total') === 0;
		});
		unlinkSync(dataDir);
		renameSync(`${dataDir}-away`, dataDir);
		await becomes(200, 'ok');
		const back = await scrape(client);
		assert.ok(sum(back, 'sluice_process_restarts_total', { process: 'store' }) >= 1);
		assert.ok(sum(back, 'sluice_console_unhealthy_total') >= 3);
		client.close();
		await daemon.stop();
	});
});

describe('who sees what', () => {
	const NAMES = ['root', 'prometheus', 'reader', 'ann'];
	const auth = {
		mode: 'tokens',
		tokens: NAMES.map((name) => ({ name, hash: hash(`token-of-${name}`) })),
		policy: [
			{ who: ['root'], paths: ['**'], actions: ['all'] },
			{ who: ['prometheus'], paths: ['__console/metrics'], actions: ['read'] },
			{ who: ['ann'], paths: ['ann/**'], actions: ['read', 'append'] },
			{ who: ['reader'], paths: ['ann/**', 'bob/**'], actions: ['read'] },
		],
	};
	let daemon, client;
	before(async () => {
		daemon = await startSluice({ config: withConsole({}, (config) => (config.auth = auth)) });
		client = connect('http1', daemon.url);
		for (const name of ['ann/s', 'bob/s'])
			await new Stream(client, name).create({ headers: { ...bearer('token-of-root'), 'content-type': 'text/plain' }, body: 'x' });
	});
	after(async () => {
		client?.close();
		await daemon?.stop();
	});
	const status = async (method, target, name, more = {}) =>
		(await client.request(method, target, { ...more, headers: { ...(name && bearer(`token-of-${name}`)), ...more.headers } })).status;

	it('health, the page and its files are for everybody, and tell nothing', async () => {
		for (const target of ['/health', '/healthz', '/', '/console/app.js', '/console/style.css'])
			assert.equal(await status('GET', target), 200, target);
	});

	it('everything else needs a token that may', async () => {
		const matrix = [
			['GET', '/metrics', ['root', 'prometheus']],
			['GET', '/console/status', ['root']],
			['GET', '/console/stream/ann/s', ['root', 'ann', 'reader']],
			['GET', '/console/stream/bob/s', ['root', 'reader']],
			['GET', '/console/tail/bob/s?offset=x', ['root', 'reader'], 400],
			['POST', '/console/stream/ann/s', ['root', 'ann'], 204],
			['GET', '/console/channels', ['root'], 501],
		];
		for (const [method, target, may, good = 200] of matrix) {
			const more = method === 'POST' ? { body: 'y', headers: FROM_PAGE } : {};
			assert.equal(await status(method, target, undefined, more), 401, `${target} without a token`);
			assert.equal(await status(method, target, 'nobody', more), 401, `${target} with a bad one`);
			for (const name of NAMES)
				assert.equal(await status(method, target, name, more), may.includes(name) ? good : 403, `${target} as ${name}`);
		}
	});

	it('the list has what its reader may read, and wants a good token', async () => {
		const list = async (name) =>
			(await client.request('GET', '/console/streams', { headers: bearer(`token-of-${name}`) })).json().streams.map((one) => one.name);
		assert.deepEqual(await list('root'), ['ann/s', 'bob/s']);
		assert.deepEqual(await list('ann'), ['ann/s']);
		assert.deepEqual(await list('prometheus'), []);
		assert.equal(await status('GET', '/console/streams'), 401);
	});

	it('nobody makes a stream where the rules see the console', async () => {
		const answer = await new Stream(client, '__console/metrics').put({ headers: { ...bearer('token-of-root'), 'content-type': 'text/plain' } });
		assert.equal(answer.status, 403);
	});
});

describe('the console elsewhere, and more of everything', () => {
	it('mounted below a path and twice mounted streams: relative files, a label for the mount, health and metrics only elsewhere', async () => {
		const daemon = await startSluice({
			config: (config) => {
				config.frontends[0].plugins.push({ plugin: 'streams', mount: '/other' }, { plugin: 'console', mount: '/ops' });
				config.frontends.push({ name: 'bare', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin: 'console', page: false }] });
				config.frontends.push({ name: 'presence', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'presence' }] });
			},
		});
		const client = connect('http1', daemon.url), bare = connect('http1', daemon.urls[1]), presence = connect('http1', daemon.urls[2]);
		const moved = await client.request('GET', '/ops');
		assert.deepEqual([moved.status, moved.headers.location], [308, '/ops/']);
		assert.equal((await client.request('GET', '/ops/')).status, 200);
		assert.equal((await client.request('GET', '/ops/console/app.js')).status, 200);
		await new Stream(client, 's').create({ headers: { 'content-type': 'text/plain' } });
		assert.equal((await presence.request('GET', '/presence/room')).status, 200);
		assert.ok(Array.isArray((await client.request('GET', '/ops/console/channels')).json().channels));
		const families = await scrape(bare);
		const creates = families.get('sluice_streams_creates_total').samples;
		assert.deepEqual([...new Set(creates.map(({ labels }) => labels.mount))].sort(), ['/other', '/v1/stream']);
		assert.equal(sum(families, 'sluice_streams_creates_total', { mount: '/v1/stream' }), 1);
		assert.equal(families.get('sluice_process_up').samples.length, 6);
		for (const target of ['/', '/console/status', '/console/streams']) assert.equal((await bare.request('GET', target)).status, 404, target);
		assert.equal((await bare.request('GET', '/health')).status, 200);
		for (const one of [client, bare, presence]) one.close();
		await daemon.stop();
	});

	it('looking at a stream does not keep it from expiring, and its end is shown', async () => {
		const daemon = await startSluice({ config: withConsole() });
		const client = connect('http1', daemon.url);
		const one = await new Stream(client, freshName('short')).create({ headers: { 'content-type': 'text/plain', 'stream-ttl': '1' } });
		const reader = new SseReader(await client.open('GET', path('tail', one.name)));
		const event = await reader.next();
		assert.deepEqual([event.type, JSON.parse(event.data)], ['end', { why: 'removed' }]);
		assert.equal((await client.request('GET', path('stream', one.name))).status, 404);
		client.close();
		await daemon.stop();
	});

	it('a gauge of connections goes down again', async () => {
		const daemon = await startSluice({ config: withConsole() });
		const client = connect('http1', daemon.url, { connections: 1 }), more = Array.from({ length: 6 }, () => connect('http1', daemon.url));
		await Promise.all(more.map((one) => one.request('GET', '/health')));
		const open = async () => sum(await scrape(client), 'sluice_http_connections');
		assert.ok((await open()) >= 7);
		more.forEach((one) => one.close());
		await until('closed connections are not counted', async () => (await open()) === 1);
		client.close();
		await daemon.stop();
	});

	it('reloads and deaths of workers are followed, with never a series twice', async () => {
		const daemon = await startSluice({ config: withConsole(), allow: [/child_exit name=streams#. .*signal=9/] });
		let over = false, scrapes = 0;
		const looking = (async () => {
			while (!over) {
				const client = connect('http1', daemon.url, { keepAlive: false });
				await scrape(client);
				client.close();
				scrapes++;
			}
		})();
		const up = async (generation) => {
			const client = connect('http1', daemon.url, { keepAlive: false });
			const families = await scrape(client);
			client.close();
			return families.get('sluice_process_up').samples.filter(({ labels, value }) => value === 1 && labels.generation === generation).length;
		};
		for (const generation of ['2', '3']) {
			assert.match(await daemon.reload(), new RegExp(`reloaded generation=${generation}`));
			await until(`workers of generation ${generation}`, async () => (await up(generation)) === 2);
			await until('nothing of the one before', async () => (await up(String(generation - 1))) === 0);
		}
		const [victim] = daemon.workers();
		over = true; // a scrape on its way to this worker would rightly fail
		await looking;
		assert.ok(scrapes > 3);
		await daemon.killChild(victim);
		await until('both workers are up again', async () => {
			try {
				return (await up('3')) === 2;
			} catch (error) {
				if (error.code) return false; // its connection was in the queue of the dead one
				throw error;
			}
		});
		await daemon.stop();
	});
});
