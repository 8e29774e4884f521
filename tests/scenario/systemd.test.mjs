// As a service of systemd: what it is told, which sockets are taken from it, and that everything works inside the
// sandbox of sluiced.service. systemd itself is not there; its socket, its tools and its system call filter are.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCtl } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { Installation } from '../lib/install.mjs';
import { startLoad } from '../lib/load.mjs';
import { BUILD, runSluiced, sanitized, startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, freshName } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const TOP = join(import.meta.dirname, '..', '..');
const UNIT = readFileSync(join(TOP, 'systemd', 'sluiced.service.in'), 'utf8');
const folder = temporary();

function compile(name, ...flags) {
	const program = join(folder, name);
	execFileSync(process.env.CC ?? 'cc', ['-O1', '-Wall', ...flags, '-o', program, join(TOP, 'tests', 'lib', `${name}.c`)]);
	return program;
}

const sinks = new Set();
process.on('exit', () => sinks.forEach((each) => each.kill()));

// What a daemon says to its service manager: [{pid, fields: {READY: '1', ...}}].
class Sink {
	said = [];

	async listen(address) {
		this.address = address;
		this.process = spawn(join(folder, 'notify_sink'), [address], { stdio: ['ignore', 'pipe', 'inherit'] });
		this.process.unref();
		this.process.stdout.unref();
		sinks.add(this.process);
		let rest = '';
		this.process.stdout.setEncoding('utf8').on('data', (text) => {
			const lines = (rest + text).split('\n');
			rest = lines.pop();
			for (const line of lines) {
				if (line === 'listening') this.listening = true;
				else this.said.push(this.parse(line));
			}
		});
		await until('the notify socket', () => this.listening);
		return this;
	}

	parse(line) {
		const [, pid, text] = /^(\d+) (.*)$/.exec(line);
		const fields = text.split('|').map((field) => /^([A-Z_]+)=(.*)$/.exec(field).slice(1));
		return { pid: Number(pid), fields: Object.fromEntries(fields) };
	}

	// The first message from index `from` on that has the field; its index.
	async heard(field, from = 0) {
		const index = () => this.said.findIndex((message, n) => n >= from && field in message.fields);
		await until(`${field} from the daemon`, () => index() >= 0);
		return index();
	}

	close() {
		this.process.kill();
	}
}

// Of a process that may end while we look, as those of the generation before do.
function environmentOf(pid) {
	try {
		return readFileSync(`/proc/${pid}/environ`, 'latin1');
	} catch (error) {
		assert.match(error.code, /^(ESRCH|ENOENT)$/);
		return '';
	}
}

