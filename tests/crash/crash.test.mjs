// While clients create, append, close, fork, delete and follow over both HTTP versions, the writer, a worker, the
// supervisor or everything at once is killed with SIGKILL at a random moment. After each kill: every acknowledged
// append is there exactly once and in order, closed is closed, deleted is deleted, forks are whole, nothing refused has
// appeared, and followers missed nothing. SLUICE_CRASH_SEED repeats the choices of a run, SLUICE_CRASH_ROUNDS sets
// their number.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { it } from 'node:test';
import { keepTemporary, startSluice, temporary } from '../lib/sluice.mjs';
import { until } from '../lib/wait.mjs';
import {
	CloseActor,
	DeleteActor,
	FollowActor,
	ForkActor,
	LargeActor,
	PlainActor,
	ProducerActor,
	random,
} from './actors.mjs';

const SEED = Number(process.env.SLUICE_CRASH_SEED ?? randomInt(1 << 30));
const ROUNDS = Number(process.env.SLUICE_CRASH_ROUNDS ?? (process.env.SLUICE_TEST_SLOW ? 60 : 8));
const MOURNING = [/\bchild\b|child_|\blink\b|store_lost|writer/];

// The cast: every kind over every door somewhere.
function cast(world, dice) {
	const child = () => random(dice.below(1 << 30));
	const producers = [0, 1, 2].map((door) => new ProducerActor(world, child(), door));
	return [
		...producers,
		...[0, 1].map((door) => new PlainActor(world, child(), door)),
		new LargeActor(world, child(), 0),
		new LargeActor(world, child(), 1),
		...[0, 1, 2].map((door) => new CloseActor(world, child(), door)),
		...[0, 1].map((door) => new DeleteActor(world, child(), door)),
		...[0, 1].map((door) => new ForkActor(world, child(), door, producers[door])),
		...[0, 1, 2].map((door) => new FollowActor(world, child(), door, producers[door])),
	];
}

// Runs all actors until stop(); a failure of one is the failure of the round.
function play(actors) {
	const state = { stopped: false };
	const all = Promise.all(
		actors.map(async (actor) => {
			while (!state.stopped) await actor.step();
		}),
	);
	all.catch(() => (state.stopped = true));
	return {
		async progress(ops) {
			const goal = actors.reduce((sum, actor) => sum + actor.ops, 0) + ops;
			await Promise.race([
				all,
				until(
					`${ops} operations`,
					() =>
						state.stopped ||
						actors.reduce((sum, actor) => sum + actor.ops, 0) >= goal,
					{ step: 3 },
				),
			]);
		},
		async stop() {
			state.stopped = true;
			actors.forEach((actor) => actor.interrupt());
			await all;
		},
	};
}

const KILLS = {
	async writer(world) {
		await world.daemon.killChild(world.daemon.writer());
	},
	async worker(world, dice) {
		await world.daemon.killChild(dice.pick(world.daemon.workers()));
	},
	async writerAndWorker(world, dice) {
		const { daemon } = world;
		const victims = [daemon.writer(), dice.pick(daemon.workers())];
		victims.forEach((pid) => process.kill(pid, 'SIGKILL'));
		await until(
			'successors',
			() =>
				daemon.writer() &&
				daemon.workers().length === 2 &&
				!daemon.children().some(({ pid }) => victims.includes(pid)),
		);
	},
	async supervisor(world) {
		const old = world.daemon;
		process.kill(old.pid, 'SIGKILL');
		await old.died;
		await world.start();
		await until('the orphans to leave', () => !old.alive());
		old.checkLog();
		old.cleanUp();
	},
	async everything(world) {
		await world.daemon.crash();
		await world.start();
	},
};

it(`acknowledged is kept, refused is not: seed ${SEED}, ${ROUNDS} kills`, async () => {
	console.log(`# SLUICE_CRASH_SEED=${SEED} SLUICE_CRASH_ROUNDS=${ROUNDS}`);
	const dice = random(SEED);
	const dataDir = temporary('sluice-crash');
	const synchronous = dice.pick(['full', 'full', 'off']);
	const world = {
		async start() {
			this.daemon = await startSluice({
				dataDir,
				allow: MOURNING,
				config: (config) => {
					config.store = {
						synchronous,
						checkpoint_bytes: '256K',
						segment_bytes: '1M',
						reap_delay: '1s',
					};
					config.limits = { drain_timeout: '2s' };
					config.frontends[0].plugins[0].long_poll_timeout = '1s';
				},
			});
			this.url = this.daemon.url;
		},
	};
	await world.start();
	const actors = cast(world, dice);
	const killed = [];
	try {
		for (const actor of actors) await actor.setUp();
		for (let round = 0; round < ROUNDS; round++) {
			const running = play(actors);
			await running.progress(300 + dice.below(700));
			const what =
				round < Object.keys(KILLS).length
					? Object.keys(KILLS)[round]
					: dice.pick(Object.keys(KILLS));
			killed.push(what);
			await KILLS[what](world, dice);
			await running.progress(100);
			await running.stop();
			for (const actor of actors) await actor.verify(world.url);
		}
		await world.daemon.stop();
		await world.start();
		for (const actor of actors) await actor.verify(world.url);
		assert.ok(
			actors.every((actor) => actor.ops > 0),
			'everybody had work',
		);
	} catch (failure) {
		failure.message += `\nseed ${SEED}, kills: ${killed.join(', ')}; data kept in ${dataDir}\n--- log\n${world.daemon.lines.slice(-80).join('\n')}`;
		world.daemon.killAll();
		keepTemporary(dataDir);
		throw failure;
	} finally {
		actors.forEach((actor) => actor.close());
	}
	await world.daemon.stop();
});
