// Stream life-cycle events for plugins (section 22.8 of the protocol digest): a plugin of the public ABI in a process of its
// own hears of every creation and removal below a prefix, once, whichever door made it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, forkOf, freshName } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const TOP = join(import.meta.dirname, '..', '..');

describe('life-cycle events', () => {
	let daemon, doors, witness;

	before(async () => {
		const plugin = join(temporary(), 'witness.so');
		execFileSync('cc', [
			'-std=c11',
			'-Wall',
			'-Wextra',
			'-Werror',
			`-I${join(TOP, 'include')}`,
			'-fPIC',
			'-fvisibility=hidden',
			'-shared',
			'-o',
			plugin,
			join(import.meta.dirname, 'witness.c'),
		]);
		daemon = await startSluice({
			allow: [/name=store/],
			config: (config) => {
				config.store = { sweep_interval: '50ms' };
				config.frontends.push(
					{ name: 'other', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin: 'streams' }] },
					{
						name: 'witness',
						listen: ['127.0.0.1:0'],
						workers: 1,
						plugins: [{ plugin, watch: 'seen/' }],
					},
				);
			},
		});
		doors = daemon.urls.slice(0, 2).map((url) => connect('HTTP/1.1', url));
		witness = connect('HTTP/1.1', daemon.urls[2]);
	});
	after(async () => {
		for (const client of [...doors, witness]) client.close();
		await daemon.stop();
	});

	const heard = async (folder) => {
		const { text } = await witness.request('GET', '/heard');
		return text
			.split('\n')
			.filter((line) => line.includes(folder))
			.map((line) => line.replace(`seen/${folder}/`, '').trim());
	};
	// All events of one folder, once the last one expected is there.
	const events = async (folder, n) => {
		await until(`${n} events`, async () => (await heard(folder)).length >= n);
		return heard(folder);
	};
	const stream = (folder, name, door = 0) => new Stream(doors[door], `seen/${folder}/${name}`);

	it('the first event says that the watch stands', async () => {
		await until('resync', async () => (await witness.request('GET', '/heard')).text.startsWith('resync'));
	});

	it('creations and removals by any door, each once; nothing for what changed nothing', async () => {
		const folder = freshName();
		const a = await stream(folder, 'a').create({ type: JSON_TYPE, body: '1' });
		assert.equal((await a.on(doors[1]).put({ type: JSON_TYPE, body: '2' })).status, 200);
		assert.equal((await a.put({ type: 'text/plain' })).status, 409);
		assert.equal((await stream(folder, 'bad').put({ type: JSON_TYPE, body: '{' })).status, 400);
		await a.append('3', { type: JSON_TYPE });
		await stream(folder, 'b', 1).create({ type: 'text/plain', body: '' });
		await new Stream(doors[0], freshName('unseen')).create({});
		assert.equal((await a.on(doors[1]).remove()).status, 204);
		assert.equal((await a.remove()).status, 404);
		await stream(folder, 'a').create({ type: 'text/plain' });
		assert.deepEqual(await events(folder, 4), [
			`created a ${JSON_TYPE}`,
			'created b text/plain',
			'removed a',
			'created a text/plain',
		]);
	});

	it('soft deletion is flagged, and the end of the last fork takes its sources along', async () => {
		const folder = freshName();
		const source = await stream(folder, 'source').create({ body: 'x' });
		const middle = await stream(folder, 'middle', 1).create({ type: null, headers: forkOf(source) });
		const fork = await stream(folder, 'fork').create({ type: null, headers: forkOf(middle) });
		await source.remove();
		await middle.remove();
		await fork.on(doors[1]).remove();
		assert.deepEqual(await events(folder, 8), [
			'created source text/plain',
			'created middle text/plain',
			'created fork text/plain',
			'soft source',
			'soft middle',
			'removed fork',
			'removed middle',
			'removed source',
		]);
	});

	it('expiry is a removal like any other, without anybody asking', async () => {
		const folder = freshName();
		const source = await stream(folder, 'source').create({ body: 'x', headers: { 'stream-ttl': '1' } });
		await stream(folder, 'fork').create({ type: null, headers: { ...forkOf(source), 'stream-ttl': '3600' } });
		await stream(folder, 'alone', 1).create({
			headers: { 'stream-expires-at': new Date(Date.now() + 500).toISOString() },
		});
		const lines = await events(folder, 5);
		assert.deepEqual(lines.slice(0, 3).sort(), [
			'created alone text/plain',
			'created fork text/plain',
			'created source text/plain',
		]);
		assert.deepEqual(lines.slice(3).sort(), ['removed alone', 'soft source']);
	});

	it('after a writer crash the watcher is told to list again, and hears what follows', async () => {
		const folder = freshName();
		const resyncs = async () => (await witness.request('GET', '/heard')).text.match(/^resync/gm).length;
		const before = await resyncs();
		process.kill(daemon.writer(), 'SIGKILL');
		await until('another resync', async () => (await resyncs()) > before);
		await stream(folder, 'a').create({});
		assert.deepEqual(await events(folder, 1), ['created a text/plain']);
	});
});
