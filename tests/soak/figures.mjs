// What the soak measures, and when it says that something grows.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../lib/wait.mjs';

export const KIB = 1024;
export const MIB = 1024 * KIB;

// Descriptors that a process opens when it first needs them: the volume, its log and index, twice over.
const FILES_LATER = 8;
// Segment files that a worker's reader keeps open (lib/store_reader_internal.h).
const SEGMENTS_OPEN = 16;

const size = (path) => {
	try {
		return statSync(path).size;
	} catch {
		return 0;
	}
};

// Descriptors of a process by what they are.
function descriptors(pid) {
	const count = { sockets: 0, segments: 0, gone: 0, files: 0 };
	for (const fd of readdirSync(`/proc/${pid}/fd`)) {
		let to = '';
		try {
			to = readlinkSync(`/proc/${pid}/fd/${fd}`);
		} catch {
			continue; // closed while we looked
		}
		count.gone += /\.seg \(deleted\)$/.test(to);
		count[to.startsWith('socket:') ? 'sockets' : /\.seg\b/.test(to) ? 'segments' : 'files']++;
	}
	return count;
}

// Looks at the log all the time, and at the rest once a round is over.
export class Watchman {
	constructor(daemon, dataDir) {
		Object.assign(this, { daemon, dataDir, highestLog: 0 });
		this.base = new Map(this.processes().map(({ program, pid }) => [program, descriptors(pid)]));
		this.timer = setInterval(() => this.look(), 100);
	}

	look() {
		this.highestLog = Math.max(this.highestLog, size(join(this.dataDir, 'volume0.db-wal')));
	}

	stop() {
		clearInterval(this.timer);
	}

	processes() {
		return [{ program: 'sluiced', pid: this.daemon.pid }, ...this.daemon.children()];
	}

	segments() {
		return readdirSync(join(this.dataDir, 'segments'));
	}

	// Everything was deleted and every client has gone: waits until the daemon has noticed, and measures.
	async settle({ segments }) {
		let open = [];
		const look = () => (open = this.processes().map(({ program, pid }) => ({ program, pid, ...descriptors(pid) })));
		await until('connections to be closed', () =>
			look().every(({ program, sockets }) => sockets <= this.base.get(program).sockets),
		);
		for (const { program, files, segments: kept } of open) {
			const most = this.base.get(program).files + FILES_LATER;
			assert.ok(files <= most, `${program} has ${files} files open, ${most} at most were expected`);
			assert.ok(kept <= SEGMENTS_OPEN, `${program} has ${kept} segments open`);
		}
		await until('segments to be freed', () => this.segments().length <= segments);
		await until('files that were removed to be closed', () => look().every(({ gone }) => gone === 0));
		return {
			processes: open.map(({ program, pid, ...count }) => ({
				program,
				pid,
				memory: this.daemon.memory(pid),
				descriptors: count.sockets + count.files + count.segments,
			})),
			log: this.highestLog,
			segments: this.segments().length,
			volume: size(join(this.dataDir, 'volume0.db')),
			data: size(join(this.dataDir, 'volume0.db')) +
				this.segments().reduce((sum, name) => sum + size(join(this.dataDir, 'segments', name)), 0),
		};
	}
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const mib = (bytes) => (bytes / MIB).toFixed(1);

export class Figures {
	rounds = [];

	add(sample) {
		this.rounds.push(sample);
	}

	// The last round in a line.
	line() {
		const { n, quiet, ops, processes, log, segments, data } = this.rounds.at(-1);
		const each = processes.map((p) => `${p.program}[${p.pid}] ${mib(p.memory)} MiB ${p.descriptors} fd`);
		return (
			`# round ${n}${quiet ? '' : ' (disturbed)'}: ${ops} operations; ${each.join(', ')}; ` +
			`log ${mib(log)} MiB at most, ${segments} segments, data ${mib(data)} MiB`
		);
	}

	quiet() {
		return this.rounds.filter((round) => round.quiet);
	}

	// Of a number of the quiet rounds: the medians of their first and last third.
	ends(number) {
		const all = this.quiet().map(number);
		const third = Math.max(1, Math.floor(all.length / 3));
		return [median(all.slice(0, third)), median(all.slice(-third))];
	}

	// What is compared: memory of every process of the quiet rounds, and the data directory. Descriptors are held to their base
	// in every round (settle).
	series() {
		const processes = this.quiet()[0].processes;
		const of = (pid, key) => (round) => round.processes.find((p) => p.pid === pid)?.[key];
		return [
			...processes.map(({ program, pid }) => [`memory of ${program}[${pid}]`, of(pid, 'memory')]),
			['data directory', (round) => round.data],
		];
	}

	summary() {
		const ops = this.rounds.reduce((sum, round) => sum + round.ops, 0);
		const lines = this.series().map(([name, number]) => {
			const [first, last] = this.ends(number);
			return `# ${name}: ${mib(first)} MiB, ${mib(last)} MiB in the end`;
		});
		return [`# ${this.rounds.length} rounds, ${ops} operations`, ...lines].join('\n');
	}

	// The writer keeps pages of the volume, with what SQLite has for each, rows of streams that are there, and buffers at rest.
	assertWriter({ most }) {
		for (const { n, processes, volume } of this.rounds)
			for (const { program, memory } of processes.filter((p) => p.program === 'sluice-store'))
				assert.ok(
					memory <= most + 2 * volume,
					`round ${n}: ${program} has ${mib(memory)} MiB, the volume ${mib(volume)} MiB`,
				);
	}

	assertFlat({ growth }) {
		const pids = (round) => round.processes.map((p) => p.pid).join();
		const quiet = this.quiet();
		assert.ok(
			quiet.every((round) => pids(round) === pids(quiet[0])),
			'nobody died in the quiet rounds',
		);
		for (const [name, number] of this.series()) {
			const [first, last] = this.ends(number);
			assert.ok(last <= first + growth, `${name} grew from ${mib(first)} to ${mib(last)} MiB`);
		}
	}
}
