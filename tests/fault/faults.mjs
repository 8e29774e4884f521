// A daemon whose calls fail when the test says so: see shim.c.

import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../lib/http.mjs';
import { BUILD, startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, freshName, producer } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const SLOTS = ['kind', 'programs', 'files', 'skip', 'count', 'hits', 'retried', 'clock_ms', 'allocations'];
const KINDS = ['nothing', 'full', 'io', 'short', 'sync', 'alloc', 'quota'];
const PROGRAMS = { sluiced: 1, store: 2, frontend: 4 };
const FILES = { wal: 1, volume: 2, segment: 4, other: 8, all: 15 };
const ALWAYS = 1 << 30;

export class Faults {
	constructor() {
		this.home = temporary('sluice-fault');
		this.dataDir = join(this.home, 'data');
		this.path = join(this.home, 'control');
		writeFileSync(this.path, Buffer.alloc(4096));
		this.fd = openSync(this.path, 'r+');
	}

	env() {
		return {
			LD_PRELOAD: join(BUILD, 'tests/fault/.libs/shim.so'),
			SLUICE_FAULT_CONTROL: this.path,
			SLUICE_FAULT_ROOT: this.dataDir,
		};
	}

	write(slot, value) {
		const bytes = Buffer.alloc(8);
		bytes.writeBigInt64LE(BigInt(value));
		writeSync(this.fd, bytes, 0, 8, SLOTS.indexOf(slot) * 8);
	}

	read(slot) {
		const bytes = Buffer.alloc(8);
		readSync(this.fd, bytes, 0, 8, SLOTS.indexOf(slot) * 8);
		return Number(bytes.readBigInt64LE());
	}

	// From now on calls of that kind fail.
	set(kind, { program = 'store', files = 'all', skip = 0, count = ALWAYS } = {}) {
		this.clear();
		this.write('programs', PROGRAMS[program]);
		this.write('files', FILES[files]);
		this.write('skip', skip);
		this.write('count', count);
		this.write('hits', 0);
		this.write('kind', KINDS.indexOf(kind));
	}

	clear() {
		this.write('kind', 0);
	}

	start(options = {}) {
		return startSluice({ dataDir: this.dataDir, env: this.env(), ...options });
	}

	close() {
		closeSync(this.fd);
		rmSync(this.home, { recursive: true, force: true });
	}
}

// A stream whose client notes what it was told; numbered by a producer, repeated until it is definite.
export class Log {
	constructor(url, name = freshName('fault')) {
		this.client = connect('HTTP/1.1', url);
		this.stream = new Stream(this.client, name);
		this.seq = 0;
		this.sizes = [];
	}

	async begin() {
		await this.stream.create({ type: JSON_TYPE });
		return this;
	}

	body(size) {
		return JSON.stringify({ n: this.seq, pad: 'x'.repeat(size) });
	}

	// One try; the status, 0 when there was no answer.
	async try(size = 10) {
		const answer = await this.stream
			.post(this.body(size), { type: JSON_TYPE, headers: producer('p', 0, this.seq) })
			.catch((error) => {
				if (/in vain/.test(error.message)) throw error;
				return { status: 0 };
			});
		if ([200, 204].includes(answer.status)) this.seq++;
		return answer.status;
	}

	insist(size) {
		return until('an append to be taken', async () => [200, 204].includes(await this.try(size)));
	}

	async verify() {
		const values = (await this.stream.readAll()).values();
		assert.deepEqual(
			values.map(({ n }) => n),
			Array.from({ length: this.seq }, (_, n) => n),
		);
	}

	close() {
		this.client.close();
	}
}
