// sluicectl backup: a copy that is made while the server is written is complete and sound, a data directory made of it
// serves what was acknowledged, and whatever is given up or fails leaves nothing behind.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { ctlFor, runCtl } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { BUILD, startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName, producer } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';

const LARGE = Buffer.alloc(200_000, 'large ');
const run = promisify(execFile);

// Streams that are appended to until stop(); of each what was sent and how much of it was acknowledged.
function load(url, n) {
	const state = { stopped: false, streams: [] };
	const one = async (i) => {
		const client = connect(i % 2 ? 'HTTP/1.1' : 'h2c', url);
		const stream = await new Stream(client, freshName(`load${i}`)).create();
		const mine = { name: stream.name, acked: 0 };
		state.streams.push(mine);
		while (!state.stopped) {
			const large = i === 0 && mine.acked % 8 === 7;
			await stream.append(`<${mine.acked}>${large ? LARGE : ''}`, { headers: producer('p', 0, mine.acked) });
			mine.acked++;
		}
		client.close();
	};
	const all = Promise.all(Array.from({ length: n }, (_, i) => one(i)));
	all.catch(() => (state.stopped = true));
	return {
		streams: state.streams,
		progress: (ops) => {
			const goal = state.streams.reduce((sum, { acked }) => sum + acked, 0) + ops;
			return Promise.race([
				all,
				until(`${ops} appends`, () => state.streams.reduce((sum, { acked }) => sum + acked, 0) >= goal),
			]);
		},
		stop: async () => {
			state.stopped = true;
			await all;
		},
	};
}

