// SIGTERM: what was begun is finished, what waits is released in order, and everything is gone within the deadline.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { Raw } from '../lib/raw.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';

const patient = (config) => (config.frontends[0].plugins[0].long_poll_timeout = '10m');

describe('drain', { concurrency: 3 }, () => {
	for (const via of ['HTTP/1.1', 'h2c'])
		it(`over ${via}: a long-poll ends with 204, SSE with a control event, the daemon with 0`, async () => {
			const daemon = await startSluice({ config: patient });
			const client = connect(via, daemon.url);
			const s = await new Stream(client, freshName()).create({ body: 'x' });
			const tail = await s.tail();
			const poll = s.poll(tail);
			const reader = await s.sse('-1');
			await reader.upTo();
			const late = await s.sse('now');
			await late.next();
			daemon.signal('SIGTERM');
			const answer = await within('the long-poll', poll);
			assert.equal(answer.status, 204);
			assert.equal(answer.headers['stream-next-offset'], tail);
			for (const each of [reader, late]) {
				const rest = await each.rest();
				assert.ok(rest.length === 0 || rest.at(-1).type === 'control', JSON.stringify(rest));
				assert.ok(rest.every((event) => !event.control?.streamClosed));
			}
			client.close();
			await daemon.stop();
		});

	it('a request whose body is on its way is finished and acknowledged', async () => {
		const dataDir = temporary();
		const daemon = await startSluice({ dataDir });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create();
		const raw = new Raw(daemon.url);
		await raw.send(
			`POST ${s.path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`,
		);
		await raw.until(/100 Continue\r\n\r\n/i);
		raw.text = '';
		await raw.send('hello');
		daemon.signal('SIGTERM');
		await daemon.waitLine(/stopping/);
		await raw.send('world');
		assert.equal(await raw.status(), 204);
		raw.close();
		client.close();
		await daemon.stop();
		const next = await startSluice({ dataDir });
		const again = connect('HTTP/1.1', next.url);
		assert.equal((await s.on(again).get()).text, 'helloworld');
		again.close();
		await next.stop();
	});

	it('idle connections, half-sent requests and readers that do not read do not keep it from ending', async () => {
		const daemon = await startSluice({
			config: (config) => (config.limits = { drain_timeout: '2s' }),
			allow: [/deadline|drain/],
		});
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: Buffer.alloc(8 << 20, 65) });
		const idle = new Raw(daemon.url);
		const half = new Raw(daemon.url);
		const deaf = new Raw(daemon.url);
		await half.send('GET /v1/stream/x HTTP/1.1\r\nHo');
		deaf.socket.pause();
		await deaf.send(`GET ${s.path} HTTP/1.1\r\nHost: a\r\n\r\n`);
		const h2 = connect('h2c', daemon.url);
		await s.on(h2).head();
		client.close();
		await daemon.stop();
		for (const each of [idle, half, deaf]) each.close();
		h2.close();
	});

	it('new connections are refused while the old are finished', async () => {
		const daemon = await startSluice();
		const raw = new Raw(daemon.url);
		await raw.send(
			'POST /v1/stream/x HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n',
		);
		await raw.until(/100 Continue\r\n\r\n/i);
		raw.text = '';
		daemon.signal('SIGTERM');
		await daemon.waitLine(/stopping/);
		const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
		await until('refusal', () =>
			client.request('GET', '/').then(
				() => false,
				() => true,
			),
		);
		await raw.send('0123456789');
		assert.equal(await raw.status(), 404);
		raw.close();
		client.close();
		await daemon.stop();
	});
});
