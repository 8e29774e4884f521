// The load of the SDS cases of `./dev bench`: clients of one store that hear each other's patches, and clients that are merely connected.
// What is measured is checked: every patch reaches every client once.

import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { usage } from './servers.mjs';

const { WebSocket } = createRequire(join(dirname(fileURLToPath(import.meta.url)), '..', 'tests', 'package.json'))('ws');

export const SECRET = '0123456789abcdef0123456789abcdef';
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function token(store, scope) {
	const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'bench', aud: store, scope })}`;
	return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

const open = (server, store, scope, listen) => new Promise((done, fail) => {
	const ws = new WebSocket(`ws://${server.address}/ws/${store}?token=${token(store, scope)}&ack=1`, { perMessageDeflate: false });
	ws.on('message', (data) => listen?.(data));
	ws.once('open', () => done(ws)).once('error', fail);
});

async function openMany(n, one) {
	const all = [];
	while (all.length < n) all.push(...(await Promise.all(Array.from({ length: Math.min(50, n - all.length) }, (_, i) => one(all.length + i)))));
	return all;
}

const settled = () => new Promise((done) => setTimeout(done, 1000));

// Writers send a patch when the one before is durable; the clock of a patch is in it, so a listener knows how old it is.
async function exchange(server, { clients, writers, bytes = 200 }, seconds) {
	const ages = [];
	let heard = 0, sent = 0, over = false;
	const now = () => performance.timeOrigin + performance.now();
	const listen = (data) => {
		if (data[0] !== 1) return;
		heard++;
		ages.push(now() - data.readDoubleBE(1));
	};
	const sockets = await openMany(clients - writers, () => open(server, 'shared', 'read', listen));
	const acks = new Map();
	const authors = await openMany(writers, (i) => open(server, 'shared', 'write', (data) => (data[0] === 0x80 ? acks.get(i)?.() : listen(data))));
	await settled(); // the writers are asked for what they have, and have nothing
	const began = performance.now();
	setTimeout(() => (over = true), seconds * 1000);
	await Promise.all(authors.map(async (ws, i) => {
		const patch = Buffer.alloc(bytes);
		patch[0] = 1;
		for (let n = 0; !over; n++) {
			patch.writeDoubleBE(now(), 1);
			patch.writeUInt32BE(i, 9);
			patch.writeUInt32BE(n, 13);
			const acknowledged = new Promise((done) => acks.set(i, done));
			ws.send(patch);
			sent++;
			await acknowledged;
		}
	}));
	const expected = sent * (clients - 1);
	for (let last = -1; heard < expected && heard !== last;) {
		last = heard;
		await settled();
	}
	const elapsed = (performance.now() - began) / 1000;
	[...sockets, ...authors].forEach((ws) => ws.terminate());
	if (heard !== expected) throw new Error(`${heard} patches were heard of ${expected}`);
	ages.sort((a, b) => a - b);
	return { done: heard, per_second: heard / Math.min(elapsed, seconds), sent, p50_us: ages[ages.length >> 1] * 1000, p99_us: ages[Math.floor(ages.length * 0.99)] * 1000 };
}

// Each has a store of its own, as documents of many people have.
async function rest(server, { idle }) {
	await (await open(server, 'warm', 'write')).terminate();
	await settled();
	const before = usage(server.pid).workersRss;
	const sockets = await openMany(idle, (i) => open(server, `store-${i}`, 'write'));
	await settled();
	const per = (usage(server.pid).workersRss - before) / idle;
	sockets.forEach((ws) => ws.terminate());
	return { done: idle, per_second: NaN, p50_us: NaN, p99_us: NaN, per_connection: per };
}

export async function sds(server, text, seconds) {
	const options = Object.fromEntries(text.split(' ').slice(1).map((word) => word.split('=')).map(([name, value]) => [name, Number(value)]));
	const before = usage(server.pid);
	const result = await (options.idle ? rest(server, options) : exchange(server, options, seconds));
	const after = usage(server.pid);
	for (const name of ['cpu', 'writer', 'workers']) result[`${name}_us`] = ((after[name] - before[name]) * 1e6) / Math.max(1, result.done);
	return { ...result, rss: after.rss };
}
