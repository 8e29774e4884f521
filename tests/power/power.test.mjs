// The power goes at any moment: whatever of the unsynced writes reached the disk, in whatever order, whole or torn, and
// whichever names of files, the data directory opens, what was acknowledged is there once and in order, and nothing else is.
//
// The writer's calls are recorded by a preloaded shim under a real load; states of the disk are rebuilt for cuts at every
// sync and at random places between, opened, read and written on. A disk that lies about syncs must be found out.
// SLUICE_POWER_SEED repeats the choices of a run, SLUICE_POWER_STATES sets the number of states.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { random } from '../crash/actors.mjs';
import { BUILD, sanitized } from '../lib/sluice.mjs';
import { Disk, EVENT, readTrace } from './disk.mjs';
import { Opener, Promises, checkAgain } from './judge.mjs';
import { record } from './load.mjs';

const SEED = Number(process.env.SLUICE_POWER_SEED ?? randomInt(1 << 30));
const SLOW = Boolean(process.env.SLUICE_TEST_SLOW);
const STATES = Number(process.env.SLUICE_POWER_STATES ?? (SLOW ? 20_000 : 400));
const SHIM = join(BUILD, 'tests/power/.libs/shim.so');
const OPENER = join(BUILD, 'tests/power/open_state');
const where = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sluice-power-'));

after(() => rmSync(where, { recursive: true, force: true }));

// How a cut treats what is pending. `of` numbers count from 0.
const FATES = {
	nothing: () => ({ names: () => false, bytes: () => 'lost' }),
	everything: () => ({ names: () => true, bytes: () => 'kept' }),
	names: () => ({ names: () => true, bytes: () => 'lost' }),
	zeros: () => ({ names: () => true, bytes: () => 'zeros' }),
	newest: () => ({ names: () => true, bytes: (_, n, of) => (n === of - 1 ? 'kept' : 'lost') }),
	oldest: () => ({ names: () => true, bytes: (_, n, of) => (n < of - 1 ? 'kept' : 'lost') }),
	some: (dice) => ({ names: () => dice.below(2) === 0, bytes: () => dice.pick(['kept', 'lost', 'zeros']) }),
	torn: (dice) => ({ names: () => true, bytes: () => () => dice.below(2) === 0 }),
	any: (dice) => ({
		names: () => dice.below(4) > 0,
		bytes: () => dice.pick(['kept', 'kept', 'lost', 'zeros', () => dice.below(2) === 0]),
	}),
};

// One state after another, each at a cut that moves through the trace; work is spread over all cuts that have something
// pending. Returns the wrongs found, at most `enough`.
async function judge({ home, trace, dice, states, enough = 1 }) {
	const events = readTrace(trace);
	const cuts = events.flatMap(({ type }, n) => (type === EVENT.SYNC_END || n === events.length - 1 ? [n] : []));
	while (cuts.length < states / 2) cuts.push(dice.below(events.length));
	cuts.sort((a, b) => a - b);
	const opener = new Opener(OPENER);
	const promises = new Promises();
	const disk = new Disk(home);
	const kinds = Object.keys(FATES);
	const result = { states: 0, wrong: [], syncs: events.filter(({ type }) => type === EVENT.SYNC_END).length };
	let played = 0;
	for (const [at, cut] of cuts.entries()) {
		for (; played < cut; played++) {
			if (events[played].type === EVENT.MARK) promises.take(JSON.parse(events[played].data));
			else disk.play(events[played]);
		}
		const due = Math.round((states * (at + 1)) / cuts.length);
		while (result.states < due && result.wrong.length < enough) {
			const kind = kinds[result.states++ % kinds.length];
			const wrong = await one({ disk, promises, opener, fate: FATES[kind](dice) });
			if (wrong.length) result.wrong.push(`cut ${cut} of ${events.length}, ${kind}: ${wrong.join('; ')}`);
		}
	}
	opener.close();
	return result;
}

async function one({ disk, promises, opener, fate }) {
	const to = mkdtempSync(join(where, 's'));
	disk.build(to, fate);
	const directory = join(to, 'deep/data');
	mkdirSync(directory, { recursive: true }); // as the supervisor would
	const seen = await opener.open(directory);
	rmSync(to, { recursive: true, force: true });
	return [...seen.wrong, ...promises.check(seen.found), ...checkAgain(seen)];
}

async function run({ name, dice, steps, ends, states, enough, ...more }) {
	const home = join(where, name);
	mkdirSync(home);
	const trace = await record({ home, dice, steps, ends, shim: SHIM, ...more });
	const result = await judge({ home, trace, dice, states, enough });
	rmSync(home, { recursive: true, force: true });
	rmSync(trace);
	return result;
}

describe('power loss', { skip: sanitized && 'the shim is preloaded before the runtime of a sanitizer' }, () => {
	it(`what was acknowledged survives every cut: seed ${SEED}, ${STATES} states`, async () => {
		console.log(`# SLUICE_POWER_SEED=${SEED} SLUICE_POWER_STATES=${STATES}`);
		const dice = random(SEED);
		// Many traces rather than long ones: states are spread over different interleavings.
		const traces = Math.ceil(STATES / 2000);
		let states = 0;
		for (let n = 0; n < traces; n++) {
			const result = await run({
				name: `t${n}`,
				dice,
				steps: 15,
				ends: ['stop', 'crash', 'crash'],
				states: Math.ceil(STATES / traces),
			});
			assert.deepEqual(result.wrong, [], `seed ${SEED}, trace ${n}`);
			assert.ok(result.syncs > 50, `${result.syncs} syncs`);
			states += result.states;
		}
		assert.ok(states >= STATES, `${states} states were opened`);
		console.log(`# ${states} states of ${traces} traces`);
	});

	// The checker can fail: what a disk or a setting loses is found.
	for (const lie of ['wal', 'volume', 'segment', 'directory'])
		it(`a disk that does not sync is found out: ${lie}`, async () => {
			const result = await run({
				name: `lie-${lie}`,
				dice: random(SEED),
				steps: 15,
				ends: ['crash'],
				states: 400,
				lie,
			});
			assert.equal(result.wrong.length, 1, 'a loss was found');
		});
	for (const synchronous of ['normal', 'off'])
		it(`a setting that promises less is found out: synchronous: ${synchronous}`, async () => {
			const result = await run({
				name: `store-${synchronous}`,
				dice: random(SEED),
				steps: 15,
				ends: ['crash'],
				states: 400,
				store: { synchronous },
			});
			assert.equal(result.wrong.length, 1, 'a loss was found');
		});
});
