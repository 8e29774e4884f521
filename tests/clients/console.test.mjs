// The console in headless Chromium: what an operator sees of a live server, with a mouse, by keyboard and on a phone; nothing that a
// stream is called or holds becomes markup. The pages are kept as tests/output/console-*.png.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { chromium } from 'playwright-core';
import { connect } from '../lib/http.mjs';
import { onReference } from '../lib/server.mjs';
import { startSluice } from '../lib/sluice.mjs';
import { Stream } from '../lib/streams.mjs';
import { LIMIT, until } from '../lib/wait.mjs';

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const OUTPUT = join(import.meta.dirname, '..', 'output');
const JSON_TYPE = { 'content-type': 'application/json' };
const NASTY = 'nasty/"><img src=x onerror=window.pwned=1>/<script>window.pwned=2</script>';
const SKIP = (!PROGRAM && 'no Chromium here') || (onReference && 'the reference server has no console');

describe('the console in Chromium', { skip: SKIP }, () => {
	let daemon, client, browser;
	const wrong = []; // what the pages complained of: errors, refused loads, requests elsewhere

	before(async () => {
		mkdirSync(OUTPUT, { recursive: true });
		daemon = await startSluice({
			config: (config) => {
				config.frontends[0].plugins.push({ plugin: 'console' });
				config.frontends.push({ name: 'presence', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'presence' }] });
			},
			allow: [/child_exit name=store .*signal=9/],
		});
		client = connect('http1', daemon.url);
		for (let i = 0; i < 60; i++)
			await new Stream(client, `user/${String(i).padStart(2, '0')}/inbox`).create({ headers: JSON_TYPE, body: `[{"hello":${i}}]` });
		browser = await chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
	});
	after(async () => {
		await browser?.close();
		client?.close();
		await daemon?.stop();
	});

	async function open(options = {}, url = daemon.url) {
		const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
		context.setDefaultTimeout(LIMIT);
		const page = await context.newPage();
		page.on('pageerror', (error) => wrong.push(String(error)));
		page.on('console', (message) => message.type() === 'error' && !/status of (40[013]|50\d)/.test(message.text()) && wrong.push(message.text()));
		page.on('request', (request) => !request.url().startsWith(url) && !request.url().startsWith('data:') && wrong.push(request.url()));
		await page.goto(url);
		return page;
	}
	const shot = (page, name) => page.screenshot({ path: join(OUTPUT, `console-${name}.png`) });
	const texts = (page, selector) => page.$$eval(selector, (all) => all.map((one) => one.textContent));
	const done = async (page) => {
		await page.context().close();
		assert.deepEqual(wrong.splice(0), []);
	};

	it('the overview: processes, listeners, charts that move, in light and dark', async () => {
		for (const colorScheme of ['light', 'dark']) {
			const page = await open({ colorScheme });
			await page.waitForSelector('#processes tbody tr:nth-child(5)');
			assert.deepEqual(await texts(page, '#processes tbody td:first-child'), ['sluiced', 'store', 'streams#1', 'streams#2', 'presence#1']);
			assert.deepEqual(await texts(page, '#listeners code'), daemon.urls);
			assert.equal(await page.textContent('#health'), 'healthy');
			const load = new Stream(client, 'user/00/inbox');
			await until('the charts show appends', async () => {
				await load.post('[1,2,3]', { headers: JSON_TYPE });
				return /^0?[1-9.]/.test((await texts(page, '.chart .now b'))[0]);
			});
			assert.match((await texts(page, '.chart .now b'))[2], /ms|µs| s/);
			assert.ok(await page.$eval('.chart .line', (line) => line.getAttribute('d').startsWith('M')));
			await shot(page, `overview-${colorScheme}`);
			await done(page);
		}
	});

	it('streams: filtered, in pages, chosen by keyboard; followed live, paused, appended to', async () => {
		const page = await open();
		await page.keyboard.press('/');
		await page.waitForFunction(() => document.activeElement.id === 'prefix');
		await page.waitForFunction(() => document.querySelectorAll('#streams li').length === 50);
		await page.click('#page-on');
		await page.waitForFunction(() => document.querySelectorAll('#streams li').length === 10);
		await page.click('#page-back');
		await page.waitForFunction(() => document.querySelectorAll('#streams li').length === 50);
		await page.fill('#prefix', 'user/07');
		await page.waitForFunction(() => document.querySelectorAll('#streams li').length === 1);
		await page.keyboard.press('Tab');
		await page.keyboard.press('Enter');
		await page.waitForFunction(() => document.querySelector('#live').textContent === 'live');
		assert.equal(await page.textContent('#view-title'), 'user/07/inbox');
		assert.deepEqual(await texts(page, '#messages code'), ['{"hello":7}']);
		const stream = new Stream(client, 'user/07/inbox');
		await stream.post('[{"text":"live"}]', { headers: JSON_TYPE });
		await page.waitForFunction(() => document.querySelectorAll('#messages li').length === 2);
		assert.equal(await page.textContent('#streams [aria-current] .right'), '26 B', 'the list agrees, although it has the focus');
		await page.click('#pause');
		await stream.post('[{"text":"paused"}]', { headers: JSON_TYPE });
		await page.waitForFunction(() => document.querySelector('#pause').textContent === 'Go on (1)');
		assert.equal(await page.$$eval('#messages li', (all) => all.length), 2);
		await page.click('#pause');
		await page.waitForFunction(() => document.querySelectorAll('#messages li').length === 3);
		await page.fill('#append-text', '{"from": "the page"}');
		await page.click('#append-send');
		await page.waitForFunction(() => document.querySelectorAll('#messages li').length === 4);
		assert.equal((await texts(page, '#messages code')).at(-1), '{"from": "the page"}');
		await page.fill('#append-text', '{"from":');
		await page.click('#append-send');
		await page.waitForFunction(() => /not a JSON value/.test(document.querySelector('#append-said').textContent));
		await shot(page, 'stream');
		await done(page);
	});

	it('what looks like markup is text', async () => {
		const stream = new Stream(client, encodeURIComponent(NASTY));
		await stream.create({ headers: { 'content-type': 'text/plain' }, body: '<img src=x onerror=window.pwned=3>' });
		const page = await open();
		await page.goto(`${daemon.url}/#/streams`);
		await page.fill('#prefix', 'nasty');
		await page.click('#streams a');
		await page.waitForFunction(() => document.querySelector('#live').textContent === 'live');
		await stream.post('</script><script>window.pwned=4</script>');
		await page.waitForFunction(() => document.querySelectorAll('#messages li').length === 2);
		assert.equal(await page.textContent('#view-title'), NASTY);
		assert.deepEqual(await texts(page, '#messages code'), ['<img src=x onerror=window.pwned=3>', '</script><script>window.pwned=4</script>']);
		assert.equal(await page.$('main img, main script'), null);
		assert.equal(await page.evaluate(() => window.pwned), undefined);
		await shot(page, 'nasty');
		await done(page);
	});

	it('the death of the writer shows, and passes; a live view goes on', async () => {
		const page = await open();
		const stream = new Stream(client, 'user/08/inbox');
		await page.goto(`${daemon.url}/#/stream/user%2F08%2Finbox`);
		await page.waitForFunction(() => document.querySelector('#live').textContent === 'live');
		const writer = daemon.writer();
		process.kill(writer, 'SIGSTOP');
		await page.waitForFunction(() => document.querySelector('#health').textContent === 'the store-writer does not answer');
		process.kill(writer, 'SIGCONT');
		await page.waitForFunction(() => document.querySelector('#health').textContent === 'healthy');
		await daemon.killChild(writer);
		await until('an append', async () => (await stream.post('["after"]', { headers: JSON_TYPE })).status === 204);
		await page.waitForFunction(() => document.querySelector('#messages li:last-child code').textContent === '"after"');
		await page.goto(`${daemon.url}/#/`);
		await page.waitForFunction(() => document.querySelector('#processes tr:nth-child(2) td:nth-child(5)')?.textContent === '1');
		await done(page);
	});

	it('on a phone everything has its place', async () => {
		const page = await open({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
		const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
		await page.waitForSelector('#processes tbody tr:nth-child(5)');
		assert.ok(await fits());
		await shot(page, 'phone-overview');
		await page.tap('nav a[data-page=streams]');
		await page.waitForSelector('#streams li:nth-child(20)');
		assert.ok(await fits());
		await page.tap('#streams li:nth-child(3) a');
		await page.waitForFunction(() => document.querySelector('#live').textContent === 'live');
		assert.ok(await fits());
		assert.ok(!(await page.isVisible('#streams')) && (await page.isVisible('#messages')));
		await shot(page, 'phone-stream');
		await page.tap('.back');
		await page.waitForSelector('#streams li:nth-child(20)');
		await page.tap('nav a[data-page=presence]');
		await page.waitForSelector('#channels-empty:not([hidden])');
		await done(page);
	});

	it('where a token is needed the page asks for it, and keeps it in its tab', async () => {
		const guarded = await startSluice({
			config: (config) => {
				config.frontends[0].plugins.push({ plugin: 'console' });
				config.auth = { mode: 'tokens', tokens: [{ name: 'op', hash: `sha256:${createHash('sha256').update('sesame').digest('hex')}` }] };
			},
		});
		const page = await open({}, guarded.url);
		await page.waitForSelector('#access:not([hidden])');
		assert.equal(await page.textContent('#health'), 'healthy');
		assert.equal(await page.$$eval('#processes tbody tr', (all) => all.length), 0);
		await shot(page, 'access');
		await page.fill('#token', 'sesame');
		await page.press('#token', 'Enter');
		await page.waitForSelector('#processes tbody tr:nth-child(4)');
		assert.ok(!(await page.isVisible('#access')));
		assert.deepEqual(await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]), [1, 0, '']);
		assert.ok(!guarded.text().includes('sesame'));
		await done(page);
		await guarded.stop();
	});
});
