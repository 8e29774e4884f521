// The n-th allocation fails, while a program starts and while the writer or a worker works: a program refuses, ends a
// connection or ends in order and is started again; none falls over, and what was acknowledged is there. With --slow every n;
// otherwise some. SLUICE_FAULT_SEED repeats a choice.

import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { random } from '../crash/actors.mjs';
import { connect } from '../lib/http.mjs';
import { sanitized, startSluice } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, forkOf, freshName } from '../lib/streams.mjs';
import { mapLimit, until, within } from '../lib/wait.mjs';
import { Faults, Log } from './faults.mjs';

const SLOW = Boolean(process.env.SLUICE_TEST_SLOW);
const SEED = Number(process.env.SLUICE_FAULT_SEED ?? randomInt(1 << 30));
const NOISE = [/memory|child|control|link|store|cannot|peer|event|fatal|worker|data_dir|failed/i];
const PROGRAMS = ['sluiced', 'store', 'frontend'];
const STARTS = [...PROGRAMS.map((program) => ({ program })), { program: 'store', fresh: true }]; // fresh: in a new data directory
const LANES = SLOW ? 4 : 2; // daemons of one test at once
const skip = sanitized && 'the shim is preloaded before the runtime of a sanitizer';

// Some of 0..n-1, the first ones always: they differ most.
function some(dice, n, want) {
	if (SLOW || n <= want) return Array.from({ length: n }, (_, at) => at);
	const chosen = new Set(Array.from({ length: want / 4 }, (_, at) => at));
	while (chosen.size < want) chosen.add(dice.below(n));
	return [...chosen];
}

// No process of this daemon ended by a signal, whatever else became of it; the supervisor itself may have ended one that it could not set up.
function nobodyFell(daemon) {
	assert.doesNotMatch(daemon.text(), /child_exit .*signal=(?!9 )/);
	assert.ok(!daemon.gone?.signal, `sluiced ended by ${daemon.gone?.signal}\n${daemon.text()}`);
}

// The allocations of a second worker's start are those of the first one.
const config = (settings) => (settings.frontends[0].workers = 1);

const allocations = async (faults, program) => {
	faults.set('nothing', { program });
	faults.write('allocations', 0);
	const daemon = await faults.start({ config });
	const count = faults.read('allocations');
	await daemon.stop();
	return count;
};

async function start(faults, program, n, outcomes) {
	faults.set('alloc', { program, skip: n, count: 1 });
	const daemon = await startSluice({ dataDir: faults.dataDir, env: faults.env(), config, allow: NOISE, ready: false });
	const ready = await daemon.waitReady().then(
		() => true,
		(error) => {
			if (/in vain/.test(error.message)) throw new Error(`allocation ${n}: ${error.message}`);
			return false;
		},
	);
	faults.clear();
	if (ready) {
		outcomes.up++;
		await serves(daemon);
	} else {
		outcomes.refused++;
		outcomes.last = `allocation ${n}\n${daemon.text()}`;
		const end = await within('the end of the daemon', daemon.exited);
		assert.ok(end.code > 0, `allocation ${n}: ${JSON.stringify(end)}\n${daemon.text()}`);
		assert.match(daemon.text(), /memory|cannot|failed|error/i, `allocation ${n}`);
		daemon.killAll();
		daemon.cleanUp();
	}
	nobodyFell(daemon);
}

