// A disk that may lose what was not synced: replays the trace of the shim and builds the states that a power cut may leave.
//
// What is durable: bytes of a file and names of a directory that a sync covered which began after them and has ended.
// Everything later is pending. At a cut each pending change is kept, lost or, for the bytes of a write, torn at 512 bytes;
// which of them is independent of their order. A lost write may leave the file longer all the same, with zeros.

import assert from 'node:assert/strict';
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const EVENT = {
	CREATE: 1,
	WRITE: 2,
	TRUNCATE: 3,
	SYNC_BEGIN: 4,
	SYNC_END: 5,
	MKDIR: 6,
	UNLINK: 7,
	RENAME: 8,
	STRANGE: 9,
	MARK: 100,
};
const HEAD = 32;
const SECTOR = 512;

// The test's own entries: an object as JSON, in one write, so that it has its place in the order of things.
export function markBytes(mark) {
	const text = Buffer.from(JSON.stringify(mark));
	const head = Buffer.alloc(HEAD);
	head.writeUInt32LE(EVENT.MARK, 0);
	head.writeUInt32LE(text.length, 4);
	return Buffer.concat([head, text]);
}

export function readTrace(path) {
	const bytes = readFileSync(path);
	const events = [];
	for (let at = 0; at < bytes.length;) {
		const [type, length] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
		const data = bytes.subarray(at + HEAD, at + HEAD + length);
		assert.equal(data.length, length, 'the trace is whole');
		events.push({
			type,
			data,
			inode: bytes.readBigUInt64LE(at + 8),
			offset: Number(bytes.readBigUInt64LE(at + 16)),
			process: bytes.readBigUInt64LE(at + 24),
		});
		assert.notEqual(type, EVENT.STRANGE, `a call that the shim does not understand: ${data}`);
		at += HEAD + length;
	}
	return events;
}

class File {
	constructor(directory) {
		this.directory = directory;
		this.bytes = Buffer.alloc(0);
		this.length = 0;
		this.pending = []; // writes and truncations, or changes of names
	}

	resize(length) {
		if (length > this.bytes.length) {
			const more = Buffer.alloc(Math.max(length, 2 * this.bytes.length, 65536));
			this.bytes.copy(more, 0, 0, this.length);
			this.bytes = more;
		} else if (length < this.length) this.bytes.fill(0, length, this.length);
		this.length = length;
	}

	apply({ at, data, truncate }) {
		if (truncate !== undefined) return this.resize(truncate);
		if (at + data.length > this.length) this.resize(at + data.length);
		data.copy(this.bytes, at);
	}

	copy() {
		const file = new File(false);
		file.resize(this.length);
		this.bytes.copy(file.bytes, 0, 0, this.length);
		return file;
	}
}

export class Disk {
	// root: a directory that is there already and stays.
	constructor(root) {
		this.root = root;
		this.live = new Map([[root, new File(true)]]); // path -> file, as the programs see it
		this.inodes = new Map();
		this.names = new Map(this.live); // path -> file, as synced
		this.syncs = new Map();
	}

	// The inode of the root is known only when something syncs it.
	file(inode) {
		return this.inodes.get(inode) ?? this.live.get(this.root);
	}

	name(path, file) {
		const parent = this.live.get(dirname(path));
		assert.ok(parent, `the directory of ${path}`);
		parent.pending.push({ path, file });
		if (file) this.live.set(path, file);
		else this.live.delete(path);
	}

	play({ type, inode, offset, data, process }) {
		if (type === EVENT.CREATE || type === EVENT.MKDIR) {
			const file = new File(type === EVENT.MKDIR);
			this.inodes.set(inode, file);
			this.name(data.toString(), file);
		} else if (type === EVENT.WRITE) this.file(inode).pending.push({ at: offset, data });
		else if (type === EVENT.TRUNCATE) this.file(inode).pending.push({ truncate: offset });
		else if (type === EVENT.UNLINK) this.name(data.toString(), null);
		else if (type === EVENT.RENAME) {
			const [from, to] = data.toString().split('\0');
			const file = this.live.get(from);
			this.name(from, null);
			this.name(to, file);
		} else if (type === EVENT.SYNC_BEGIN) {
			const file = this.file(inode);
			this.syncs.set(`${process} ${offset}`, { file, covered: file.pending.length, last: file.pending.at(-1) });
		} else if (type === EVENT.SYNC_END) {
			const { file, last } = this.syncs.get(`${process} ${offset}`);
			this.syncs.delete(`${process} ${offset}`);
			// Another sync may have taken some of them meanwhile.
			const n = last ? file.pending.indexOf(last) + 1 : 0;
			for (const change of file.pending.splice(0, n)) {
				if (file.directory) this.rename(this.names, change);
				else file.apply(change);
			}
		}
	}

	rename(names, { path, file }) {
		if (file) names.set(path, file);
		else names.delete(path);
	}

	pendings() {
		return [...new Set([...this.names.values(), ...this.live.values()])].some((file) => file.pending.length);
	}

	// Writes one state below `to`, in the place of the root. `fate` decides about each pending change: names(change, n, of)
	// says whether it is kept; bytes(change, n, of) says 'kept', 'lost', 'zeros' or a function of the sector's number.
	build(to, fate) {
		const names = new Map(this.names);
		for (const file of new Set([...this.names.values(), ...this.live.values()]))
			if (file.directory)
				file.pending.forEach((change, n, all) => fate.names(change, n, all.length) && this.rename(names, change));
		const inOrder = [...names].filter(([path]) => path !== this.root).sort(([a], [b]) => (a < b ? -1 : 1));
		for (const [path, file] of inOrder) {
			if (!names.has(dirname(path))) {
				names.delete(path); // its directory was lost
				continue;
			}
			const target = join(to, path.slice(this.root.length));
			if (file.directory) mkdirSync(target, { recursive: true });
			else writeFileSync(target, contents(file, fate));
		}
	}
}

function contents(file, fate) {
	if (!file.pending.length) return file.bytes.subarray(0, file.length);
	const result = file.copy();
	file.pending.forEach((change, n, all) => {
		const what = fate.bytes(change, n, all.length);
		if (what === 'kept') result.apply(change);
		else if (what === 'zeros' && change.data) result.resize(Math.max(result.length, change.at + change.data.length));
		else if (typeof what === 'function' && change.data) tear(result, change, what);
	});
	return result.bytes.subarray(0, result.length);
}

// Sectors are those of the disk: torn where a multiple of 512 lies in the file.
function tear(file, { at, data }, keeps) {
	for (let from = 0; from < data.length;) {
		const to = Math.min(data.length, from + SECTOR - ((at + from) % SECTOR));
		if (keeps(Math.floor((at + from) / SECTOR))) file.apply({ at: at + from, data: data.subarray(from, to) });
		from = to;
	}
}
