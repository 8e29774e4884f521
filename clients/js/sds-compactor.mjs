#!/usr/bin/env node
// Compacts the logs of SDS stores on a sluice server (plugin sds): reads a log, merges its patches into one that stands for all of them, and
// has the server put that in their place. The server cannot do this by itself, because it does not look into documents.
//
//   sds-compactor.mjs --url https://host --store ID --token JWT --format yjs|loro|jj [--rows 256] [--bytes 524288] [--watch SECONDS]
//   sds-compactor.mjs ... --kept             lists what compactions have replaced
//   sds-compactor.mjs ... --restore NAME     merges that back in: for the case that a compaction lost something
//
// The token has scope admin. --format is the backend of the store's clients; `yjs` and `loro-crdt` are loaded from where this is run.
// Without --watch it looks once; it compacts when the log has grown by so many rows or bytes since it was compacted last.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const concat = (parts) => {
	const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
	parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
	return whole;
};
const u32 = (bytes, at) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);

// json-joy: a count, then so many patches with their lengths. Concatenating needs no knowledge of what is in them.
function mergeJj(patches) {
	const all = [];
	for (const patch of patches) {
		let at = 4;
		for (let left = u32(patch, 0); left > 0; left--) {
			const length = u32(patch, at);
			if (at + 4 + length > patch.length) throw new Error('a patch is not of json-joy');
			all.push(patch.subarray(at, at + 4 + length));
			at += 4 + length;
		}
		if (at !== patch.length) throw new Error('a patch is not of json-joy');
	}
	const head = new Uint8Array(4);
	new DataView(head.buffer).setUint32(0, all.length);
	return concat([head, ...all]);
}

const load = async (name) => {
	const found = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve(name)));
	return found.default ?? found;
};

async function mergeLoro(patches) {
	const { LoroDoc } = await load('loro-crdt');
	const document = new LoroDoc();
	document.importBatch(patches);
	return document.export({ mode: 'snapshot' });
}

async function mergeYjs(patches) {
	const { mergeUpdates } = await load('yjs');
	return mergeUpdates(patches);
}

export const merge = { jj: async (patches) => mergeJj(patches), loro: mergeLoro, yjs: mergeYjs };

export class Log {
	constructor(url, store, token, request = fetch) {
		this.base = `${url.replace(/\/+$/, '').replace(/^ws/, 'http')}/api/log/${encodeURIComponent(store)}`;
		this.headers = { authorization: `Bearer ${token}` };
		this.request = request;
	}

	async ask(path, options = {}) {
		const answer = await this.request(this.base + path, { ...options, headers: this.headers });
		const bytes = new Uint8Array(await answer.arrayBuffer());
		if (answer.status >= 300) throw Object.assign(new Error(new TextDecoder().decode(bytes)), { status: answer.status });
		return { head: Number(answer.headers.get('sds-head')), bytes };
	}

	// The rows and the highest number, of the log or of something that was kept.
	async read(kept = '', query = '') {
		const { head, bytes } = await this.ask((kept ? `/kept/${kept}` : '') + query);
		const rows = [];
		for (let at = 0; at < bytes.length;) {
			const seq = u32(bytes, at) * 2 ** 32 + u32(bytes, at + 4);
			const length = u32(bytes, at + 8);
			rows.push({ seq, payload: bytes.subarray(at + 12, at + 12 + length) });
			at += 12 + length;
		}
		return { head, rows };
	}

	async kept() {
		return JSON.parse(new TextDecoder().decode((await this.ask('/kept')).bytes)).kept;
	}

	compact(upto, patch) {
		return this.ask(`/compact?upto=${upto}`, { method: 'POST', body: patch });
	}
}

// What it did, or undefined. Rows that come while it works stay behind the compacted one.
export async function compactOnce(log, format, { rows: manyRows = 256, bytes: manyBytes = 524288, restore } = {}) {
	const { rows } = await log.read();
	// The first row may be what the last compaction made.
	const bytes = rows.slice(1).reduce((n, row) => n + row.payload.length, 0);
	if (!rows.length || (!restore && rows.length - 1 < manyRows && bytes < manyBytes)) return undefined;
	const lost = restore ? (await log.read(restore)).rows : [];
	const patch = await merge[format]([...lost, ...rows].map((row) => row.payload));
	const upto = rows.at(-1).seq;
	await log.compact(upto, patch);
	return { rows: rows.length, before: rows.reduce((n, row) => n + row.payload.length, 0), after: patch.length, upto };
}

async function main() {
	const { values } = parseArgs({
		options: {
			url: { type: 'string' }, store: { type: 'string' }, token: { type: 'string' }, format: { type: 'string' },
			rows: { type: 'string', default: '256' }, bytes: { type: 'string', default: '524288' }, watch: { type: 'string' },
			kept: { type: 'boolean' }, restore: { type: 'string' },
		},
	});
	for (const name of ['url', 'store', 'token'])
		if (!values[name]) throw new Error(`--${name} is needed`);
	const log = new Log(values.url, values.store, values.token);
	if (values.kept) {
		for (const { name, head, created } of await log.kept()) console.log(`${name}\t${head}\t${new Date(created).toISOString()}`);
		return;
	}
	if (!merge[values.format]) throw new Error('--format is yjs, loro or jj');
	const limits = { rows: Number(values.rows), bytes: Number(values.bytes), restore: values.restore };
	for (;;) {
		try {
			const did = await compactOnce(log, values.format, limits);
			if (did) console.log(`compacted ${did.rows} rows of ${did.before} bytes up to ${did.upto} into ${did.after} bytes`);
		} catch (failure) {
			// Somebody else was faster, or the server is away: the next round sees. Everything else would fail again.
			if (!values.watch || (failure.status && failure.status !== 409 && failure.status !== 503)) throw failure;
			console.error(`not compacted: ${failure.message}`);
		}
		if (!values.watch) return;
		limits.restore = undefined;
		await new Promise((done) => setTimeout(done, Number(values.watch) * 1000));
	}
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
	main().catch((failure) => {
		console.error(`sds-compactor: ${failure.message}`);
		process.exit(1);
	});
