// While clients create, append, close, fork, delete, follow and publish snapshots over both HTTP versions, the writer, a worker, the
// supervisor or everything at once is killed with SIGKILL at a random moment. After each kill: every acknowledged
// append is there exactly once and in order, closed is closed, deleted is deleted, forks are whole, nothing refused has
// appeared, followers missed nothing, and a snapshot with what lies behind it is the whole.
//
// Rounds come in acts: each has its own data directory, streams and seed, so that what is compared stays small and a failure
// is repeated by its act alone. SLUICE_CRASH_SEED=n plays the acts from seed n on, SLUICE_CRASH_ROUNDS sets the number of kills.
//
// A round is short, so that there can be thousands: after a kill what is new is compared and a few of the others, everything in the
// end of the act; a child that dies young is started again later each time, so after a few of these the supervisor's turn comes.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { runCtl } from '../lib/ctl.mjs';
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
	SnapshotActor,
	random,
} from './actors.mjs';

const SEED = Number(process.env.SLUICE_CRASH_SEED ?? randomInt(1 << 30));
const ROUNDS = Number(process.env.SLUICE_CRASH_ROUNDS ?? (process.env.SLUICE_TEST_SLOW ? 3000 : 30));
const ACT = 15;
const YOUNG_DEATHS = 3; // of children of one supervisor
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
		...[0, 1].map((door) => new SnapshotActor(world, child(), door)),
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

async function sound(dataDir) {
	const { code, text, err } = await runCtl(['check', dataDir]);
	assert.equal(code, 0, `sluicectl check ${dataDir}: ${text}${err}`);
}

// One that is under way while something dies is whole and sound, or not there.
function backUp(world) {
	const to = join(temporary('sluice-crash-backup'), 'b');
	const made = runCtl(['backup', to], { socket: world.daemon.control });
	return async () => {
		const { code } = await made;
		assert.equal(existsSync(to), code === 0, `status ${code}`);
		if (code === 0) await sound(to);
		rmSync(dirname(to), { recursive: true, force: true });
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
	// What is left then is sound as it lies there, the log included.
	async everything(world) {
		await world.daemon.crash();
		await sound(world.dataDir);
		await world.start();
	},
};

const AFRESH = ['supervisor', 'everything'];

function stage(dice) {
	const dataDir = temporary('sluice-crash');
	const synchronous = dice.pick(['full', 'full', 'off']);
	return {
		dataDir,
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
					config.limits = { drain_timeout: '500ms' };
					config.frontends[0].plugins[0].long_poll_timeout = '200ms';
					config.frontends[0].plugins.push({ plugin: 'riverrun' });
				},
			});
			this.url = this.daemon.url;
		},
	};
}

const compare = (actors, url, all) => Promise.all(actors.map((actor) => actor.verify(url, all)));
const total = { kills: 0, ops: 0 };

async function act(seed, rounds) {
	const dice = random(seed);
	const world = stage(dice);
	const killed = [];
	const kinds = Object.keys(KILLS);
	let actors = [];
	let young = 0;
	await world.start();
	try {
		actors = cast(world, dice);
		for (const actor of actors) await actor.setUp();
		for (let round = 0; round < rounds; round++) {
			const running = play(actors);
			await running.progress(50 + dice.below(300));
			const backedUp = round % 5 === 0 && backUp(world);
			await running.progress(dice.below(100));
			// Each kind once, then as it comes.
			const what =
				round < kinds.length ? kinds[round] : dice.pick(young < YOUNG_DEATHS ? kinds : AFRESH);
			young = AFRESH.includes(what) ? 0 : young + 1;
			killed.push(what);
			await KILLS[what](world, dice);
			await running.progress(100);
			await running.stop();
			if (backedUp) await backedUp();
			await compare(actors, world.url, false);
		}
		await compare(actors, world.url, true);
		await world.daemon.stop();
		await world.start();
		await compare(actors, world.url, true);
		assert.ok(
			actors.every((actor) => actor.ops > 0),
			'everybody had work',
		);
		await world.daemon.stop();
		await sound(world.dataDir);
	} catch (failure) {
		const { gone, lines } = world.daemon;
		failure.message += `\nseed ${seed}, kills: ${killed.join(', ')}; data kept in ${world.dataDir}`;
		failure.message += `\nthe daemon ${gone ? `had ended: ${JSON.stringify(gone)}` : 'was there'}`;
		failure.message += `\n--- log\n${lines.slice(-80).join('\n')}`;
		world.daemon.killAll();
		keepTemporary(world.dataDir);
		throw failure;
	} finally {
		actors.forEach((actor) => actor.close());
	}
	rmSync(world.dataDir, { recursive: true, force: true });
	total.kills += killed.length;
	total.ops += actors.reduce((sum, actor) => sum + actor.ops, 0);
}

describe('kill -9 under load', () => {
	after(() => console.log(`# ${total.kills} kills under ${total.ops} operations`));
	for (let done = 0; done < ROUNDS; done += ACT) {
		const [seed, rounds] = [SEED + done / ACT, Math.min(ACT, ROUNDS - done)];
		it(`acknowledged is kept, refused is not: seed ${seed}, ${rounds} kills`, async () => {
			console.log(`# SLUICE_CRASH_SEED=${seed} SLUICE_CRASH_ROUNDS=${rounds}`);
			await act(seed, rounds);
		});
	}
});
