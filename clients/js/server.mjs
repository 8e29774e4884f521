// A sluiced of one's own: configuration in a temporary directory, ready when the daemon says so, gone with this process.

import { spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const LOG_LINES = 200;
const PROTOCOLS = { h2c: 'auto', http1: 'http1' };

const executable = (path) => {
	try {
		accessSync(path, constants.X_OK);
		return statSync(path).isFile();
	} catch {
		return false;
	}
};

// The program: as told, or the first one of the usual places.
function findProgram(told) {
	const named = told ?? process.env.SLUICED;
	if (named) {
		if (executable(named)) return resolve(named);
		throw new Error(`${told ? 'the option sluiced' : 'SLUICED'} is "${named}", which is no program`);
	}
	const directories = [
		...(process.env.PATH ?? '').split(delimiter).filter(Boolean),
		'/usr/local/sbin',
		'/usr/sbin',
		fileURLToPath(new URL('../../build', import.meta.url)),
	];
	const found = directories.map((directory) => join(directory, 'sluiced')).find(executable);
	if (found) return resolve(found);
	throw new Error(
		`there is no program sluiced in ${[...new Set(directories)].join(', ')}: ` +
			'name it with the option sluiced or in the environment as SLUICED',
	);
}

const address = (host, port) => (host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`);

function configuration({ host, port, dbPath, protocol, insecure }, home) {
	return {
		data_dir: dbPath === undefined ? 'temporary' : resolve(dbPath),
		control_socket: join(home, 'control.sock'),
		auth: { mode: 'none', insecure },
		limits: { drain_timeout: '2s' },
		frontends: [
			{
				name: 'streams',
				listen: [{ address: address(host, port), protocol: PROTOCOLS[protocol] }],
				plugins: [{ plugin: 'riverrun', mount: '/ds' }],
			},
			{ name: 'presence', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'presence', mount: '/presence' }] },
		],
	};
}

// The daemon's lines without the priorities that they begin with.
class Log {
	lines = [];
	#rest = '';
	#watchers = new Set();

	constructor(stream) {
		stream.setEncoding('utf8');
		stream.on('data', (text) => {
			const parts = (this.#rest + text).split('\n');
			this.#rest = parts.pop();
			for (const part of parts) this.#add(part);
		});
	}

	#add(text) {
		const [, level, line] = /^(?:<(\d)>)?(.*)$/.exec(text);
		this.lines.push({ level: Number(level ?? 3), line });
		if (this.lines.length > LOG_LINES) this.lines.shift();
		for (const watcher of this.#watchers) watcher(line);
	}

	watch(watcher) {
		this.#watchers.add(watcher);
		return () => this.#watchers.delete(watcher);
	}

	// What it complained of; if nothing, all that it said.
	text() {
		const grave = this.lines.filter(({ level }) => level <= 3);
		return (grave.length ? grave : this.lines).map(({ line }) => line).join('\n');
	}
}

function check({ host, port, protocol }) {
	if (typeof host !== 'string' || host === '') throw new TypeError('host is an address');
	if (!Number.isInteger(port) || port < 0 || port > 65535) throw new TypeError(`port is a number up to 65535, got ${port}`);
	if (!Object.hasOwn(PROTOCOLS, protocol)) throw new TypeError(`protocol is "h2c" or "http1", got "${protocol}"`);
}

export async function startDevServer({
	host = '127.0.0.1',
	port = 8787,
	dbPath,
	protocol = 'h2c',
	sluiced,
	insecure = false,
} = {}) {
	check({ host, port, protocol });
	const program = findProgram(sluiced);
	const home = mkdtempSync(join(tmpdir(), 'sluice-dev-'));
	const file = join(home, 'sluice.yaml');
	// JSON is YAML, too.
	writeFileSync(file, JSON.stringify(configuration({ host, port, dbPath, protocol, insecure }, home), null, '\t'));
	const child = spawn(program, ['--die-with-parent', '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
	const log = new Log(child.stderr);
	const exited = new Promise((done) => {
		child.once('error', (error) => done({ code: null, signal: null, log: error.message }));
		child.once('close', (code, signal) => done({ code, signal, log: log.text() }));
	}).finally(() => rmSync(home, { recursive: true, force: true }));
	const urls = await new Promise((done, fail) => {
		const leave = log.watch((line) => {
			const found = [.../^sluiced ready\b.*/.exec(line)?.[0].matchAll(/ listen=(\S+)/g) ?? []].map((match) => match[1]);
			if (found.length !== 2) return;
			leave();
			done(found);
		});
		exited.then(({ log: words }) => fail(new Error(words || `${program} ended before it was ready`)));
	});
	return {
		baseUrl: urls[0],
		presenceUrl: `${urls[1]}/presence`,
		pid: child.pid,
		exited,
		async close() {
			child.kill('SIGTERM'); // of one that has ended: nothing
			await exited;
		},
	};
}
