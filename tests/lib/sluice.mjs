// Runs a sluiced of a build tree for one test: its own configuration file, data directory and port; waits for states by
// its log, its exit and /proc, and fails the test for what a test would not look at by itself: sanitizer reports, error
// lines, an exit code that is not 0, processes left behind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { after } from 'node:test';
import { toYaml } from './yaml.mjs';
import { until, within } from './wait.mjs';

export const BUILD = resolve(process.env.SLUICE_BUILD ?? join(import.meta.dirname, '..', '..', 'build'));

const SANITIZER = /AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:/;
const ERROR_LINE = /^<[0-3]>|\bchild_exit\b.*\b(signal=|status=[1-9])/;
const running = new Set();
const temporaries = new Set();

// A test file that fails or dies leaves nothing behind, and does not wait for a daemon that its test forgot. Hooks that
// stop a daemon belong inside a describe(), or they come after this one.
const sweep = () => {
	running.forEach((daemon) => daemon.killAll());
	temporaries.forEach((path) => rmSync(path, { recursive: true, force: true }));
};
after(sweep);
process.on('exit', sweep);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export function baseConfig() {
	return {
		data_dir: 'temporary',
		frontends: [
			{
				name: 'streams',
				listen: ['127.0.0.1:0'],
				workers: 2,
				plugins: [{ plugin: 'streams', mount: '/v1/stream', long_poll_timeout: '2s' }],
			},
		],
	};
}

export const sanitized = (() => {
	try {
		return /^SLUICE_SANITIZE = -fsanitize=/m.test(readFileSync(join(BUILD, 'Makefile'), 'utf8'));
	} catch {
		return false;
	}
})();

// A directory that is removed when the test file ends, unless keepTemporary() is told otherwise.
export function temporary(name = 'sluice-test') {
	const path = mkdtempSync(join(tmpdir(), `${name}-`));
	temporaries.add(path);
	return path;
}
export const keepTemporary = (path) => temporaries.delete(path);

// Options: config(object) edits the default configuration; yaml replaces it altogether; dataDir names a directory that
// outlives the daemon; allow lists error lines that this test provokes; env, args go to the daemon; wrap(env) returns a
// command that is put before it; ready: false = do not wait.
export async function startSluice({
	build = BUILD,
	config,
	yaml,
	dataDir,
	allow = [],
	env = {},
	args = [],
	wrap,
	ready = true,
} = {}) {
	const daemon = new Daemon(build, allow);
	daemon.configure({ config, yaml, dataDir });
	daemon.spawn(env, args, wrap);
	if (!ready) return daemon;
	try {
		await daemon.waitReady();
	} catch (failure) {
		daemon.killAll();
		daemon.cleanUp();
		throw failure;
	}
	return daemon;
}

class Daemon {
	constructor(build, allow) {
		this.build = build;
		this.allow = allow;
		this.lines = [];
		this.home = temporary();
		this.stamp = `SLUICE_TEST_DAEMON=${randomUUID()}`;
		this.file = join(this.home, 'sluice.yaml');
		this.listeners = new Set();
	}

	configure({ config, yaml, dataDir }) {
		this.settings = baseConfig();
		if (dataDir) this.settings.data_dir = dataDir;
		config?.(this.settings);
		writeFileSync(this.file, yaml ?? toYaml(this.settings));
	}

	writeConfig(settings = this.settings) {
		writeFileSync(this.file, toYaml(settings));
	}

	spawn(env, args, wrap) {
		const own = {
			TMPDIR: this.home,
			SLUICE_TEST_DAEMON: this.stamp.split('=')[1],
			NOTIFY_SOCKET: '',
			ASAN_OPTIONS: 'detect_leaks=1:abort_on_error=0',
			UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
			...env,
		};
		const command = [...(wrap?.(own) ?? []), join(this.build, 'sluiced'), '-c', this.file, ...args];
		this.process = spawn(command[0], command.slice(1), {
			stdio: ['ignore', 'pipe', 'pipe'],
			env: { ...process.env, ...own },
		});
		this.pid = this.process.pid;
		running.add(this);
		for (const stream of [this.process.stdout, this.process.stderr]) this.collect(stream);
		// Its children may hold its pipes a little longer than this.
		this.died = new Promise((done) => this.process.once('exit', done));
		this.exited = new Promise((done, fail) => {
			this.process.once('error', fail);
			this.process.once('close', (code, signal) => {
				this.gone = { code, signal };
				this.listeners.forEach((look) => look());
				done(this.gone);
			});
		});
		this.exited.catch(() => {});
	}

