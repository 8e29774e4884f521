// sluicectl: what an operator asks is answered, what is wrong is said in words and by the exit status.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { ctlFor, runCtl } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { BUILD, startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const CLOSE = { 'stream-closed': 'true' };

describe('sluicectl and the server', () => {
	let daemon, ctl;
	before(async () => {
		daemon = await startSluice({ allow: [/config_error|reload_failed|child_exit.*signal=9/] });
		ctl = ctlFor(daemon);
	});
	after(() => daemon.stop());

	it('status names every process with its state, the addresses and the store', async () => {
		const [status] = await ctl.json('status');
		assert.equal(status.pid, daemon.pid);
		assert.equal(status.phase, 'running');
		assert.equal(status.log_level, 'info');
		assert.deepEqual(
			status.processes.map((process) => [process.name, process.state]),
			[
				['store', 'ready'],
				['streams#1', 'ready'],
				['streams#2', 'ready'],
			],
		);
		assert.deepEqual(
			status.processes.map((process) => process.pid).sort(),
			daemon
				.children()
				.map((child) => child.pid)
				.sort(),
		);
		assert.equal(status.processes[1].metrics['http.connections'], 0);
		assert.deepEqual(status.listeners, [{ frontend: 'streams', address: daemon.url }]);
		assert.ok(status.store.volume_bytes > 0);
		assert.ok(status.processes[0].metrics['writer.peers'] >= 2);
		assert.equal(status.processes[1].metrics['store.queued'], 0);
		const text = await ctl('status');
		assert.match(text, /^sluiced \S+ {2}running, pid \d+, up /);
		assert.match(text, /^streams#2 +\d+ {2}ready /m);
		assert.ok(text.includes(daemon.url));
	});

	it('status counts connections and restarts', async () => {
		const client = connect('HTTP/1.1', daemon.url);
		await new Stream(client, freshName()).put();
		const [{ processes }] = await ctl.json('status');
		const sum = (name) => processes.reduce((total, process) => total + (process.metrics[name] ?? 0), 0);
		assert.equal(sum('http.connections'), 1);
		assert.ok(sum('http.requests') >= 1);
		client.close();
		await daemon.killChild(daemon.workers()[0]);
		await until('a worker that is back', async () => {
			const [status] = await ctl.json('status');
			return (
				status.processes.every((process) => process.state === 'ready') &&
				status.processes.some((process) => process.restarts === 1)
			);
		});
	});

	it('status and top know how long appends and commits take', async () => {
		const client = connect('HTTP/1.1', daemon.url);
		const stream = new Stream(client, freshName());
		await stream.put();
		for (let i = 0; i < 10; i++) await stream.post('x');
		client.close();
		const [{ processes }] = await ctl.json('status');
		const all = (name) => processes.map((process) => process.histograms[name]).filter(Boolean);
		const [commit] = all('writer.commit_seconds');
		assert.ok(commit.count >= 11 && commit.sum > 0);
		assert.ok(commit.p50 > 0 && commit.p99 >= commit.p50);
		assert.equal(
			commit.buckets.reduce((sum, bucket) => sum + bucket.count, 0),
			commit.count,
		);
		assert.equal(commit.buckets.at(-1).up_to, null);
		const appends = all('store.append_seconds');
		assert.equal(appends.length, 2, 'one of each worker');
		assert.ok(appends.reduce((sum, one) => sum + one.count, 0) >= 10);
		const time = String.raw`p50 [\d.]+(us|ms|s) p99 [\d.]+(us|ms|s)`;
		assert.match(await ctl('status'), new RegExp(`^latency +append ${time}, commit ${time}$`, 'm'));
		const [rates] = await ctl.json('top');
		assert.deepEqual(
			[rates[0].commit_p50_seconds, rates[1].append_p99_seconds, rates[0].append_p50_seconds],
			[null, null, undefined],
			'nothing was appended meanwhile',
		);
		assert.match(await ctl('top'), /\nappend p50 - p99 -, commit p50 - p99 -, 0 commits\/s\n/);
	});

	it('top shows rates of every process, once where there is no terminal', async () => {
		const [first] = await ctl.json('top');
		assert.deepEqual(
			first.map((process) => process.name),
			['store', 'streams#1', 'streams#2'],
		);
		assert.ok(first.every((process) => process.resident_bytes > 0 && process.cpu_percent >= 0));
		assert.equal(typeof first[0].commits_per_second, 'number');
		assert.equal(typeof first[1].requests_per_second, 'number');
		assert.match(await ctl('top'), /^sluiced .*\nappend .*\n\nPROCESS .*\n(store|streams#\d) /);
		await ctl.fails(2, /-d takes seconds/, 'top', '-d', '0');
	});

	it('top on a terminal refreshes until q is pressed, and leaves the terminal as it was', async () => {
		const command = `${join(BUILD, 'sluicectl', 'sluicectl')} --socket ${daemon.control} top`;
		const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
		const exited = new Promise((done) => terminal.once('close', done));
		let screen = '';
		terminal.stdout.setEncoding('utf8').on('data', (text) => (screen += text));
		try {
			await until('two pictures', () => screen.split('q quits').length > 2);
			terminal.stdin.write('q');
			assert.equal(await within('the end of top', exited), 0);
		} finally {
			terminal.kill('SIGKILL');
		}
		assert.match(screen, /streams#2/);
		assert.ok(screen.lastIndexOf('\x1b[?25h') > screen.lastIndexOf('\x1b[?25l'), 'the cursor is back');
	});

	it('bash completes commands, options and names of streams', async () => {
		const name = `${freshName()}/log`;
		await ctl('append', '--create', name, { input: 'x' });
		const complete = async (...words) => {
			const script = `PATH=${join(BUILD, 'sluicectl')}:$PATH; source <(sluicectl completion bash)
				COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluicectl; printf '%s\n' "\${COMPREPLY[@]}"`;
			const { stdout } = await promisify(execFile)('bash', ['-c', script, 'bash', 'sluicectl', ...words], {
				env: { ...process.env, SLUICE_SOCKET: daemon.control },
			});
			return stdout.split('\n').filter(Boolean);
		};
		assert.deepEqual(await complete('rel'), ['reload']);
		assert.deepEqual(await complete('--json', 'st'), ['status']);
		assert.deepEqual(await complete('tail', '--f'), ['--follow']);
		assert.deepEqual(await complete('log-level', 'd'), ['debug']);
		assert.deepEqual(await complete('cat', name.slice(0, -2)), [name]);
		assert.deepEqual(await complete('--socket', daemon.control, 'rm', name.slice(0, -2)), [name]);
		assert.deepEqual(await complete('help', 'up'), ['upgrade']);
	});

	it('plugins lists what serves where, from which file', async () => {
		const [plugins] = await ctl.json('plugins');
		assert.equal(plugins.length, 1, 'one line for a frontend, however many workers it has');
		assert.equal(plugins[0].name, 'streams');
		assert.equal(plugins[0].mount, '/v1/stream');
		assert.equal(plugins[0].frontend, 'streams');
		assert.equal(plugins[0].abi[0], 1);
		assert.match(plugins[0].file, /\/streams\.so$/);
		assert.match(await ctl('plugins'), /^streams +\S+ +1\.\d+ +streams +\/v1\/stream +\S+streams\.so$/m);
	});

	it('log-level changes what every process logs', async () => {
		const from = daemon.mark();
		await ctl('log-level', 'debug');
		assert.equal((await ctl.json('status'))[0].log_level, 'debug');
		await daemon.waitLine(/^<7>/, { from });
		assert.deepEqual(await ctl.json('log-level', 'info'), [{ log_level: 'info' }]);
		await ctl.fails(2, /error, warn, info or debug, not "loud"/, 'log-level', 'loud');
	});

	it('upgrade puts the same build in its own place, and says so', async () => {
		const own = await startSluice();
		const control = ctlFor(own);
		const client = connect('HTTP/1.1', own.url, { keepAlive: false });
		const stream = new Stream(client, freshName());
		await stream.put();
		const { pid } = (await control.json('status'))[0];
		assert.match(await control('upgrade'), /upgraded/);
		await until('the successor at the socket', async () => {
			const end = await control.run(['--json', 'status']);
			return end.code === 0 && JSON.parse(end.text).pid !== pid;
		});
		assert.equal((await stream.get()).status, 200);
		client.close();
		await control('drain');
		await until('the end', () => !own.alive());
		own.checkLog();
		own.cleanUp();
	});

	it('reload says that the new configuration is in force, or what is wrong in which line', async () => {
		const own = await startSluice({ dataDir: temporary(), allow: [/config_error|reload_failed/] });
		const control = ctlFor(own);
		own.settings.frontends[0].workers = 1;
		writeFileSync(own.file, toYaml(own.settings));
		assert.match(await control('reload'), /^reloaded: .*in force/);
		assert.equal((await control.json('status'))[0].generation, 2);
		writeFileSync(own.file, toYaml({ ...own.settings, limitz: { body: 'much' } }));
		await control.fails(1, /sluice\.yaml:\d+:\d+: .*limitz.*\n.*the old configuration stays/s, 'reload');
		writeFileSync(own.file, toYaml({ ...own.settings, control_socket: 'elsewhere.sock' }));
		await control.fails(1, /control_socket: a reload cannot move the control socket/, 'reload');
		// Whoever finds the server by that very file reads it, too, and leaves it to the server to say what is wrong.
		writeFileSync(own.file, toYaml({ ...own.settings, limitz: { body: 'much' }, log: { level: 'loud' } }));
		const found = (...args) => runCtl(['-c', own.file, ...args]);
		const lines = (end) => end.err.split('\n').filter(Boolean);
		const refused = await found('reload');
		assert.equal(refused.code, 1);
		assert.equal(refused.text, '');
		const mistakes = lines(refused).slice(0, -1);
		assert.equal(mistakes.length, 2, refused.err);
		assert.match(mistakes.join('\n'), /limitz.*\n.*log\.level|log\.level.*\n.*limitz/);
		assert.match(lines(refused).at(-1), /^sluicectl: the old configuration stays in force$/);
		const refusedJson = await found('--json', 'reload');
		assert.deepEqual([refusedJson.code, refusedJson.text, refusedJson.err], [1, '', refused.err]);
		const status = await found('status');
		assert.deepEqual([status.code, status.err], [0, ''], 'what is wrong with the file is no news to other commands');
		writeFileSync(own.file, toYaml(own.settings));
		const both = await Promise.all([control.run(['reload']), control.run(['reload'])]);
		assert.deepEqual(
			both.map((end) => end.code),
			[0, 0],
			'two at once are both answered',
		);
		await own.stop();
	});

	it('drain stops the server, waits for its end, and what comes later is told that nobody answers', async () => {
		const own = await startSluice();
		const control = ctlFor(own);
		assert.equal((await control.json('drain'))[0].drain, 'stopped');
		assert.equal((await own.exited).code, 0);
		await control.fails(3, /no server answers at .*control\.sock: is sluiced running\?/, 'status');
		own.checkLog();
		own.cleanUp();
	});

	it('the socket is found by --config, by $SLUICE_SOCKET, and the lack of it is explained', async () => {
		const dataDir = temporary();
		const own = await startSluice({ dataDir });
		assert.equal(own.control, join(dataDir, 'control.sock'));
		assert.equal((await runCtl(['-c', own.file, 'ls'])).code, 0);
		assert.equal((await runCtl(['ls'], { env: { SLUICE_SOCKET: own.control } })).code, 0);
		await own.stop();
		const file = join(temporary(), 'sluice.yaml');
		writeFileSync(file, toYaml({ ...own.settings, data_dir: 'temporary' }));
		const lost = await runCtl(['-c', file, 'ls']);
		assert.equal(lost.code, 3);
		assert.match(lost.err, /data_dir: temporary.*--socket/);
		// The server that is not there may be somewhere else, as a mistake in the file may be why.
		writeFileSync(file, toYaml({ ...own.settings, data_dir: temporary(), control_sockt: 'x.sock' }));
		const elsewhere = await runCtl(['-c', file, 'ls']);
		assert.equal(elsewhere.code, 3);
		assert.match(elsewhere.err, /^sluicectl: no server answers at .*\n.*sluice\.yaml:\d+:\d+: .*control_sockt.*\n$/);
		const none = await runCtl(['-c', '/nonexistent/sluice.yaml', 'ls']);
		assert.equal(none.code, 3);
		assert.match(none.err, /No such file.*--config FILE or --socket PATH/);
	});

	it('two servers cannot have one control socket', async () => {
		const second = await startSluice({
			config: (config) => (config.control_socket = daemon.control),
			ready: false,
			allow: [/fatal name=control_socket/],
		});
		await second.waitLine(/fatal name=control_socket why=".*another sluiced answers there; set control_socket, or/);
		assert.equal((await second.exited).code, 1);
		second.checkLog();
		second.cleanUp();
		await ctl('status');
	});

	it('a wrong command line is a usage error that names what was wrong', async () => {
		await ctl.fails(2, /there is no command "frob"/, 'frob');
		await ctl.fails(2, /"cat" needs STREAM\nusage: sluicectl cat/, 'cat');
		await ctl.fails(2, /unexpected argument "b"/, 'ls', 'a', 'b');
		await ctl.fails(2, /unrecognized option '--frob'/, 'ls', '--frob');
		await ctl.fails(2, /usage: sluicectl \[options\] COMMAND/);
		await ctl.fails(2, /offset is a number/, 'cat', '--from', 'x', 'a');
	});

	it('help and version need no server', async () => {
		const all = await runCtl(['--help']);
		assert.equal(all.code, 0);
		const names = [...all.text.matchAll(/^ {2}([a-z][a-z-]*) /gm)].map((match) => match[1]);
		const special = ['help', 'completion'];
		assert.ok(names.includes('status') && names.includes('append'));
		for (const name of names.filter((name) => !special.includes(name))) {
			const one = await runCtl(['help', name]);
			assert.equal(one.code, 0);
			assert.match(one.text, new RegExp(`^usage: sluicectl ${name}\\b`));
			assert.equal((await runCtl([name, '--help'])).text, one.text);
		}
		assert.match((await runCtl(['--version'])).text, /^sluicectl \d/);
		assert.equal((await runCtl(['help', 'frob'])).code, 2);
		assert.match((await runCtl(['completion', 'zsh'])).text, /^#compdef sluicectl\n/);
		const fish = await runCtl(['completion', 'fish']);
		assert.deepEqual([fish.code, /needs bash or zsh\nusage: sluicectl completion bash \| zsh\n$/.test(fish.err)], [2, true], fish.err);
		for (const name of special) {
			const one = await runCtl(['help', name]);
			assert.equal(one.code, 0);
			assert.match(one.text, new RegExp(`^usage: sluicectl ${name} `));
		}
		assert.equal((await runCtl(['completion', '--help'])).text, (await runCtl(['help', 'completion'])).text);
		assert.equal((await runCtl(['-h'])).text, all.text);
		assert.equal((await runCtl(['ls', '-h'])).text, (await runCtl(['help', 'ls'])).text);
	});
});

describe('sluicectl and streams', { concurrency: 4 }, () => {
	let daemon, ctl, client;
	before(async () => {
		daemon = await startSluice({ allow: [/child_exit.*signal=9/] });
		ctl = ctlFor(daemon);
		client = connect('HTTP/1.1', daemon.url);
	});
	after(async () => {
		client.close();
		await daemon.stop();
	});

	it('what sluicectl appends is read over HTTP, and the other way round', async () => {
		const name = freshName();
		const [made] = await ctl.json('append', '--create', '--type', 'text/plain', name, { input: 'one\n' });
		assert.equal(made.records, 1);
		await ctl('append', name, '-', { input: 'two\n' });
		const stream = new Stream(client, name);
		assert.equal((await stream.get()).text, 'one\ntwo\n');
		const next = await stream.append('three\n');
		assert.equal(await ctl('cat', name), 'one\ntwo\nthree\n');
		await stream.append('four\n');
		assert.equal(await ctl('cat', '--from', next, name), 'four\n', 'offsets as HTTP has them');
		assert.equal(await ctl('cat', name, '--from', String(Number(next.split('_')[1]))), 'four\n', 'or as numbers');
	});

	it('records come as JSON objects whose offsets can be used', async () => {
		const name = freshName();
		await ctl('append', '--create', '--lines', name, { input: 'a\nbc\n' });
		const records = await ctl.json('cat', name);
		assert.deepEqual(
			records.map((record) => record.data),
			['a\n', 'bc\n'],
		);
		assert.equal(records[0].next, records[1].offset);
		assert.deepEqual(await ctl.json('cat', '--from', String(records[1].offset), name), [records[1]]);
	});

	it('binary data comes back byte for byte, of any size', async () => {
		for (const size of [1, 1000, 300_000, 3_000_000]) {
			const name = freshName();
			const bytes = randomBytes(size);
			const file = join(temporary(), 'data');
			writeFileSync(file, bytes);
			await ctl('append', '--create', name, file);
			const { out, code } = await ctl.run(['cat', name]);
			assert.equal(code, 0);
			assert.ok(out.equals(bytes), `${size} bytes`);
			const pieces = (await ctl.json('cat', name)).map((record) =>
				typeof record.data === 'string' ? Buffer.from(record.data) : Buffer.from(record.data.base64, 'base64'),
			);
			assert.ok(Buffer.concat(pieces).equals(bytes), `${size} bytes as JSON`);
		}
	});

	it('a JSON stream is printed a message a line, and takes nothing but JSON', async () => {
		const name = freshName();
		const stream = await new Stream(client, name).create({ type: JSON_TYPE });
		await ctl('append', name, { input: ' {"n": 1}\n' });
		await ctl('append', '--lines', name, { input: '{"n":2}\n\n123456789012345678901234567890\n' });
		await stream.append('[3,[4]]', { type: JSON_TYPE });
		assert.equal(await ctl('cat', name), '{"n": 1}\n{"n":2}\n123456789012345678901234567890\n3\n[4]\n');
		assert.equal((await stream.get()).text, '[{"n": 1},{"n":2},123456789012345678901234567890,3,[4]]');
		await ctl.fails(1, /standard input:1:\d+: not one JSON value/, 'append', name, { input: '{"n":' });
		await ctl.fails(1, /standard input:2:\d+: not JSON/, 'append', '--lines', name, { input: '1\nx\n' });
		assert.equal((await stream.get()).text.includes('x'), false);
	});

	it('ls lists by prefix, over pages, with control characters made visible', async () => {
		const prefix = `${freshName()}/`;
		const names = Array.from({ length: 1203 }, (_, i) => `${prefix}${String(i).padStart(4, '0')}`);
		await Promise.all(names.map((name) => new Stream(client, name).put()));
		assert.equal(await ctl('ls', prefix), `${names.join('\n')}\n`);
		const entries = await ctl.json('ls', prefix);
		assert.deepEqual(
			entries.map((entry) => entry.stream),
			names,
		);
		const odd = `${freshName()}/a\nb\\c`;
		await ctl('append', '--create', odd, { input: 'x' });
		assert.equal(await ctl('ls', odd), `${odd.replace('\\', '\\x5c').replace('\n', '\\x0a')}\n`);
		assert.equal((await ctl.json('ls', odd))[0].stream, odd);
		assert.match(await ctl('ls', '-l', odd), /^CREATED.*\n\d{4}-\d\d-\d\d .* open +application\/octet-stream/);
		assert.equal(await ctl('ls', `${prefix}none`), '');
	});

	it('rm removes all it is given, and says which were not there', async () => {
		const names = [freshName(), freshName()];
		for (const name of names) await ctl('append', '--create', name, { input: 'x' });
		await ctl.fails(4, /^sluicectl: nothere: there is no such stream\n$/, 'rm', names[0], 'nothere', names[1]);
		for (const name of names) await ctl.fails(4, /there is no such stream/, 'cat', name);
	});

	it('refusals name the stream, the reason and what to do', async () => {
		const name = freshName();
		await ctl.fails(4, /there is no such stream; --create makes it/, 'append', name, { input: 'x' });
		await ctl('append', '--create', '--type', 'text/plain', name, { input: 'x' });
		await ctl.fails(1, /content type/, 'append', '--type', 'text/html', name, { input: 'x' });
		await ctl.fails(1, /empty, so there is nothing to append/, 'append', name);
		await ctl.fails(1, /nofile: No such file or directory/, 'append', name, '/nonexistent/nofile');
		await new Stream(client, name).post(undefined, { headers: CLOSE });
		await ctl.fails(1, /the stream is closed/, 'append', name, { input: 'x' });
	});

	it('tail prints the last records, however far back they are', async () => {
		const name = freshName();
		const lines = Array.from({ length: 5000 }, (_, i) => `${i}${' '.repeat(i % 50)}\n`);
		await ctl('append', '--create', '--lines', name, { input: lines.join('') });
		for (const n of [0, 1, 10, 700, 4999, 5000, 6000])
			assert.equal(await ctl('tail', '-n', String(n), name), n ? lines.slice(-n).join('') : '', `-n ${n}`);
		assert.equal(await ctl('tail', name), lines.slice(-10).join(''));
	});

	it('tail -f follows over a restart of the writer and a reload, misses nothing and repeats nothing, and ends with the stream', async () => {
		const own = await startSluice({ allow: [/child_exit.*signal=9/] });
		const control = ctlFor(own);
		const name = freshName();
		await control('append', '--create', name, { input: 'begin\n' });
		const tail = control.start(['tail', '-f', '-n', '1', name]);
		await tail.waitOut('begin\n');
		let expected = 'begin\n';
		const add = async (text) => {
			await control('append', name, { input: text });
			expected += text;
			await tail.waitOut(expected, (out) => out === expected);
		};
		await add('live\n');
		await own.killChild(own.writer());
		await add('behind a new writer\n');
		await own.reload();
		await add('behind a reload\n');
		const other = connect('HTTP/1.1', own.url);
		await new Stream(other, name).post(undefined, { headers: CLOSE });
		other.close();
		const end = await tail.end();
		assert.equal(end.code, 0, end.err);
		assert.equal(end.text, expected);
		await own.stop();
	});

	it('tail -f ends when the stream is removed, and when nobody reads it any more', async () => {
		const name = freshName();
		await ctl('append', '--create', name, { input: 'x\n' });
		const tail = ctl.start(['tail', '-f', name]);
		const other = ctl.start(['tail', '-f', name]);
		await Promise.all([tail.waitOut('x\n'), other.waitOut('x\n')]);
		other.process.stdout.destroy();
		assert.equal((await other.end()).code, 1);
		await ctl('rm', name);
		const end = await tail.end();
		assert.equal(end.code, 4);
		assert.match(end.err, /the stream was removed/);
	});

	it('cat of a large stream that is appended to meanwhile prints whole records up to the tail of its beginning', async () => {
		const name = freshName();
		const line = (i) => `${String(i).padStart(9, '0')}${'x'.repeat(90)}\n`;
		let written = 0;
		const more = (n) => Array.from({ length: n }, () => line(written++)).join('');
		await ctl('append', '--create', '--lines', name, { input: more(50_000) });
		const append = ctl.start(['append', '--lines', name], { input: null });
		const cat = ctl.start(['cat', name]);
		while (cat.process.exitCode === null && written < 80_000)
			await new Promise((done) => append.process.stdin.write(more(500), done));
		append.process.stdin.end();
		const { text, code } = await cat.end();
		assert.equal(code, 0);
		const lines = text.split('\n').slice(0, -1);
		assert.ok(lines.length >= 50_000 && lines.every((content, i) => `${content}\n` === line(i)));
		assert.equal((await append.end()).code, 0);
		assert.equal((await ctl('cat', name)).length, written * 100);
	});
});
