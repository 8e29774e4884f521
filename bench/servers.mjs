// The servers that `./dev bench` compares, each as a fresh process with an empty data directory, and what is read about them in /proc.

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const tests = join(dirname(fileURLToPath(import.meta.url)), '..', 'tests');

// Resolves with { address, pid, stop } once the server printed where it listens.
function start(command, args, dir) {
	return new Promise((resolve, reject) => {
		const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: tests });
		const began = performance.now();
		let text = '';
		const look = (chunk) => {
			text += chunk;
			const found = [.../.*listen=http:.*\n/.exec(text)?.[0].matchAll(/listen=http:\/\/(\S+)/g) ?? []].map((match) => match[1]);
			if (found.length)
				resolve({
					address: found[0],
					addresses: found,
					pid: child.pid,
					dir,
					readyMs: performance.now() - began,
					stop: () => new Promise((done) => child.once('exit', done) && child.kill()),
				});
		};
		child.stdout.on('data', look);
		child.stderr.on('data', look);
		child.once('exit', (code) => reject(new Error(`${command} ended with ${code}:\n${text}`)));
	});
}

export function directory() {
	return mkdtempSync(join(tmpdir(), 'sluice-bench-'));
}

export const remove = (dir) => rmSync(dir, { recursive: true, force: true });

export const servers = (build) => ({
	sluice(dir, kind) {
		const file = join(dir, 'sluice.yaml');
		const presence =
			kind === 'presence' ? `  - name: presence\n    listen: ["127.0.0.1:0"]\n    plugins: [{ plugin: presence }]\n` : '';
		writeFileSync(
			file,
			`data_dir: ${dir}/data\nfrontends:\n  - name: streams\n    listen: ["127.0.0.1:0"]\n    workers: 2\n    plugins: [{ plugin: streams }]\n${presence}`,
		);
		return start(join(build, 'sluiced'), ['-c', file], dir);
	},
	sds(dir) {
		const file = join(dir, 'sluice.yaml');
		writeFileSync(
			file,
			`data_dir: ${dir}/data\nfrontends:\n  - name: sync\n    listen: ["127.0.0.1:0"]\n    workers: 2\n` +
				'    plugins: [{ plugin: sds, secrets: ["0123456789abcdef0123456789abcdef"] }]\n' +
				'  - { name: presence, listen: ["127.0.0.1:0"], plugins: [{ plugin: presence }] }\n',
		);
		return start(join(build, 'sluiced'), ['-c', file], dir);
	},
	file: (dir) => start(process.execPath, [join(tests, 'lib', 'reference-server.mjs'), join(dir, 'data')], dir),
	memory: (dir) => start(process.execPath, [join(tests, 'lib', 'reference-server.mjs')], dir),
});

const stat = (pid) => {
	const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
	const field = text.slice(text.lastIndexOf(')') + 2).split(' ');
	return { parent: Number(field[1]), ticks: Number(field[11]) + Number(field[12]), rss: Number(field[21]) * 4096 };
};

// Processor seconds and resident bytes: in all, of the writer, of the workers. One process of the reference is everything.
export function usage(pid) {
	const sum = { cpu: 0, rss: 0, writer: 0, workers: 0, workersRss: 0 };
	for (const name of readdirSync('/proc').filter((n) => /^\d+$/.test(n)))
		try {
			const { parent, ticks, rss } = stat(name);
			if (Number(name) !== pid && parent !== pid) continue;
			const program = readFileSync(`/proc/${name}/comm`, 'latin1');
			sum.cpu += ticks / 100;
			sum.rss += rss;
			if (program.startsWith('sluice-store')) sum.writer += ticks / 100;
			if (program.startsWith('sluice-front')) {
				sum.workers += ticks / 100;
				sum.workersRss += rss;
			}
		} catch {
			// it ended meanwhile
		}
	return sum;
}

export function diskBytes(dir) {
	let sum = 0;
	for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true }))
		if (entry.isFile()) sum += statSync(join(entry.parentPath ?? entry.path, entry.name)).size;
	return sum;
}