describe('sluicectl backup', { concurrency: 2 }, () => {
	let daemon, ctl, client;
	before(async () => {
		daemon = await startSluice({ config: (config) => (config.store = { segment_bytes: '1M' }) });
		ctl = ctlFor(daemon);
		client = connect('HTTP/1.1', daemon.url);
	});
	after(async () => {
		client.close();
		await daemon.stop();
	});

	it('under load it has every append that was acknowledged before it began, in order, and is served', async () => {
		const running = load(daemon.url, 6);
		await running.progress(200);
		const before = running.streams.map(({ name, acked }) => ({ name, acked }));
		const to = join(temporary(), 'backup');
		const [told] = await ctl.json('backup', to);
		await running.progress(50);
		await running.stop();
		assert.equal(told.clean, true);
		assert.equal(told.backup, to);
		assert.ok(told.position > 0 && told.payloads > 0);
		assert.equal((await runCtl(['check', to])).code, 0);
		const restored = join(temporary(), 'data');
		assert.equal((await runCtl(['restore', to, restored])).code, 0);
		const second = await startSluice({ dataDir: restored });
		const reader = connect('HTTP/1.1', second.url);
		for (const { name, acked } of before) {
			const { body } = await new Stream(reader, name).readAll();
			const numbers = [...body.toString().matchAll(/<(\d+)>/g)].map((match) => Number(match[1]));
			assert.deepEqual(numbers, [...numbers.keys()], `${name}: each once, in order`);
			assert.ok(numbers.length >= acked, `${name}: ${acked} were acknowledged before, ${numbers.length} are there`);
			const next = await new Stream(reader, name).post('again', { headers: producer('p', 0, numbers.length - 1) });
			assert.equal(next.status, 204, 'a producer is known there');
		}
		reader.close();
		await second.stop();
	});

	it('an archive has the same in it, also on standard output', async () => {
		const name = freshName();
		await new Stream(client, name).create({ body: LARGE });
		const dir = temporary();
		const [told] = await ctl.json('backup', '--tar', join(dir, 'b.tar'));
		assert.equal(told.backup, join(dir, 'b.tar'));
		assert.deepEqual(readdirSync(dir), ['b.tar']);
		const tmp = temporary();
		const piped = await ctl.run(['backup', '--tar', '-'], { env: { TMPDIR: tmp } });
		assert.equal(piped.code, 0, piped.err);
		assert.match(piped.err, /^standard output: \d+ streams, .* checked$/m);
		assert.deepEqual(readdirSync(tmp), [], 'nothing is left');
		writeFileSync(join(dir, 'piped.tar'), piped.out);
		for (const archive of ['b.tar', 'piped.tar']) {
			const data = join(temporary(), 'data');
			const { code, err } = await runCtl(['restore', join(dir, archive), data]);
			assert.equal(code, 0, err);
			const own = await startSluice({ dataDir: data });
			const reader = connect('HTTP/1.1', own.url);
			assert.ok((await new Stream(reader, name).readAll()).body.equals(LARGE));
			reader.close();
			await own.stop();
		}
	});

	it('what is there already is not touched, and a place that cannot be is named', async () => {
		const dir = temporary();
		writeFileSync(join(dir, 'file'), 'mine');
		await ctl.fails(1, /file is there already/, 'backup', join(dir, 'file'));
		await ctl.fails(1, /file is there already/, 'backup', '--tar', join(dir, 'file'));
		assert.equal(readFileSync(join(dir, 'file'), 'utf8'), 'mine');
		await ctl.fails(1, /a directory beside \S+nowhere\/b: No such file/, 'backup', join(dir, 'nowhere/b'));
		await ctl.fails(2, /a directory or --tar FILE/, 'backup');
		await ctl.fails(2, /a directory or --tar FILE/, 'backup', 'a', '--tar', 'b');
		await ctl.fails(2, /neither to a terminal nor with --json/, '--json', 'backup', '--tar', '-');
		assert.deepEqual(readdirSync(dir), ['file']);
		const { code, err } = await runCtl(['--socket', join(dir, 'no.sock'), 'backup', join(dir, 'b')]);
		assert.equal(code, 3);
		assert.match(err, /no server answers/);
		assert.deepEqual(readdirSync(dir), ['file'], 'nothing is left');
	});

	it('on a terminal it shows how far it is', async () => {
		const to = join(temporary(), 'backup');
		const command = `${join(BUILD, 'sluicectl', 'sluicectl')} --socket ${daemon.control} backup ${to}`;
		const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
		let screen = '';
		terminal.stdout.setEncoding('utf8').on('data', (text) => (screen += text));
		assert.equal(await within('the end', new Promise((done) => terminal.once('close', done))), 0);
		assert.match(screen, /\r(copying (volume|segments)|checking (structure|records))/);
		assert.match(screen, /\r\x1b\[K[^\r]*checked\r\n$/);
	});

	it('root makes one of a server that runs as somebody else', { skip: process.getuid() !== 0 && 'needs root' }, async (t) => {
		const nobody = 65534;
		const become = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
		const [su, ...as] = become;
		if (!(await run(su, [...as, 'test', '-x', join(BUILD, 'sluiced')]).then(() => true, () => false)))
			return t.skip('nobody else may look into this tree');
		const own = await startSluice({
			wrap: ({ TMPDIR }) => {
				for (const path of [TMPDIR, join(TMPDIR, 'sluice.yaml')]) chownSync(path, nobody, nobody);
				return become;
			},
		});
		const writer = connect('HTTP/1.1', own.url);
		await new Stream(writer, 'large').create({ body: LARGE });
		writer.close();
		const place = temporary(); // nobody else may look into it
		for (const args of [[join(place, 'b')], ['--tar', join(place, 'b.tar')]])
			assert.equal((await runCtl(['backup', ...args], { socket: own.control })).code, 0);
		await own.stop();
		const owners = (dir) => readdirSync(dir, { recursive: true }).map((name) => statSync(join(dir, name)).uid);
		assert.deepEqual([...new Set([statSync(join(place, 'b')).uid, ...owners(join(place, 'b'))])], [nobody]);
		assert.equal(statSync(join(place, 'b')).mode & 0o777, 0o700);
		assert.equal((await runCtl(['restore', join(place, 'b'), join(place, 'data')])).code, 0);
		mkdirSync(join(place, 'empty'));
		chownSync(join(place, 'empty'), nobody, nobody);
		assert.equal((await runCtl(['restore', join(place, 'b.tar'), join(place, 'empty')])).code, 0);
		for (const dir of ['data', 'empty'])
			assert.deepEqual([...new Set([statSync(join(place, dir)).uid, ...owners(join(place, dir))])], [nobody], dir);
	});

	// Needs a mount of its own: a small file system in a name space that the server does not see.
	it('a target without space is told, and nothing is harmed', async (t) => {
		const place = temporary();
		const inside = (...words) => ['--user', '--map-root-user', '--mount', 'sh', '-c', `mount -t tmpfs -o size=64k none ${place} && ${words.join(' ')}`];
		if (!(await run('unshare', inside('true')).then(() => true, () => false))) return t.skip('no name spaces here');
		await new Stream(client, freshName()).create({ body: LARGE });
		const ctlPath = join(BUILD, 'sluicectl', 'sluicectl');
		const end = await run('unshare', inside(`${ctlPath} --socket ${daemon.control} backup ${place}/b; echo "status $?"; ls -A ${place}`));
		assert.match(end.stderr, /\/b: .*no space left where the copy goes/);
		assert.equal(end.stdout, 'status 1\n', 'nothing is left');
		await new Stream(client, freshName()).create({ body: 'the server goes on' });
	});
});

// The writer stands still, so that the backup is under way for as long as the test wants.
describe('sluicectl backup, interrupted', () => {
	let daemon, ctl, client;
	before(async () => {
		daemon = await startSluice({ allow: [/child_exit name=store .*signal=9/, /child_failed name=store/] });
		ctl = ctlFor(daemon);
		client = connect('HTTP/1.1', daemon.url);
		await new Stream(client, 'kept').create({ body: LARGE });
	});
	after(async () => {
		client.close();
		await daemon.stop();
	});

	// Starts one and waits until the supervisor has asked the writer.
	async function begin(dir) {
		const writer = daemon.writer();
		process.kill(writer, 'SIGSTOP');
		const from = daemon.mark();
		const ctlRun = ctl.start(['backup', join(dir, 'b')]);
		await daemon.waitLine(/request=backup/, { from });
		return { writer, ctlRun, from };
	}

	for (const signal of ['SIGINT', 'SIGTERM'])
		it(`given up by ${signal}, it leaves nothing behind`, async () => {
			const dir = temporary();
			const { writer, ctlRun, from } = await begin(dir);
			ctlRun.process.kill(signal);
			await daemon.waitLine(/request=cancel/, { from });
			process.kill(writer, 'SIGCONT');
			const { code, err } = await ctlRun.end();
			assert.equal(code, 1);
			assert.match(err, /given up/);
			assert.deepEqual(readdirSync(dir), []);
			await daemon.waitLine(/backup failed .*error="given up"/, { from });
		});

	it('killed, it leaves no name, and an empty directory whose name says what it was', async () => {
		const dir = temporary();
		const { writer, ctlRun, from } = await begin(dir);
		ctlRun.process.kill('SIGKILL');
		await ctlRun.closed;
		await ctl('status'); // whoever is served now comes behind the end of that one
		process.kill(writer, 'SIGCONT');
		await daemon.waitLine(/backup failed .*error="given up"/, { from });
		const [left, ...more] = readdirSync(dir);
		assert.match(left, /^b\.partial-\w+$/);
		assert.deepEqual(more, []);
		await until('the directory to be empty', () => readdirSync(join(dir, left)).length === 0);
	});

	it('a second one meanwhile is refused', async () => {
		const dir = temporary();
		const { writer, ctlRun } = await begin(dir);
		await ctl.fails(1, /a backup is being made already/, 'backup', join(dir, 'c'));
		process.kill(writer, 'SIGCONT');
		assert.equal((await ctlRun.end()).code, 0);
		assert.deepEqual(readdirSync(dir), ['b']);
	});

	it('a server that is told to stop gives it up', async () => {
		const own = await startSluice();
		const dir = temporary();
		const writer = own.writer();
		process.kill(writer, 'SIGSTOP');
		const from = own.mark();
		const ctlRun = ctlFor(own).start(['backup', join(dir, 'b')]);
		await own.waitLine(/request=backup/, { from });
		own.signal('SIGTERM');
		await own.waitLine(/name=store .*to=draining/, { from });
		process.kill(writer, 'SIGCONT');
		const { code, err } = await ctlRun.end();
		assert.equal(code, 1);
		assert.match(err, /the server is being stopped or upgraded/);
		assert.deepEqual(readdirSync(dir), []);
		assert.equal((await own.exited).code, 0);
		own.checkLog();
		own.cleanUp();
	});

	it('the death of the writer ends it, and the next one is made', async () => {
		const dir = temporary();
		const { writer, ctlRun } = await begin(dir);
		await daemon.killChild(writer);
		const { code, err } = await ctlRun.end();
		assert.equal(code, 1);
		assert.match(err, /the store-writer has ended/);
		assert.deepEqual(readdirSync(dir), []);
		await until('a writer', async () => (await ctl.json('status'))[0].processes[0].state === 'ready');
		await ctl('backup', join(dir, 'b'));
		assert.equal((await runCtl(['check', join(dir, 'b')])).code, 0);
	});
});
