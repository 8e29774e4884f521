// SIGUSR2: the build that is installed now takes over, without a failed request; one that does not work changes
// nothing.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { Installation, buildNext } from '../lib/install.mjs';
import { startLoad } from '../lib/load.mjs';
import { sanitized, startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

// Follows a stream of numbers by SSE or long-poll, each answer from where the last one ended, as the protocol says. An
// answer may end whenever it likes; a connection that is refused or cut, a status that is not a success, a number that is
// missing or there twice is trouble.
class Follower {
	seen = 0;
	trouble = [];

	constructor(url, name, via, mode) {
		Object.assign(this, { via, mode, client: connect(via, url) });
		this.stream = new Stream(this.client, name);
		this.running = this.run();
	}

	take(values) {
		for (const value of values) if (value !== this.seen++) this.trouble.push(`${value} for ${this.seen - 1}`);
	}

	async sse(offset) {
		const reader = await this.stream.sse(offset);
		for (let event; (event = await reader.next()) !== null;) {
			if (event.type === 'data') this.take(JSON.parse(event.data));
			if (event.control) offset = event.control.streamNextOffset;
			if (this.stopped) reader.close();
		}
		return offset;
	}

	async poll(offset) {
		const answer = await this.stream.poll(offset);
		assert.ok([200, 204].includes(answer.status), `long-poll: ${answer.status} ${answer.text}`);
		if (answer.status === 200) this.take(answer.json());
		return answer.headers['stream-next-offset'];
	}

	async run() {
		let offset = '-1';
		while (!this.stopped) {
			try {
				offset = await this[this.mode](offset);
			} catch (error) {
				// RFC 9113 8.7: not processed, to be repeated.
				if (this.stopped || /REFUSED_STREAM/.test(error.message)) continue;
				this.trouble.push(`${this.via} ${this.mode}: ${error.code ?? ''} ${error.message}`);
				return;
			}
		}
	}

	async stop() {
		this.stopped = true;
		await this.running;
		this.client.close();
	}
}

// Upgrades one after the other while writers write and followers follow.
async function underLoad(daemon, upgrades) {
	const load = await startLoad(daemon.url);
	const followers = ['HTTP/1.1', 'h2c'].flatMap((via, n) =>
		['sse', 'poll'].map((mode, m) => new Follower(daemon.url, load.writers[2 * n + m].stream.name, via, mode)),
	);
	const progress = async () => {
		await load.progress();
		const goals = load.writers.map((writer) => writer.acked);
		await until('the followers to see everything', () => {
			followers.forEach((each) => assert.deepEqual(each.trouble, []));
			return followers.every((each, n) => each.seen >= goals[n]);
		});
	};
	for (const upgrade of upgrades) {
		await progress();
		const old = [daemon.pid, ...daemon.children().map((child) => child.pid)];
		await upgrade();
		await progress();
		await until('everybody of the old build to be gone', () => !daemon.family().some((pid) => old.includes(pid)));
	}
	await load.stop();
	await Promise.all(followers.map((each) => each.stop()));
	assert.deepEqual([...load.trouble, ...followers.flatMap((each) => each.trouble)], []);
	await load.verify();
	load.close();
}

describe('upgrade', { concurrency: 2 }, () => {
	it('five upgrades under load fail not one request, and live readers miss nothing', async () => {
		const daemon = await startSluice({ dataDir: temporary() });
		const url = daemon.url;
		await underLoad(daemon, Array(5).fill(() => daemon.upgrade()));
		assert.equal(daemon.url, url, 'port 0 stays the port that it was');
		await daemon.stop();
	});

	it(
		'neither do upgrades to a build with other protocols and another schema, which migrates',
		{ skip: sanitized && 'one build of this kind is enough' },
		async () => {
			const built = await buildNext();
			const place = new Installation().install('this').install('next', built.build);
			place.use('this');
			const daemon = await startSluice({ build: place.current, dataDir: temporary() });
			await underLoad(daemon, [
				() => daemon.upgrade(),
				async () => {
					place.use('next');
					await daemon.upgrade();
					await daemon.waitLine(new RegExp(`writer_up schema=${built.schema}\\b`));
				},
				() => daemon.upgrade(),
			]);
			await daemon.stop();
		},
	);

	it('a temporary directory and the file of a Unix socket belong to the successor, and go with it', async () => {
		const path = join(temporary(), 'socket');
		const daemon = await startSluice({ config: (config) => config.frontends[0].listen.push({ address: `unix:${path}`, mode: '0660' }) });
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: 'x' });
		const directory = /data_dir=(\S+)/.exec(daemon.text())[1];
		const mode = () => statSync(path).mode & 0o7777;
		await daemon.upgrade();
		await daemon.died;
		assert.equal(mode(), 0o660);
		daemon.settings.frontends[0].listen[1].mode = '0600';
		daemon.writeConfig();
		await daemon.upgrade();
		await until('the new mode', () => mode() === 0o600);
		assert.equal((await s.get()).text, 'x');
		assert.ok(existsSync(directory));
		const raw = net.connect(path);
		raw.write(`GET ${s.path} HTTP/1.0\r\n\r\n`);
		let text = '';
		for await (const part of raw) text += part;
		assert.match(text, /^HTTP\/1\.1 200 [^]*x$/);
		client.close();
		await daemon.stop();
		assert.ok(!existsSync(directory) && !existsSync(path));
	});

	it('takes up a changed configuration like a reload; a reload and another upgrade follow', async () => {
		const daemon = await startSluice({ dataDir: temporary() });
		daemon.settings.frontends[0].workers = 1;
		daemon.writeConfig();
		await daemon.upgrade();
		assert.equal(daemon.workers().length, 1);
		assert.match(await daemon.reload({ config: (config) => (config.frontends[0].workers = 2) }), /reloaded/);
		await until('two workers', () => daemon.workers().length === 2);
		await daemon.upgrade();
		assert.equal(daemon.workers().length, 2);
		await daemon.stop();
	});

	it('SIGTERM in the middle of it ends both', async () => {
		const daemon = await startSluice({ dataDir: temporary(), allow: [/signal=9 |upgrade_failed/] });
		const from = daemon.mark();
		daemon.signal('SIGUSR2');
		await daemon.waitLine(/ upgrade program=/, { from });
		await daemon.stop();
	});
});