describe('service of systemd', { concurrency: 2 }, () => {
	before(() => compile('notify_sink'));

	it('readiness, reloads good and bad, and the end are told, by the supervisor itself and in this order', async () => {
		const sink = await new Sink().listen(join(folder, 'notify'));
		const daemon = await startSluice({
			env: { NOTIFY_SOCKET: sink.address },
			allow: [/config_error|reload_failed/],
		});
		const ready = await sink.heard('READY');
		assert.equal(sink.said[ready].fields.STATUS, 'Running');
		const monotonic = () => BigInt(Math.floor(Number(process.hrtime.bigint() / 1000n)));
		const asked = monotonic();
		await daemon.reload();
		const reloading = await sink.heard('RELOADING', ready + 1);
		assert.ok(BigInt(sink.said[reloading].fields.MONOTONIC_USEC) >= asked, 'not the answer to an earlier request');
		assert.ok(BigInt(sink.said[reloading].fields.MONOTONIC_USEC) <= monotonic());
		const again = await sink.heard('READY', reloading);
		assert.equal(sink.said[again].fields.STATUS, 'Running');
		await daemon.reload({ yaml: 'frontends: [\n' });
		const failed = await sink.heard('READY', again + 1);
		assert.match(sink.said[failed].fields.STATUS, /reload failed/);
		for (const { pid } of daemon.children())
			assert.doesNotMatch(environmentOf(pid), /NOTIFY_SOCKET=./);
		await daemon.stop();
		await sink.heard('STOPPING', failed);
		assert.deepEqual([...new Set(sink.said.map((message) => message.pid))], [daemon.pid]);
		assert.ok(!sink.said.some((message) => 'WATCHDOG' in message.fields), 'nobody asked for a watchdog');
		sink.close();
	});

	it('a start that fails says why in the status, and never that it is ready', async () => {
		const sink = await new Sink().listen(join(folder, 'refused'));
		const daemon = await startSluice({
			yaml: 'frontends: [\n',
			env: { NOTIFY_SOCKET: sink.address },
			allow: [/./],
			ready: false,
		});
		assert.equal((await daemon.exited).code, 1);
		await until('the status', () => /sluice\.yaml:\d+:\d+: /.test(sink.said.at(-1)?.fields.STATUS));
		assert.ok(!sink.said.some((message) => 'READY' in message.fields));
		daemon.killAll();
		daemon.cleanUp();
		sink.close();
	});

	it('the watchdog is fed through reloads, over an abstract socket as well, and only by the process it was set for', async () => {
		const sink = await new Sink().listen(`@${freshName('sluice-test')}`);
		const daemon = await startSluice({ env: { NOTIFY_SOCKET: sink.address, WATCHDOG_USEC: '100000' } });
		let at = await sink.heard('WATCHDOG');
		for (let n = 0; n < 3; n++) at = await sink.heard('WATCHDOG', at + 1);
		await daemon.reload();
		await sink.heard('WATCHDOG', sink.said.length);
		await daemon.stop();
		const from = sink.said.length;
		const other = await startSluice({
			env: { NOTIFY_SOCKET: sink.address, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' },
		});
		await other.reload();
		await other.stop();
		await sink.heard('STOPPING', from);
		assert.ok(!sink.said.slice(from).some((message) => 'WATCHDOG' in message.fields));
		sink.close();
	});

	it('an upgrade names the new main process before that one speaks for itself; a failed one says why', async () => {
		const sink = await new Sink().listen(join(folder, 'upgrade'));
		const place = new Installation().install('good').install('bad', undefined, { sluiced: 'exit 3' });
		place.use('good');
		const daemon = await startSluice({
			build: place.current,
			dataDir: temporary(),
			env: { NOTIFY_SOCKET: sink.address, WATCHDOG_USEC: '200000' },
			allow: [/upgrade_failed/],
		});
		const old = daemon.pid;
		place.use('bad');
		const failing = sink.said.length;
		daemon.signal('SIGUSR2');
		const failed = await sink.heard('READY', await sink.heard('RELOADING', failing));
		assert.match(sink.said[failed].fields.STATUS, /upgrade failed: it ended before it served/);
		place.use('good');
		await daemon.upgrade();
		const reloading = await sink.heard('RELOADING', failed);
		const main = await sink.heard('MAINPID', reloading);
		assert.deepEqual(sink.said[main], {
			pid: old,
			fields: { MAINPID: String(daemon.pid), READY: '1', STATUS: 'Running' },
		});
		const own = await sink.heard('READY', main + 1);
		assert.equal(sink.said[own].pid, daemon.pid);
		await sink.heard('WATCHDOG', own);
		await daemon.stop();
		await sink.heard('STOPPING', own);
		assert.deepEqual([...new Set(sink.said.slice(0, main + 1).map((message) => message.pid))], [old]);
		assert.deepEqual([...new Set(sink.said.slice(own).map((message) => message.pid))], [daemon.pid]);
		sink.close();
	});

	it('every line carries its priority; a mistake at the start is an error, and -t prints plain lines', async () => {
		const daemon = await startSluice();
		await daemon.reload();
		assert.deepEqual(daemon.lines.filter((line) => !/^<[3-7]>/.test(line)), []);
		await daemon.stop();
		const yaml = 'frontends:\n  - nane: x\n';
		const broken = await startSluice({ yaml, allow: [/./], ready: false });
		assert.equal((await broken.exited).code, 1);
		assert.match(broken.text(), /^<3>\S+sluice\.yaml:2:5: .*nane/m);
		writeFileSync(broken.file, yaml);
		const checked = await runSluiced(['-t', '-c', broken.file]);
		assert.match(checked.err, /^\/\S+sluice\.yaml:2:5: .*nane/m);
		// Before a reload systemd has it checked, and whoever asks the journal for errors wants to see why it was refused.
		for (const [stream, begin] of [['$(stat -c %d:%i "$1")', '<3>/'], ['1:1', '/']]) {
			const errors = join(folder, 'errors');
			writeFileSync(errors, '');
			const command = `JOURNAL_STREAM=${stream} "$0" -t -c "$2" 2>"$1"`;
			assert.throws(() => execFileSync('sh', ['-c', command, join(BUILD, 'sluiced'), errors, broken.file]));
			assert.ok(readFileSync(errors, 'utf8').startsWith(begin), readFileSync(errors, 'utf8'));
		}
		broken.killAll();
		broken.cleanUp();
	});
});

// A command that listens like systemd and starts the daemon with the first connection.
const activate = (sockets) => (env) => [
	'systemd-socket-activate',
	`--fdname=${sockets.map(([name]) => name).join(':')}`,
	...sockets.flatMap(([, path]) => ['-l', path]),
	...Object.entries(env).flatMap(([name, value]) => ['-E', `${name}=${value}`]),
];

const get = async (path, name, mount = '/v1/stream') => {
	const raw = net.connect(path);
	let text = '';
	raw.write(`GET ${mount}/${name} HTTP/1.0\r\n\r\n`);
	for await (const part of raw) text += part;
	return text;
};

const without = (program) => {
	try {
		execFileSync(program, ['--version']);
		return false;
	} catch {
		return `${program} is not installed`;
	}
};

describe('sockets of systemd', { concurrency: 2, skip: without('systemd-socket-activate') }, () => {
	const started = async (sockets, options) => {
		const daemon = await startSluice({ wrap: activate(sockets), ready: false, ...options });
		await daemon.waitLine(/Listening on .* as 3/);
		return daemon;
	};

	it('each frontend gets the one it names, whatever the order; who connected before the start is answered', async () => {
		const sockets = ['one', 'two'].map((name) => [name, join(temporary(), name)]);
		const daemon = await started(sockets, {
			config: (config) => {
				config.frontends[0].listen = ['systemd:two', '127.0.0.1:0'];
				config.frontends.push({
					name: 'other',
					listen: ['systemd:one'],
					workers: 1,
					plugins: [{ plugin: 'streams', mount: '/other' }],
				});
			},
		});
		const early = get(sockets[0][1], 'nothing', '/other');
		await daemon.waitReady();
		assert.match(await early, /^HTTP\/1\.1 404 /);
		const name = freshName();
		const client = connect('HTTP/1.1', daemon.url);
		await new Stream(client, name).create({ body: 'x' });
		for (let round = 0; round < 2; round++) {
			assert.match(await get(sockets[1][1], name), /^HTTP\/1\.1 200 [^]*x$/);
			assert.match(await get(sockets[0][1], name), /^HTTP\/1\.1 404 /);
			assert.match(await get(sockets[0][1], name, '/other'), /^HTTP\/1\.1 200 [^]*x$/);
			await daemon.reload();
		}
		for (const { pid } of daemon.children())
			assert.doesNotMatch(environmentOf(pid), /LISTEN_FDS=/);
		client.close();
		await daemon.stop();
	});

	it('an address that leaves the configuration and comes back finds its socket again; so does another build', async () => {
		const path = join(temporary(), 'http');
		const daemon = await started([['http', path]], {
			config: (config) => (config.frontends[0].listen = ['systemd:http', '127.0.0.1:0']),
		});
		const early = get(path, 'nothing');
		await daemon.waitReady();
		await early;
		assert.match(await daemon.reload({ config: (c) => c.frontends[0].listen.shift() }), /reloaded/);
		await daemon.waitLine(/listener_closed/);
		assert.match(await daemon.reload({ config: (c) => c.frontends[0].listen.unshift('systemd:http') }), /reloaded/);
		assert.match(await get(path, 'nothing'), /^HTTP\/1\.1 404 /);
		await daemon.upgrade();
		assert.match(await get(path, 'nothing'), /^HTTP\/1\.1 404 /);
		await daemon.stop();
	});

	it('a name that systemd did not pass is an error at its place', async () => {
		const path = join(temporary(), 'http');
		const daemon = await started([['http', path]], {
			config: (config) => (config.frontends[0].listen = ['systemd:https']),
			allow: [/./],
		});
		const early = net.connect(path).on('error', () => {});
		assert.equal((await daemon.exited).code, 1);
		assert.match(daemon.text(), /sluice\.yaml:\d+:\d+: .*systemd:https: systemd passed no socket of this name/);
		early.destroy();
		daemon.killAll();
		daemon.cleanUp();
	});
});

// The calls that the unit allows, sets expanded by systemd's own tool.
function allowedCalls() {
	const expand = (word) =>
		word.startsWith('@')
			? execFileSync('systemd-analyze', ['syscall-filter', word], { encoding: 'utf8' })
					.split('\n')
					.map((line) => line.trim())
					.filter((line) => /^@?[a-z_0-9-]+$/.test(line) && line !== word)
					.flatMap(expand)
			: [word];
	const calls = new Set();
	for (const [, not, list] of UNIT.matchAll(/^SystemCallFilter=(~?)(.+)$/gm))
		for (const call of list.split(' ').flatMap(expand)) calls[not ? 'delete' : 'add'](call);
	return calls;
}

describe('the sandbox of sluiced.service', { skip: sanitized ? 'sanitizers need more' : without('systemd-analyze') }, () => {
	let confine;
	before(() => {
		const calls = [...allowedCalls()];
		assert.ok(calls.length > 100 && calls.includes('read') && !calls.includes('chown'));
		writeFileSync(
			join(folder, 'allowed.h'),
			calls.map((call) => `#ifdef SYS_${call}\nSYS_${call},\n#endif\n`).join(''),
		);
		confine = compile('confine', `-I${folder}`);
	});

	it('refuses what the unit refuses', () => {
		const perl = (code) => execFileSync(confine, ['/usr/bin/env', 'perl', '-e', code], { encoding: 'utf8' });
		assert.match(perl('print chown(0, 0, "/tmp") ? "done" : $!'), /not permitted/);
	});

	it('lets everything work: load, live readers, large payloads, a backup, crashes of each process, a reload, an upgrade, the end', async () => {
		const daemon = await startSluice({
			wrap: () => [confine],
			dataDir: temporary(),
			allow: [/child_exit .*signal=9/],
		});
		const client = connect('h2c', daemon.url);
		const load = await startLoad(daemon.url, { retry: true });
		const s = await new Stream(client, freshName()).create({ type: JSON_TYPE });
		const reader = await s.sse('-1');
		await reader.upTo();
		await s.append('"hello"', { type: JSON_TYPE });
		assert.match((await reader.next()).data, /hello/);
		const large = await new Stream(client, freshName()).create({ body: Buffer.alloc(3 << 20, 65) });
		assert.equal((await large.readAll()).body.length, 3 << 20);
		await load.progress();
		// Into a place that the unit would not let it see, but for the descriptor.
		const backup = await runCtl(['backup', join(temporary(), 'b')], { socket: daemon.control });
		assert.equal(backup.code, 0, backup.err);
		await load.progress();
		await daemon.killChild(daemon.writer());
		await load.progress();
		await daemon.killChild(daemon.workers()[0]);
		await load.progress();
		assert.match(await daemon.reload(), /reloaded/);
		await load.progress();
		await daemon.upgrade();
		await load.progress();
		await load.stop();
		await load.verify();
		assert.doesNotMatch(daemon.text(), /not permitted/);
		load.close();
		client.close();
		await daemon.stop();
	});

	it('and so does the check of a configuration', async () => {
		const text = execFileSync(confine, [join(BUILD, 'sluiced'), '-t', '-c', join(TOP, 'etc', 'sluice.yaml')], {
			encoding: 'utf8',
		});
		assert.match(text, /ok$/m);
	});
});
