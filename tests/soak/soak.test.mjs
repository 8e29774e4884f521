// Under a mixed load for a long time nothing grows: memory, descriptors, the write-ahead log, segments, the data
// directory. The load comes in rounds; after each everything is checked, deleted and closed, and then the daemon must
// stand where it stood before. In the first part of the rounds processes are killed and the configuration is reloaded;
// in the second part nothing is disturbed, so that a leak has time to show in one process.
//
// SLUICE_SOAK_MINUTES says how long the load lasts, SLUICE_SOAK_SEED repeats its choices. The figures are printed.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { it } from 'node:test';
import {
	CloseActor,
	DeleteActor,
	FollowActor,
	ForkActor,
	LargeActor,
	PlainActor,
	ProducerActor,
	random,
} from '../crash/actors.mjs';
import { keepTemporary, sanitized, startSluice, temporary } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';
import { CatchUpActor, ExpiringActor, removeAll } from './actors.mjs';
import { Figures, MIB, Watchman } from './figures.mjs';

const MINUTES = Number(process.env.SLUICE_SOAK_MINUTES || 60);
const SEED = Number(process.env.SLUICE_SOAK_SEED || randomInt(1 << 30));
const MOURNING = [/\bchild\b|child_|\blink\b|store_lost|writer/];
const CHECKPOINT = MIB;

// Bounds: what a process may gain between the first and the last third of the quiet rounds; what the log may exceed
// four times its limit by (a batch of max_batch_bytes and its index pages); segment files that wait to be freed.
const GROWTH = (sanitized ? 64 : 4) * MIB;
const LOG_SLACK = 4 * MIB;
// What the writer has beside twice the volume (its pages in SQLite's cache): 3 MiB in the beginning, the rest is buffers and what malloc keeps.
const WRITER = (sanitized ? 256 : 12) * MIB;
const SEGMENTS_KEPT = 2;

// What one actor does in a round, so that a fast machine does not fill its disk.
const OPS_MOST = 3000;
const LARGE_MOST = 60;

function cast(world, dice) {
	const child = () => random(dice.below(1 << 30));
	const producers = [0, 1, 2].map((door) => new ProducerActor(world, child(), door));
	return [
		...producers,
		...[0, 1].map((door) => new PlainActor(world, child(), door)),
		...[0, 1].map((door) => new LargeActor(world, child(), door)),
		...[0, 1, 2].map((door) => new CloseActor(world, child(), door)),
		...[0, 1].map((door) => new DeleteActor(world, child(), door)),
		...[0, 1].map((door) => new ForkActor(world, child(), door, producers[door])),
		...[0, 1, 2, 0, 1].map((door) => new FollowActor(world, child(), door, producers[door])),
		...[0, 1].map((door) => new ExpiringActor(world, child(), door)),
		...[0, 1].map((door) => new CatchUpActor(world, child(), door, producers[2])),
	];
}

const DISTURBANCES = [
	(daemon) => daemon.killChild(daemon.writer()),
	(daemon, dice) => daemon.killChild(dice.pick(daemon.workers())),
	async (daemon, dice) => {
		const outcome = await daemon.reload({
			config: (config) => (config.limits.idle_timeout = `${60 + dice.below(20)}s`),
		});
		assert.match(outcome, /\breloaded\b/);
		await until('the old workers to leave', () => daemon.workers().length === 2);
	},
	async () => {},
];

// Everybody works until the time is over; then what they were told is compared with what is there.
async function round(world, dice, ms, disturb) {
	const actors = cast(world, dice);
	const end = Date.now() + ms;
	const state = { stopped: false };
	try {
		for (const actor of actors) await actor.setUp();
		const work = Promise.all(
			actors.map(async (actor) => {
				const most = actor instanceof LargeActor ? LARGE_MOST : OPS_MOST;
				while (!state.stopped && actor.ops < most) await actor.step();
			}),
		);
		work.catch(() => (state.stopped = true));
		await until('half of the round', () => state.stopped || Date.now() > end - ms / 2, { limit: 2 * ms + 60_000 });
		await disturb(world.daemon, dice);
		await until('the end of the round', () => state.stopped || Date.now() > end, { limit: 2 * ms + 60_000 });
		state.stopped = true;
		actors.forEach((actor) => actor.interrupt());
		await work;
		for (const actor of actors) await actor.verify(world.url, true);
		return actors.reduce((sum, actor) => sum + actor.ops, 0);
	} finally {
		state.stopped = true;
		actors.forEach((actor) => actor.close());
	}
}

it(`nothing grows: ${MINUTES} minutes, seed ${SEED}`, { timeout: (MINUTES * 4 + 30) * 60_000 }, async () => {
	console.log(`# SLUICE_SOAK_SEED=${SEED} SLUICE_SOAK_MINUTES=${MINUTES}`);
	const dice = random(SEED);
	const dataDir = temporary('sluice-soak');
	const daemon = await startSluice({
		dataDir,
		allow: MOURNING,
		config: (config) => {
			config.store = { checkpoint_bytes: '1M', segment_bytes: '4M', reap_delay: '1s' };
			config.limits = { drain_timeout: '2s', idle_timeout: '75s' };
			config.frontends[0].plugins[0].long_poll_timeout = '1s';
		},
	});
	const world = { daemon, url: daemon.url };
	const figures = new Figures();
	const watchman = new Watchman(daemon, dataDir);
	const rounds = Math.max(8, Math.round(MINUTES));
	const disturbed = Math.floor(rounds * 0.4);
	try {
		for (let n = 0; n < rounds; n++) {
			const disturb = n < disturbed ? DISTURBANCES[n % DISTURBANCES.length] : DISTURBANCES.at(-1);
			const ops = await round(world, dice, (MINUTES * 60_000) / rounds, disturb);
			await removeAll(world.url);
			const sample = await watchman.settle({ segments: SEGMENTS_KEPT });
			figures.add({ n, quiet: n >= disturbed, ops, ...sample });
			console.log(figures.line());
		}
		console.log(figures.summary());
		watchman.stop();
		assert.ok(
			watchman.highestLog <= 4 * CHECKPOINT + LOG_SLACK,
			`the log was ${watchman.highestLog} bytes long once`,
		);
		figures.assertWriter({ most: WRITER });
		figures.assertFlat({ growth: GROWTH });
	} catch (failure) {
		failure.message += `\nseed ${SEED}; data kept in ${dataDir}\n--- log\n${daemon.lines.slice(-60).join('\n')}`;
		keepTemporary(dataDir);
		daemon.killAll();
		throw failure;
	} finally {
		watchman.stop();
	}
	await daemon.stop();
});
