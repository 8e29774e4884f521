// A page in headless Chromium, of another origin than the server, follows a JSON stream by EventSource while another
// tab appends to it with fetch; what the page shows is kept as tests/output/browser.png.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { chromium } from 'playwright-core';
import { onReference, startServer } from '../lib/server.mjs';
import { JSON_TYPE, ROOT, freshName, ours } from '../lib/streams.mjs';
import { LIMIT } from '../lib/wait.mjs';

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
	existsSync(path),
);
const OUTPUT = join(import.meta.dirname, '..', 'output');

const PAGE = `<!doctype html><meta charset=utf-8><title>tail</title>
<style>body{font:16px sans-serif;margin:2em}li{margin:.2em}</style>
<h1>Following a stream</h1><ol id=items></ol><p id=state>connecting</p>
<script>
const url = new URL(location.hash.slice(1));
let source;
function follow(offset) {
	url.search = new URLSearchParams({ offset, live: 'sse' });
	source = new EventSource(url);
	let next = offset;
	source.addEventListener('data', (event) => {
		for (const { text } of JSON.parse(event.data)) {
			const item = document.createElement('li');
			item.textContent = text;
			items.append(item);
		}
	});
	source.addEventListener('control', (event) => {
		const control = JSON.parse(event.data);
		next = control.streamNextOffset;
		state.textContent = control.streamClosed ? 'closed' : 'up to date';
		if (control.streamClosed) source.close();
	});
	source.onerror = () => { source.close(); if (state.textContent !== 'closed') follow(next); };
}
follow('-1');
</script>`;

describe('Chromium', { skip: !PROGRAM && 'no Chromium here' }, () => {
	let server, site, browser, origin;

	before(async () => {
		server = await startServer();
		site = http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(PAGE));
		await new Promise((done) => site.listen(0, '127.0.0.1', done));
		origin = `http://127.0.0.1:${site.address().port}`;
		browser = await chromium.launch({
			executablePath: PROGRAM,
			args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
		});
	});
	after(async () => {
		await browser?.close();
		site?.close();
		site?.closeAllConnections();
		await server?.stop();
	});

	it('a tab follows by SSE what another tab appends, until the stream is closed', async () => {
		const url = server.url + ROOT + freshName('browser');
		const context = await browser.newContext();
		context.setDefaultTimeout(LIMIT);
		const [reader, writer] = [await context.newPage(), await context.newPage()];
		await writer.goto(origin);
		const send = (method, headers, body) =>
			writer.evaluate(
				async ([target, init]) => {
					const answer = await fetch(target, init);
					return { status: answer.status, headers: Object.fromEntries(answer.headers) };
				},
				[url, { method, headers, body }],
			);

		const type = { 'content-type': JSON_TYPE };
		assert.equal((await send('PUT', type)).status, 201);
		assert.equal((await send('POST', type, JSON.stringify({ text: 'before the reader' }))).status, 204);
		await reader.goto(`${origin}#${url}`);
		await reader.waitForFunction(() => document.querySelectorAll('li').length === 1);
		for (let n = 1; n <= 8; n++) {
			const headers = {
				...type,
				'producer-id': 'tab',
				'producer-epoch': '0',
				'producer-seq': String(n - 1),
			};
			const answer = await send('POST', headers, JSON.stringify({ text: `message ${n}` }));
			assert.equal(answer.status, 200);
			assert.match(answer.headers['stream-next-offset'] ?? 'not exposed', /^\d{16}_\d{16}$/);
		}
		await reader.waitForFunction(() => document.querySelectorAll('li').length === 9);
		assert.equal((await send('POST', { 'stream-closed': 'true' })).status, 204);
		await reader.waitForFunction(() => document.querySelector('#state').textContent === 'closed');
		const items = await reader.$$eval('li', (list) => list.map((item) => item.textContent));
		assert.deepEqual(items, [
			'before the reader',
			...Array.from({ length: 8 }, (_, n) => `message ${n + 1}`),
		]);
		mkdirSync(OUTPUT, { recursive: true });
		await reader.screenshot({ path: join(OUTPUT, onReference ? 'browser-reference.png' : 'browser.png') });
		await context.close();
	});

	it(
		'a page of another origin sees the headers it needs and may send those it needs (24 #28)',
		ours,
		async () => {
			const url = server.url + ROOT + freshName('cors');
			const page = await browser.newPage();
			await page.goto(origin);
			const seen = await page.evaluate(async (target) => {
				await fetch(target, {
					method: 'PUT',
					headers: { 'content-type': 'application/octet-stream', 'stream-ttl': '600' },
					body: 'x'.repeat(2000),
				});
				const read = await fetch(target);
				const again = await fetch(`${target}?offset=-1`, {
					headers: { 'if-none-match': read.headers.get('etag') },
					cache: 'no-store',
				});
				const head = await fetch(target, { method: 'HEAD', cache: 'no-store' });
				const sse = await fetch(`${target}?offset=-1&live=sse`);
				const encoding = sse.headers.get('stream-sse-data-encoding');
				await sse.body.cancel();
				return {
					etag: read.headers.get('etag'),
					next: read.headers.get('stream-next-offset'),
					again: again.status,
					ttl: head.headers.get('stream-ttl'),
					encoding,
				};
			}, url);
			assert.ok(seen.etag);
			assert.match(seen.next, /^\d{16}_\d{16}$/);
			assert.equal(seen.again, 304);
			assert.equal(seen.ttl, '600');
			assert.equal(seen.encoding, 'base64');
			await page.close();
		},
	);
});
