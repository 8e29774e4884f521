// The example page examples/cursors in headless Chromium: two tabs see each other's cursor, and one that is closed is gone; what it looks like is
// kept as tests/output/cursors.png.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { chromium } from 'playwright-core';
import { startSluice } from '../lib/sluice.mjs';
import { LIMIT } from '../lib/wait.mjs';

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
	existsSync(path),
);
const PAGE = join(import.meta.dirname, '..', '..', 'examples', 'cursors', 'index.html');
const OUTPUT = join(import.meta.dirname, '..', 'output');
const SIZE = { width: 800, height: 500 };

describe('live cursors', { skip: !PROGRAM && 'no Chromium here' }, () => {
	let daemon, site, browser, context;

	before(async () => {
		daemon = await startSluice({
			config: (settings) => (settings.frontends = [{ name: 'presence', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'presence' }] }]),
		});
		const page = readFileSync(PAGE);
		site = http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(page));
		await new Promise((done) => site.listen(0, '127.0.0.1', done));
		browser = await chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
		context = await browser.newContext({ viewport: SIZE });
		context.setDefaultTimeout(LIMIT);
	});
	after(async () => {
		await browser?.close();
		site?.close();
		site?.closeAllConnections();
		await daemon?.stop();
	});

	const open = async () => {
		const page = await context.newPage();
		page.failures = [];
		page.on('pageerror', (error) => page.failures.push(error));
		await page.goto(`http://127.0.0.1:${site.address().port}/#${daemon.url}/presence/test/cursors`);
		await page.waitForFunction(() => document.querySelector('#state').textContent === 'live');
		return page;
	};
	// Where a tab shows the cursors of others.
	const cursors = (page) =>
		page.$$eval('.cursor', (all) => all.map(({ style }) => /translate\((.*?)px, (.*?)px\)/.exec(style.transform).slice(1).map(Number)));
	const shows = (page, x, y) =>
		page.waitForFunction(
			([wantX, wantY]) =>
				[...document.querySelectorAll('.cursor')].some(({ style }) => {
					const [, left, top] = /translate\((.*?)px, (.*?)px\)/.exec(style.transform);
					return Math.abs(left - wantX) < 1 && Math.abs(top - wantY) < 1;
				}),
			[x, y],
		);

	it('two tabs see each other move, a newcomer sees where they are, and who leaves is gone', async () => {
		const [one, two] = [await open(), await open()];
		assert.deepEqual(await cursors(one), [], 'nobody has moved yet');
		await one.mouse.move(200, 150);
		await shows(two, 200, 150);
		await two.mouse.move(600, 320, { steps: 10 });
		await shows(one, 600, 320);
		await one.mouse.move(260, 210, { steps: 10 });
		await shows(two, 260, 210);
		const three = await open();
		await shows(three, 260, 210);
		await shows(three, 600, 320);
		assert.deepEqual((await three.$$eval('#people li', (all) => all.map((item) => item.textContent))).length, 3);
		mkdirSync(OUTPUT, { recursive: true });
		await three.screenshot({ path: join(OUTPUT, 'cursors.png') });
		await two.close({ runBeforeUnload: true });
		await one.waitForFunction(() => document.querySelectorAll('.cursor').length === 0);
		await three.waitForFunction(() => document.querySelectorAll('.cursor').length === 1);
		assert.deepEqual([...one.failures, ...three.failures], []);
	});
});
