// curl, over HTTP/1.1 and over HTTP/2 with prior knowledge: the commands of the README work.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { onReference, startServer } from '../lib/server.mjs';
import { ROOT, freshName } from '../lib/streams.mjs';
import { LIMIT, within } from '../lib/wait.mjs';

const run = (...args) =>
	new Promise((done, fail) => {
		execFile(
			'curl',
			['-sS', '--max-time', String(LIMIT / 1000), ...args],
			{ maxBuffer: 64 << 20 },
			(error, out) => (error ? fail(error) : done(out)),
		);
	});
const MARK = '\n%{http_code} %{http_version}';

for (const [version, flag] of [
	['1.1', '--http1.1'],
	['2', '--http2-prior-knowledge'],
])
	describe(`curl over HTTP/${version}`, { skip: onReference && version === '2' }, () => {
		let server;
		before(async () => (server = await startServer()));
		after(() => server?.stop());
		const url = () => server.url + ROOT + freshName('curl');

		it('creates, appends, reads, inspects, deletes', async () => {
			const target = url();
			const text = ['-H', 'Content-Type: text/plain'];
			assert.match(
				await run(flag, '-w', MARK, '-X', 'PUT', ...text, target),
				new RegExp(`201 ${version}$`),
			);
			assert.match(await run(flag, '-w', MARK, ...text, '--data-binary', 'hello', target), /204/);
			assert.equal(await run(flag, target), 'hello');
			assert.match(await run(flag, '-I', target), /stream-next-offset: \d{16}_\d{16}/i);
			assert.match(await run(flag, '-w', MARK, '-X', 'DELETE', target), /204/);
			assert.match(await run(flag, '-w', MARK, target), new RegExp(`404 ${version}$`));
		});

		it('follows by SSE while another appends', async () => {
			const target = url();
			await run(flag, '-X', 'PUT', '-H', 'Content-Type: text/plain', target);
			const follower = spawn('curl', [flag, '-sSN', `${target}?offset=-1&live=sse`], {
				stdio: ['ignore', 'pipe', 'inherit'],
			});
			let seen = '';
			let look = () => {};
			follower.stdout.on('data', (text) => {
				seen += text;
				look();
			});
			const sees = (pattern) =>
				within(
					String(pattern),
					new Promise((done) => {
						look = () => pattern.test(seen) && done();
						look();
					}),
				);
			try {
				await sees(/"upToDate":true/);
				await run(flag, '-H', 'Content-Type: text/plain', '--data-binary', 'live!', target);
				await sees(/event: data\ndata:live!\n\nevent: control\n/);
			} finally {
				follower.kill();
			}
		});

		it('sends a body of unknown length and gets back what it sent', async () => {
			const target = url();
			await run(flag, '-X', 'PUT', '-H', 'Content-Type: application/octet-stream', target);
			const block = 'x'.repeat(5_000_000);
			const sender = spawn(
				'curl',
				[
					flag,
					'-sS',
					'-f',
					'-X',
					'POST',
					'-H',
					'Content-Type: application/octet-stream',
					'-T',
					'-',
					target,
				],
				{ stdio: ['pipe', 'ignore', 'inherit'] },
			);
			sender.stdin.end(block);
			assert.equal(await within('curl', new Promise((done) => sender.on('close', done))), 0);
			let all = '';
			for (let offset = '-1'; all.length < block.length;) {
				const answer = await run(flag, '-D', '-', `${target}?offset=${offset}`);
				const split = answer.indexOf('\r\n\r\n') + 4;
				offset = /stream-next-offset: (\S+)/i.exec(answer)[1];
				all += answer.slice(split);
			}
			assert.equal(all, block);
		});

		it('--compressed reads the same text', async () => {
			const target = url();
			const text = 'compress me '.repeat(1000);
			await run(flag, '-X', 'PUT', '-H', 'Content-Type: text/plain', '--data-binary', text, target);
			assert.match(
				await run(flag, '-D', '-', '-o', '/dev/null', '--compressed', target),
				/content-encoding: gzip/i,
			);
			assert.equal(await run(flag, '--compressed', target), text);
		});
	});