	collect(stream) {
		let rest = '';
		stream.setEncoding('utf8');
		stream.on('data', (text) => {
			const parts = (rest + text).split('\n');
			rest = parts.pop();
			this.lines.push(...parts);
			this.listeners.forEach((look) => look());
		});
		stream.on('end', () => rest && this.lines.push(rest));
	}

	// The first line at or behind index `from` that matches; fails when the daemon ends without one.
	async waitLine(pattern, { from = 0, limit } = {}) {
		let look;
		const found = new Promise((done, fail) => {
			look = () => {
				const line = this.lines.slice(from).find((text) => pattern.test(text));
				if (line !== undefined) done(line);
				else if (this.gone)
					fail(new Error(`the daemon ended without ${pattern}:\n${this.text()}`));
			};
			this.listeners.add(look);
			look();
		});
		try {
			return await within(`log line ${pattern}`, found, limit);
		} catch (failure) {
			failure.message += `\n--- log\n${this.text()}`;
			throw failure;
		} finally {
			this.listeners.delete(look);
		}
	}

	// mark() before an action, so that a later waitLine does not find what was there already.
	mark() {
		return this.lines.length;
	}

	async waitReady(from = 0) {
		const line = await this.waitLine(/\bready\b.*\blisten=/, { from });
		this.urls = [...line.matchAll(/\blisten=(\S+)/g)].map((match) => match[1]);
		this.url = this.urls.find((url) => /^https?:/.test(url));
		this.control = /\bcontrol=(\S+)/.exec(line)?.[1];
		return line;
	}

	text() {
		return this.lines.join('\n');
	}

	// Live descendants of the supervisor: [{pid, program, args}].
	children() {
		return readdirSync('/proc')
			.filter((name) => /^\d+$/.test(name))
			.flatMap((name) => {
				try {
					const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
					const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
					if (Number(parent) !== this.pid || state === 'Z') return [];
					const args = readFileSync(`/proc/${name}/cmdline`, 'utf8')
						.split('\0')
						.slice(0, -1);
					return [
						{
							pid: Number(name),
							program: basename(readlinkSync(`/proc/${name}/exe`)),
							args,
						},
					];
				} catch {
					return []; // ended while we looked
				}
			});
	}

	writer() {
		return this.children().find((child) => child.program === 'sluice-store')?.pid;
	}

	workers() {
		return this.children()
			.filter((child) => child.program === 'sluice-frontend')
			.map((child) => child.pid);
	}

	// Kills a child and waits until the supervisor has put another of its name in its place. How many there are says nothing: those of
	// an older generation may be ending.
	async killChild(pid, { signal = 'SIGKILL' } = {}) {
		const before = this.children();
		const { program, args } = before.find((child) => child.pid === pid) ?? assert.fail(`no child ${pid}`);
		process.kill(pid, signal);
		await until(`a successor of ${program} ${pid}`, () =>
			this.children().some(
				(child) =>
					child.program === program && child.args[1] === args[1] && !before.some((old) => old.pid === child.pid),
			),
		);
	}

	// Rewrites the file, sends SIGHUP and waits for the line that says how it ended.
	async reload({ config, yaml, outcome = /\breloaded generation=|\breload_failed\b/ } = {}) {
		const from = this.mark();
		config?.(this.settings);
		writeFileSync(this.file, yaml ?? toYaml(this.settings));
		process.kill(this.pid, 'SIGHUP');
		return this.waitLine(outcome, { from });
	}

	// Puts another build in the place of this one. The successor is nobody's child that we could wait for: its end
	// is that of its output.
	async upgrade() {
		const from = this.mark();
		process.kill(this.pid, 'SIGUSR2');
		await this.waitLine(/\bupgraded successor=/, { from });
		this.pid = Number(/\bready pid=(\d+)/.exec(await this.waitReady(from))[1]);
	}