describe('memory', { skip, concurrency: 2 }, () => {
	for (const { program, fresh } of STARTS)
		it(`runs out while ${program} starts${fresh ? ' for the first time' : ''}: it comes up all the same, or ends with a sentence; seed ${SEED}`, async () => {
			const dice = random(SEED);
			const idle = Array.from({ length: LANES }, () => new Faults());
			const outcomes = { up: 0, refused: 0, last: '' };
			if (!fresh) for (const faults of idle) await allocations(faults, program);
			const count = await allocations(idle[0], program);
			assert.ok(count > 50, `${count} allocations`);
			await mapLimit(some(dice, count, 20), LANES, async (n) => {
				const faults = idle.pop();
				if (fresh) rmSync(faults.dataDir, { recursive: true, force: true });
				await start(faults, program, n, outcomes);
				idle.push(faults);
			});
			const { up, refused, last } = outcomes;
			console.log(`# ${program}${fresh ? ', first start' : ''}: ${up + refused} of ${count} allocations failed, ${up} came up`);
			// The check of the configuration runs in a sluice-frontend, and refuses the start when it cannot be made.
			assert.ok(up > 0 && (program !== 'store' || refused === 0), `${up} came up, ${refused} did not:\n${last}`);
			idle.forEach((faults) => faults.close());
		});

	for (const program of PROGRAMS.slice(1))
		it(`runs out while ${program} works: that request fails, or that connection, and no other; seed ${SEED}`, async () => {
			const faults = new Faults();
			const dice = random(SEED);
			const daemon = await faults.start({ allow: NOISE });
			const log = await new Log(daemon.url).begin();
			await log.insist();
			let struck = 0;
			for (const n of some(dice, 400, 100)) {
				faults.set('alloc', { program, skip: n, count: 1 });
				await everything(daemon, log, n);
				struck += faults.read('hits');
				faults.clear();
				nobodyFell(daemon);
			}
			console.log(`# ${program} at work: ${struck} allocations failed`);
			assert.ok(struck > 20, `${struck} allocations failed`);
			await log.insist();
			await log.verify();
			log.close();
			await daemon.stop();
			faults.close();
		});
	it(`is short while a worker comes back: that is no mistake in the configuration, which was good before; seed ${SEED}`, async () => {
		const token = 'a-token-long-enough';
		const auth = {
			mode: 'jwt',
			tokens: [{ name: 'log', hash: `sha256:${createHash('sha256').update(token).digest('hex')}` }],
			jwt: { keys: [{ secret: 'at least thirty-two bytes, as many as these' }] },
		};
		const dice = random(SEED);
		const idle = Array.from({ length: LANES }, () => new Faults());
		// Of a daemon of its own each time: who dies again and again is made to wait, for whatever reason.
		const comesBack = async (faults, n) => {
			const daemon = await faults.start({ allow: NOISE, config: (c) => ((c.frontends[0].workers = 1), (c.auth = auth)) });
			const [pid] = daemon.workers();
			const from = daemon.mark();
			process.kill(pid, 'SIGSTOP'); // what fails is to fail in the next one
			if (n >= 0) faults.set('alloc', { program: 'frontend', skip: n, count: 3 });
			else faults.write('allocations', 0);
			process.kill(pid, 'SIGKILL');
			await daemon.waitLine(/child_exit name=streams#1 .*signal=9/, { from });
			await until(`an answer after allocation ${n}`, () => answers(daemon.url, token));
			faults.clear();
			assert.doesNotMatch(daemon.text(), /child_failed .*final=1|child_exit .*status=78/, `allocation ${n}`);
			nobodyFell(daemon);
			await daemon.stop();
			failed ||= /child_failed name=streams#1 .*final=0/.test(daemon.text());
		};
		let failed = false;
		for (const faults of idle) {
			faults.write('programs', 4);
			await comesBack(faults, -1);
		}
		const count = idle[0].read('allocations');
		assert.ok(count > 50, `${count} allocations`);
		const all = async (list) =>
			mapLimit(list, LANES, async (n) => {
				const faults = idle.pop();
				await comesBack(faults, n);
				idle.push(faults);
			});
		const list = some(dice, count, 12);
		await all(list);
		console.log(`# a worker comes back: ${list.length} of ${count} allocations failed`);
		for (let more = 0; more < 100 && !failed; more++) await all([dice.below(count)]);
		assert.ok(failed, 'one of them was told that there is no memory for the configuration');
		idle.forEach((faults) => faults.close());
	});
});

// Whether the worker serves whoever has the token.
async function answers(url, token) {
	const client = connect('HTTP/1.1', url, { keepAlive: false });
	try {
		return (await client.request('HEAD', '/v1/stream/none', { headers: { authorization: `Bearer ${token}` } })).status === 404;
	} catch {
		return false;
	} finally {
		client.close();
	}
}

// It came up: an append is taken.
async function serves(daemon) {
	// The line that says where it listens may be what there was no memory for.
	if (daemon.url) {
		const log = new Log(daemon.url);
		await until('the stream', async () => [200, 201].includes((await log.stream.put({ type: JSON_TYPE })).status));
		await log.insist();
		await log.verify();
		log.close();
	}
	await daemon.stop();
}

// One of each: answers may be refusals, connections may end; what is acknowledged counts.
async function everything(daemon, log, n) {
	const client = connect(n % 2 ? 'h2c' : 'HTTP/1.1', daemon.url);
	const s = new Stream(client, freshName('oom'));
	const attempt = async (what, work) => {
		try {
			const { status } = await work();
			assert.ok(status < 600 && ![400, 401, 403, 405].includes(status), `${what}: ${status} at allocation ${n}`);
		} catch (error) {
			if (error.code === 'ERR_ASSERTION' || /in vain/.test(error.message)) throw error;
		}
	};
	await attempt('create', () => s.put({ body: 'first' }));
	await attempt('append', () => s.post('second'));
	await attempt('large', () => s.post('x'.repeat(300_000)));
	await attempt('read', () => s.get());
	await attempt('fork', () =>
		new Stream(client, freshName('oom')).put({ type: null, headers: forkOf(s) }),
	);
	await attempt('list', () => client.request('GET', '/v1/stream/__ds/streams?prefix=oom'));
	await attempt('remove', () => s.remove());
	const status = await log.try();
	assert.ok([0, 200, 204].includes(status) || status >= 500, String(status));
	client.close();
}