describe('upgrade to a build that does not work', { concurrency: 2 }, () => {
	let place;
	before(() => {
		place = new Installation()
			.install('good')
			.install('crash', undefined, { sluiced: 'kill -SEGV $$' })
			.install('exit', undefined, { sluiced: 'exit 3' })
			.install('workers', undefined, { 'sluice-frontend': 'exit 1' });
	});

	// What the log says in the end, when nobody of the other build is left.
	const attempt = async (daemon) => {
		const from = daemon.mark();
		daemon.signal('SIGUSR2');
		const line = await daemon.waitLine(/\bupgrade_(refused|failed)\b/, { from });
		await until('the old family alone', () => daemon.family().length === 4);
		return line;
	};
	const works = async (daemon, stream, text) => {
		const client = connect('HTTP/1.1', daemon.url);
		assert.equal((await stream.on(client).get()).text, text);
		client.close();
	};

	it('missing, crashing, ending, without workers, with a mistake in the file: the old one goes on untouched and says why', async () => {
		place.use('good');
		const daemon = await startSluice({
			build: place.current,
			dataDir: temporary(),
			allow: [/upgrade_|takeover data_dir|config_error|child_exit|reload_failed|<3>\/\S+sluice\.yaml:/],
		});
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: 'x' });
		client.close();
		const family = daemon.children().map((child) => child.pid);
		for (const [build, reason] of [
			['nothing', /upgrade_refused why=".*current\/sluiced: No such file/],
			['crash', /upgrade_failed .*why="it ended before it served"/],
			['exit', /upgrade_failed .*why="it ended before it served"/],
			['workers', /upgrade_failed .*why=".*sluice\.yaml:\d+:\d+: .*check of the plugins/],
		]) {
			place.use(build);
			assert.match(await attempt(daemon), reason);
			await works(daemon, s, 'x');
		}
		place.use('good');
		for (const [change, reason] of [
			[(file) => writeFileSync(file, 'frontends: [\n'), /upgrade_failed .*why=".*sluice\.yaml:\d+:\d+: /],
			[() => daemon.writeConfig({ ...daemon.settings, data_dir: temporary() }), /cannot move the data/],
			[() => (daemon.writeConfig(), chmodSync(daemon.settings.data_dir, 0o770)), /upgrade_failed .*why=".*: data_dir: its group may write /],
		]) {
			change(daemon.file);
			assert.match(await attempt(daemon), reason);
			await works(daemon, s, 'x');
		}
		assert.deepEqual(
			daemon.children().map((child) => child.pid),
			family,
			'nobody was replaced',
		);
		chmodSync(daemon.settings.data_dir, 0o700);
		await daemon.upgrade();
		await works(daemon, s, 'x');
		await daemon.stop();
	});

	// systemd does not wait for a main process that is not its own child when it stops the service: it kills what drains.
	it('a successor is a child of whoever cares for orphans, not of ours; silent, it ends when we stop', async () => {
		const own = new Installation().install('good').install('silent', undefined, { sluiced: 'exec sleep 600' });
		own.use('good');
		const daemon = await startSluice({ build: own.current, allow: [/upgrade_cancelled/] });
		own.use('silent');
		const from = daemon.mark();
		daemon.signal('SIGUSR2');
		const [, pid] = / upgrade program=.* pid=(\d+)/.exec(await daemon.waitLine(/ upgrade program=/, { from }));
		const parent = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ')[1]);
		assert.notEqual(parent, daemon.pid);
		await daemon.stop();
		await until('its end', () => !existsSync(`/proc/${pid}`));
	});

	it('a writer that does not start, when the old one has left already: the old build comes back', async () => {
		const own = new Installation().install('good').install('writer', undefined, { 'sluice-store': 'exit 78' });
		own.use('good');
		const daemon = await startSluice({
			build: own.current,
			dataDir: temporary(),
			allow: [/upgrade_failed|child_exit|child_given_up|fatal name=store/],
		});
		const client = connect('HTTP/1.1', daemon.url);
		const s = await new Stream(client, freshName()).create({ body: 'x' });
		client.close();
		own.use('writer');
		const from = daemon.mark();
		assert.match(await attempt(daemon), /upgrade_failed .*why="store: /);
		await daemon.waitLine(new RegExp(`ready pid=${daemon.pid} `), { from });
		await works(daemon, s, 'x');
		own.use('good');
		await until('the failed one to be gone', () => daemon.family().length === 4);
		await daemon.upgrade();
		await works(daemon, s, 'x');
		await daemon.stop();
	});
});