	// The worker that holds the server's end of this client socket, by way of /proc, or undefined.
	workerOf(socket) {
		const local = socket.localPort.toString(16).toUpperCase().padStart(4, '0');
		const remote = socket.remotePort.toString(16).toUpperCase().padStart(4, '0');
		const line = readFileSync('/proc/net/tcp', 'latin1')
			.split('\n')
			.map((text) => text.trim().split(/\s+/))
			.find((columns) => columns[1]?.endsWith(`:${remote}`) && columns[2]?.endsWith(`:${local}`));
		const inode = line?.[9];
		return this.workers().find((pid) => {
			try {
				return readdirSync(`/proc/${pid}/fd`).some(
					(fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`,
				);
			} catch {
				return false;
			}
		});
	}

	// Memory of a process that is its own (not files it maps), in bytes.
	memory(pid) {
		return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
	}

	// Pages of memory that a process had to be given when it touched them, since it began.
	faults(pid) {
		const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
		return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[7]);
	}

	signal(signal) {
		process.kill(this.pid, signal);
	}

	// Every living process of this daemon, also those whose supervisor is gone: they carry our mark in their
	// environment.
	family() {
		return readdirSync('/proc')
			.filter((name) => /^\d+$/.test(name))
			.filter((pid) => {
				try {
					return readFileSync(`/proc/${pid}/environ`, 'latin1')
						.split('\0')
						.includes(this.stamp);
				} catch {
					return false;
				}
			})
			.map(Number);
	}

	alive() {
		return this.family().length > 0;
	}

	// All at one moment: whoever saw another one die first would still leave in order, the writer by closing the database.
	killAll() {
		running.delete(this);
		for (let tries = 0; tries < 10; tries++) {
			const pids = this.family();
			if (!pids.length) return;
			for (const signal of ['SIGSTOP', 'SIGKILL'])
				for (const pid of pids)
					try {
						process.kill(pid, signal);
					} catch {
						// it ended by itself
					}
		}
	}

	// What no test may leave in the log. Lines the test provokes on purpose are in `allow`.
	problems() {
		return this.lines.filter(
			(line) =>
				SANITIZER.test(line) ||
				(ERROR_LINE.test(line) && !this.allow.some((pattern) => pattern.test(line))),
		);
	}

	checkLog() {
		const bad = this.problems();
		assert.deepEqual(
			bad,
			[],
			`unexpected lines in the log:\n${bad.join('\n')}\n--- whole log\n${this.text()}`,
		);
	}

	// SIGTERM, exit code 0, a clean log, nobody left behind.
	async stop({ code = 0, signal = 'SIGTERM' } = {}) {
		try {
			assert.ok(!this.gone, 'the daemon ended before it was told to');
			this.signal(signal);
			const end = await within('the end of the daemon', this.exited);
			assert.equal(end.code, code, `exit ${JSON.stringify(end)}\n${this.text()}`);
			await until('the end of every child', () => !this.alive());
			this.checkLog();
		} catch (failure) {
			if (!failure.message.includes('--- log')) failure.message += `\n--- log\n${this.text()}`;
			throw failure;
		} finally {
			this.killAll();
			this.cleanUp();
		}
	}

	// kill -9 of everything at once: the machine's point of view of a crash.
	async crash() {
		assert.ok(!this.gone, 'the daemon ended before it was killed');
		this.killAll();
		await this.exited;
		await until('the end of every process', () => !this.alive());
		this.checkLog();
		this.cleanUp();
	}

	// The data directory is not ours to remove when the test named it.
	cleanUp() {
		rmSync(this.home, { recursive: true, force: true });
	}
}

// Runs `sluiced` with arguments to its end: for -t, --print-config and refusals.
export async function runSluiced(args, { build = BUILD, env = {} } = {}) {
	const child = spawn(join(build, 'sluiced'), args, {
		stdio: ['ignore', 'pipe', 'pipe'],
		env: { ...process.env, ...env },
	});
	const output = { out: '', err: '' };
	child.stdout.setEncoding('utf8').on('data', (text) => (output.out += text));
	child.stderr.setEncoding('utf8').on('data', (text) => (output.err += text));
	const end = new Promise((done, fail) => {
		child.once('error', fail);
		child.once('close', (code, signal) => done({ code, signal }));
	});
	try {
		const result = { ...(await within(`the end of sluiced ${args.join(' ')}`, end)), ...output };
		assert.doesNotMatch(result.out + result.err, SANITIZER);
		return result;
	} finally {
		child.kill('SIGKILL');
	}
}
