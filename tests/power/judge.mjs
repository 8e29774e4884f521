// What must be true of a disk state: the promises of the trace up to the cut, and what open_state found.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Collects the marks of a trace up to a cut.
export class Promises {
	streams = new Map();

	take({ k, do: what, s, lane, record, inherits, of, count }) {
		const acked = k === 'ack';
		if (what === 'create' && !acked)
			this.streams.set(s, {
				created: false,
				lanes: {},
				inherits: inherits ? this.own(of).slice(0, inherits) : [],
				snapshots: [{ record: '-', count: 0 }],
				published: 0,
			});
		const stream = this.streams.get(s);
		if (what === 'create' && acked) stream.created = true;
		if (what === 'close') stream.closed = acked ? 'acked' : 'sent';
		if (what === 'remove') stream.removed = acked ? 'acked' : 'sent';
		if (what === 'snapshot' && acked) stream.published++;
		else if (what === 'snapshot') stream.snapshots.push({ record, count });
		if (what !== 'append') return;
		const mine = (stream.lanes[lane] ??= { sent: [], acked: 0 });
		if (acked) mine.acked++;
		else mine.sent.push(record);
	}

	own(s) {
		return Object.values(this.streams.get(s).lanes).flatMap(({ sent }) => sent);
	}

	// found: Map name -> {closed, snapshot, records}. Returns what is wrong with it.
	check(found) {
		const wrong = [];
		for (const name of found.keys()) if (!this.streams.has(name)) wrong.push(`${name} was never created`);
		for (const [name, stream] of this.streams) {
			const there = found.get(name);
			if (!there) {
				if (stream.created && !stream.removed) wrong.push(`${name} was acknowledged and is not there`);
				continue;
			}
			if (stream.removed === 'acked') wrong.push(`${name} is there and its removal was acknowledged`);
			if (stream.closed === 'acked' && !there.closed) wrong.push(`${name} is open and its closure was acknowledged`);
			if (!stream.closed && there.closed) wrong.push(`${name} is closed and nobody closed it`);
			// The last one that was acknowledged, or the one that was sent since; in its place are the records before it.
			const snapshot = stream.snapshots.slice(stream.published).find(({ record }) => record === there.snapshot);
			if (snapshot) wrong.push(...records(name, stream, there.records, snapshot.count));
			else wrong.push(`${name}: the snapshot is ${there.snapshot}, ${stream.published} of ${JSON.stringify(stream.snapshots)} were acknowledged`);
		}
		return wrong;
	}
}

// Inherited ones first, then of each lane a beginning of what it sent, from `first` on, that holds all that was acknowledged.
function records(name, { inherits, lanes }, there, first) {
	const wrong = [];
	if (there.slice(0, inherits.length).join() !== inherits.join()) wrong.push(`${name}: inherited records are not whole`);
	const own = there.slice(inherits.length);
	let known = 0;
	for (const [lane, { sent, acked }] of Object.entries(lanes)) {
		const mine = own.filter((record) => record.startsWith(`${lane}-`));
		known += mine.length;
		if (mine.join() !== sent.slice(first, first + mine.length).join())
			wrong.push(`${name}: records of lane ${lane} are not those sent, each once and in order: ${mine.slice(0, 20)}`);
		if (first + mine.length < acked)
			wrong.push(`${name}: ${acked} of lane ${lane} were acknowledged, ${mine.length} are there behind ${first}`);
	}
	if (known !== own.length) wrong.push(`${name}: ${own.length - known} records that nobody sent among ${own.slice(0, 20)}`);
	return wrong;
}

// The program that opens states, one after the other.
export class Opener {
	constructor(program) {
		this.child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
		this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
	}

	// {found, again, wrong} of one directory.
	async open(directory) {
		this.child.stdin.write(`${directory}\n`);
		const result = { found: new Map(), again: null, wrong: [] };
		for (;;) {
			const { value: line, done } = await this.lines.next();
			if (done) {
				result.wrong.push('the program that opens states died');
				return result;
			}
			if (line === 'end') return result;
			const [word, name, closed, snapshot, ...records] = line.split(' ');
			if (word === 'again') result.again = new Map();
			else if (word === 'stream')
				(result.again ?? result.found).set(name, { closed: closed === '1', snapshot, records });
			else result.wrong.push(line);
		}
	}

	close() {
		this.child.stdin.end();
	}
}

// After going on: what was there is there, and one record more on each stream of a producer.
export function checkAgain({ found, again }) {
	if (!again) return [];
	const wrong = [];
	for (const [name, { closed, snapshot, records }] of found) {
		const now = again.get(name)?.records ?? [];
		const more = name.startsWith('producer-') && !closed ? ['next:6:n'] : [];
		if (now.join() !== [...records, ...more].join() || again.get(name)?.snapshot !== snapshot)
			wrong.push(`${name}: not the same after another start`);
	}
	return wrong;
}
