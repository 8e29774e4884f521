// The Node module of clients/js: a server of one's own for a program, and the ephemeral channels under keys of its choice.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { EphemeralChannelStore, startDevServer } from '../../clients/js/index.mjs';
import { ephemeralStore } from '../lib/ephemeral.mjs';
import { connect } from '../lib/http.mjs';
import { BUILD, temporary } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';

const sluiced = join(BUILD, 'sluiced');
const start = (options) => startDevServer({ port: 0, sluiced, ...options });
const alive = (pid) => {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
};

async function withServer(options, work) {
	const server = await start(options);
	try {
		await work(server);
	} finally {
		await server.close();
	}
}

// What a client sees of a stream after these requests, over one protocol.
async function roundTrip(via, url) {
	const client = connect(via, url);
	try {
		const path = `/ds/team/${via === 'h2c' ? 'two' : 'one'}`;
		assert.equal((await client.request('PUT', path)).status, 201);
		assert.equal((await client.request('POST', path, { body: 'abc' })).status, 204);
		return (await client.request('GET', path)).text;
	} finally {
		client.close();
	}
}

describe('startDevServer', () => {
	it('serves HTTP/1.1 and HTTP/2 on a free port, and is gone when it is closed, once or twice', async () => {
		const server = await start();
		assert.match(server.baseUrl, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
		assert.equal(await roundTrip('HTTP/1.1', server.baseUrl), 'abc');
		assert.equal(await roundTrip('h2c', server.baseUrl), 'abc');
		await Promise.all([server.close(), server.close()]);
		await server.close();
		assert.equal((await server.exited).code, 0);
		assert.ok(!alive(server.pid));
	});

	it('with protocol http1, HTTP/2 is refused', () =>
		withServer({ protocol: 'http1' }, async ({ baseUrl }) => {
			assert.equal(await roundTrip('HTTP/1.1', baseUrl), 'abc');
			await assert.rejects(roundTrip('h2c', baseUrl));
			assert.equal(await roundTrip('HTTP/1.1', baseUrl).catch((error) => error.actual), 200, 'it is there still');
		}));

	it('keeps what is in dbPath, which it makes', async () => {
		const dbPath = join(temporary(), 'deep', 'data');
		await withServer({ dbPath }, ({ baseUrl }) => roundTrip('HTTP/1.1', baseUrl));
		assert.ok(existsSync(dbPath));
		await withServer({ dbPath }, async ({ baseUrl }) => {
			const client = connect('HTTP/1.1', baseUrl);
			assert.equal((await client.request('GET', '/ds/team/one')).text, 'abc');
			client.close();
		});
	});

	it('says in the words of the daemon why it does not start', async () => {
		const busy = net.createServer().listen(0, '127.0.0.1');
		await new Promise((done) => busy.once('listening', done));
		await assert.rejects(start({ port: busy.address().port }), /in use/i);
		busy.close();
		const file = join(temporary(), 'file');
		writeFileSync(file, 'x');
		await assert.rejects(start({ dbPath: file }), /file/);
		await assert.rejects(start({ host: '0.0.0.0' }), /other machines can reach/);
		await assert.rejects(start({ sluiced: '/no/such/program' }), /the option sluiced is "\/no\/such\/program"/);
		await assert.rejects(start({ protocol: 'h3' }), /protocol is "h2c" or "http1"/);
		await assert.rejects(start({ port: 70000 }), /port/);
	});

	it('finds the program by the environment, and says where it looked', async () => {
		const { PATH, SLUICED } = process.env;
		try {
			process.env.SLUICED = sluiced;
			const server = await startDevServer({ port: 0 });
			await server.close();
			process.env.SLUICED = '/no/such/program';
			await assert.rejects(startDevServer({ port: 0 }), /SLUICED is "\/no\/such\/program"/);
			delete process.env.SLUICED;
			process.env.PATH = `/nowhere:${BUILD}`;
			await (await startDevServer({ port: 0 })).close();
		} finally {
			process.env.PATH = PATH;
			if (SLUICED === undefined) delete process.env.SLUICED;
			else process.env.SLUICED = SLUICED;
		}
	});

	it('ends with the program that started it, however that ends', async () => {
		const module = new URL('../../clients/js/index.mjs', import.meta.url).href;
		const script = `import { startDevServer } from '${module}';
			const server = await startDevServer({ port: 0, sluiced: '${sluiced}' });
			console.log(server.pid);`;
		const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
		const [line] = await new Promise((done) => createInterface(child.stdout).once('line', (...all) => done(all)));
		const pid = Number(line);
		assert.ok(alive(pid));
		child.kill('SIGKILL');
		await until('the server to end', () => !alive(pid));
	});
});

describe('EphemeralChannelStore', () => {
	it('applies, shows, delivers, clears and ends channels', () =>
		withServer({}, async (server) => {
			const channels = new EphemeralChannelStore(server);
			const [mine, theirs] = [ephemeralStore(60000), ephemeralStore(60000)];
			const seen = [];
			const leave = channels.subscribe('room/1 ü', (event) => seen.push(event));
			assert.equal((await leave.ready).length, 0, 'nobody has written');
			mine.set('ann', { x: 1 });
			await channels.apply('room/1 ü', mine.encodeAll());
			await until('the update', () => seen.length === 1);
			assert.deepEqual(seen[0], { type: 'data', data: mine.encodeAll() });
			theirs.apply(await channels.bootstrap('room/1 ü'));
			assert.deepEqual(theirs.get('ann'), { x: 1 });
			const late = channels.subscribe('room/1 ü', () => {});
			assert.deepEqual(await late.ready, await channels.bootstrap('room/1 ü'));
			late();
			await assert.rejects(channels.apply('room/1 ü', new Uint8Array([1, 2, 3])), { status: 400 });
			assert.deepEqual(await channels.bootstrap('room/1 ü'), mine.encodeAll(), 'nothing has changed');
			await channels.deleteByPrefix('room/');
			assert.equal((await channels.bootstrap('room/1 ü')).length, 0);
			await channels.apply('room/1 ü', mine.encodeAll());
			await until('an update after the state was dropped', () => seen.length === 2);
			await channels.terminateByPrefix('room/');
			await until('the end', () => seen.length === 3);
			assert.deepEqual(seen[2], { type: 'terminate' });
			assert.throws(() => channels.subscribe('', () => {}), /a key is a text/);
			const left = [];
			channels.subscribe('other', (event) => left.push(event));
			channels.close();
			await channels.apply('other', mine.encodeAll());
			assert.deepEqual(left, [], 'who has left hears nothing');
		}));
});
