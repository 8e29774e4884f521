// sluicectl restore: a data directory out of a backup, in one step, with a generation of its own; what is there is kept, what is in
// use, damaged or no backup is refused, and then nothing has changed.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Ctl, runCtl } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { BUILD, startSluice, temporary } from '../lib/sluice.mjs';
import { Stream } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const LARGE = Buffer.alloc(200_000, 'large ');
const run = promisify(execFile);
const sql = async (dir, text) => (await run('sqlite3', [join(dir, 'volume0.db'), text])).stdout.trim();

const restore = async (...args) => {
	const end = await runCtl(['restore', ...args]);
	assert.equal(end.code, 0, end.err);
	return end.text;
};
const refused = async (pattern, ...args) => {
	const { code, err } = await runCtl(['restore', ...args]);
	assert.equal(code, 1, err);
	assert.match(err, pattern);
};

async function session(dataDir, work, end = (daemon) => daemon.stop()) {
	const daemon = await startSluice({ dataDir });
	const client = connect('HTTP/1.1', daemon.url);
	const result = await work(client, daemon);
	client.close();
	await end(daemon);
	return result;
}
const bodies = (dataDir) =>
	session(dataDir, async (client) => [
		(await new Stream(client, 'log').readAll()).body.toString(),
		(await new Stream(client, 'large').readAll()).body.length,
	]);

describe('sluicectl restore', { concurrency: 3 }, () => {
	let backup, archive, crashed;
	before(async () => {
		const dir = temporary();
		crashed = join(dir, 'crashed');
		[backup, archive] = [join(dir, 'backup'), join(dir, 'backup.tar')];
		await session(
			crashed,
			async (client, daemon) => {
				const log = await new Stream(client, 'log').create({ body: 'one,' });
				await new Stream(client, 'large').create({ body: LARGE });
				await log.append('two,');
				for (const args of [['backup', backup], ['backup', '--tar', archive]])
					assert.equal((await runCtl(args, { socket: daemon.control })).code, 0);
				await log.append('after the backup');
			},
			(daemon) => daemon.crash(),
		);
	});

	it('a directory and an archive give what was backed up, with another generation, and stay as they are', async () => {
		const generation = await sql(backup, 'SELECT hex(generation) FROM meta');
		assert.equal(generation.length, 32);
		const seen = new Set([generation]);
		for (const from of [backup, archive]) {
			const place = temporary();
			const text = await restore(from, join(place, 'data'));
			assert.match(text, /data: restored, 2 streams, 3 records, 195K, as of position \d+\n$/);
			assert.deepEqual(readdirSync(place), ['data'], 'nothing else is left');
			assert.deepEqual(await bodies(join(place, 'data')), ['one,two,', LARGE.length]);
			seen.add(await sql(join(place, 'data'), 'SELECT hex(generation) FROM meta'));
		}
		assert.equal(seen.size, 3);
		assert.equal((await runCtl(['check', backup])).code, 0);
		assert.equal(await sql(backup, 'SELECT hex(generation) FROM meta'), generation);
	});

	it('what it was is said in words, one of a thing being one, and in numbers with --json', async () => {
		const dir = temporary();
		const [data, copy] = [join(dir, 'data'), join(dir, 'copy')];
		await session(data, async (client, daemon) => {
			await new Stream(client, 'one').create({ body: 'hello' });
			const { text } = await runCtl(['backup', copy], { socket: daemon.control });
			assert.match(text, /copy: 1 stream, 1 record, 5 bytes, as of position \d+; checked\n$/);
		});
		assert.match(await restore(copy, join(dir, 'a')), /a: restored, 1 stream, 1 record, 5 bytes, as of position \d+\n$/);
		const { streams, records, bytes } = JSON.parse(await restore('--json', copy, join(dir, 'b')));
		assert.deepEqual([streams, records, bytes], [1, 1, 5]);
	});

	it('an archive comes from standard input, or compressed', async () => {
		const place = temporary();
		const end = await runCtl(['restore', '-', join(place, 'a')], { input: readFileSync(archive) });
		assert.equal(end.code, 0, end.err);
		await run('sh', ['-c', `gzip <${archive} >${place}/b.tar.gz`]);
		await restore(join(place, 'b.tar.gz'), join(place, 'b'));
		assert.equal((await runCtl(['check', join(place, 'b')])).code, 0);
	});

	it('a directory that a crash has left is restored with its log', async () => {
		const from = join(temporary(), 'copy');
		cpSync(crashed, from, { recursive: true, filter: (name) => !/\.sock$/.test(name) });
		const data = join(temporary(), 'data');
		await restore(from, data);
		assert.deepEqual(readdirSync(data).sort(), ['segments', 'volume0.db']);
		assert.deepEqual(await bodies(data), ['one,two,after the backup', LARGE.length]);
	});

	it('a place with data is refused, and with --force they are kept beside the new ones', async () => {
		const place = temporary();
		const data = join(place, 'data');
		await session(data, (client) => new Stream(client, 'mine').create({ body: 'mine' }));
		chmodSync(data, 0o750);
		await refused(/data is not empty; with --force/, backup, data);
		assert.deepEqual(readdirSync(place), ['data']);
		const text = await restore('--force', backup, data);
		const [kept] = readdirSync(place).filter((name) => name !== 'data');
		assert.match(kept, /^data\.before-\d{8}T\d{6}Z$/);
		assert.ok(text.includes(`What was there before is in ${join(place, kept)}`));
		assert.equal(statSync(data).mode & 0o777, 0o750, 'it has the permissions of the one before');
		assert.deepEqual(await bodies(data), ['one,two,', LARGE.length]);
		await session(join(place, kept), async (client) => assert.equal((await new Stream(client, 'mine').get()).text, 'mine'));
	});

	it('two within a second keep what each of them found', async () => {
		const place = temporary();
		const data = join(place, 'data');
		for (let i = 0; i < 3; i++) {
			cpSync(backup, data, { recursive: true, force: true });
			writeFileSync(join(data, `mark${i}`), '');
			await restore('--force', backup, data);
		}
		const kept = readdirSync(place).filter((name) => name !== 'data');
		for (const name of kept) assert.match(name, /^data\.before-\d{8}T\d{6}Z(-[23])?$/);
		assert.deepEqual(kept.flatMap((name) => readdirSync(join(place, name)).filter((file) => /^mark/.test(file))).sort(), ['mark0', 'mark1', 'mark2']);
	});

	// The directory above may be one that we can write, but not open; then what was exchanged cannot be synced.
	it('an error behind the exchange takes nothing away', async () => {
		const place = temporary();
		const data = join(place, 'data');
		cpSync(backup, data, { recursive: true });
		writeFileSync(join(data, 'mine'), 'mine');
		chmodSync(place, 0o333);
		const words = [join(BUILD, 'sluicectl', 'sluicectl'), 'restore', '--force', backup, data];
		if (process.geteuid() === 0) words.unshift('setpriv', '--bounding-set', '-dac_override,-dac_read_search');
		const { code, stderr } = await run(words[0], words.slice(1)).catch((e) => e);
		chmodSync(place, 0o755);
		assert.equal(code, 1);
		assert.match(stderr, /Permission denied[^]*data is restored, but a power failure may take that back; what was there before is in /);
		const kept = readdirSync(place).filter((name) => name !== 'data');
		assert.equal(kept.length, 1);
		assert.equal(readFileSync(join(place, kept[0], 'mine'), 'utf8'), 'mine');
		assert.deepEqual(await bodies(data), ['one,two,', LARGE.length]);
	});

	it('the place comes from the configuration, and an empty directory is filled', async () => {
		const place = temporary();
		const file = join(place, 'sluice.yaml');
		const data = join(place, 'data');
		mkdirSync(data, { mode: 0o711 });
		writeFileSync(join(data, 'lock'), '');
		writeFileSync(file, toYaml({ data_dir: data, frontends: [] }));
		const { code, text, err } = await runCtl(['-c', file, '--json', 'restore', backup]);
		assert.equal(code, 0, err);
		const told = JSON.parse(text);
		assert.equal(told.data_dir, data);
		assert.equal(told.kept, null);
		assert.equal(told.streams, 2);
		assert.equal(statSync(data).mode & 0o777, 0o711);
		assert.deepEqual(readdirSync(place).sort(), ['data', 'sluice.yaml']);
		assert.deepEqual(await bodies(data), ['one,two,', LARGE.length]);
	});

	it('a server is not overrun, at either end', async () => {
		const place = temporary();
		const data = join(place, 'data');
		await session(data, async (client, daemon) => {
			await new Stream(client, 'mine').create();
			await refused(/data: a server has the data open; stop it first/, '--force', backup, data);
			await refused(/data: a server has the data open; "sluicectl backup" makes a copy/, data, join(place, 'other'));
			const { code, err } = await runCtl(['restore', '--force', backup], { socket: daemon.control });
			assert.equal(code, 1);
			assert.match(err, /a server has the data open/);
			assert.equal((await new Stream(client, 'mine').get()).status, 200);
		});
		assert.deepEqual(readdirSync(place), ['data']);
	});

	it('nor is one that has begun while the copy was made', async () => {
		const place = temporary();
		const data = join(place, 'data');
		mkdirSync(data);
		const ctl = new Ctl(['restore', '--force', '-', data], { input: null });
		await until('tar to wait', () => readdirSync(place).some((name) => readdirSync(join(place, name)).includes('archive')));
		await session(data, async (client) => {
			await new Stream(client, 'mine').create();
			ctl.process.stdin.end(readFileSync(archive));
			const { code, err } = await ctl.end();
			assert.equal(code, 1);
			assert.match(err, /a server has the data open/);
			assert.equal((await new Stream(client, 'mine').get()).status, 200);
		});
		assert.deepEqual(readdirSync(place), ['data']);
	});

	it('a damaged backup is refused, and nothing has changed', async () => {
		const place = temporary();
		const bad = join(place, 'bad');
		cpSync(backup, bad, { recursive: true });
		const segment = join(bad, 'segments', readdirSync(join(bad, 'segments'))[0]);
		const bytes = readFileSync(segment);
		bytes[500] ^= 1;
		writeFileSync(segment, bytes);
		const { code, text, err } = await runCtl(['restore', bad, join(place, 'data')]);
		assert.equal(code, 1);
		assert.match(text, /^payload: segments\/\w+\.seg, stream large at offset 0: /m);
		assert.match(err, /bad is damaged; nothing was changed/);
		assert.deepEqual(readdirSync(place), ['bad']);
	});

	it('what is no backup is refused, and strangers\' archives reach nothing', async () => {
		const place = temporary();
		const data = join(place, 'data');
		mkdirSync(join(place, 'empty'));
		writeFileSync(join(place, 'text'), 'no archive at all, just text that is long enough to be looked at\n'.repeat(20));
		await refused(/empty is no backup: there is no volume0\.db in it/, join(place, 'empty'), data);
		await refused(/tar failed/, join(place, 'text'), data);
		await refused(/missing: No such file/, join(place, 'missing'), data);
		await refused(/a directory beside \S+nowhere\/data: No such file/, backup, join(place, 'nowhere/data'));
		const pack = async (name, fill) => {
			const top = join(temporary(), 'x');
			mkdirSync(join(top, 'segments'), { recursive: true });
			fill(top);
			await run('tar', ['-cf', join(place, name), '-C', dirname(top), '-P', basename(top)]);
			return join(place, name);
		};
		const link = await pack('link.tar', (top) => symlinkSync(join(crashed, 'volume0.db'), join(top, 'volume0.db')));
		await refused(/volume0\.db: Too many levels of symbolic links/, link, data);
		const fifo = await pack('directory.tar', (top) => mkdirSync(join(top, 'volume0.db')));
		await refused(/volume0\.db is not a file/, fifo, data);
		const more = await pack('more.tar', (top) => {
			cpSync(backup, top, { recursive: true });
			writeFileSync(join(top, 'lock'), 'x');
			writeFileSync(join(top, 'segments/..seg'), 'x');
			symlinkSync('/etc', join(top, 'elsewhere'));
		});
		await restore(more, data);
		assert.deepEqual(readdirSync(data).sort(), ['segments', 'volume0.db'], 'only what belongs there');
		assert.equal(readdirSync(join(data, 'segments')).length, 1);
		assert.deepEqual(readdirSync(place).filter((name) => /partial/.test(name)), []);
	});

	it('a backup of an older version is restored, one of a newer version is not', async () => {
		const place = temporary();
		const old = join(place, 'old');
		cpSync(backup, old, { recursive: true });
		await sql(old, 'PRAGMA user_version = 1');
		const { code, err } = await runCtl(['restore', old, join(place, 'data')]);
		assert.equal(code, 0, err);
		assert.match(err, /note: the backup is of an older version; the next start brings it up to date/);
		await sql(old, 'PRAGMA user_version = 99');
		await refused(/old cannot be restored: it was written by a newer version/, old, join(place, 'other'));
	});

	it('given up, it leaves nothing behind', async () => {
		const place = temporary();
		const ctl = new Ctl(['restore', '-', join(place, 'data')], { input: null });
		await until('tar to wait', () => readdirSync(place).some((name) => readdirSync(join(place, name)).includes('archive')));
		ctl.process.kill('SIGINT');
		const { code, err } = await ctl.end();
		assert.equal(code, 1);
		assert.match(err, /given up/);
		assert.deepEqual(readdirSync(place), []);
	});

	// A place that is a mount point cannot be exchanged with the directory beside it.
	it('a mount point is filled from inside when it is empty, and otherwise refused', async (t) => {
		const place = temporary();
		const inside = (words) => ['--user', '--map-root-user', '--mount', 'sh', '-c', `mount -t tmpfs none ${place} && ${words}`];
		if (!(await run('unshare', inside('true')).then(() => true, () => false))) return t.skip('no name spaces here');
		const ctl = join(BUILD, 'sluicectl', 'sluicectl');
		const { stdout, stderr } = await run('unshare', inside(`${ctl} restore ${backup} ${place} && ls ${place} && ${ctl} check ${place} && ${ctl} restore --force ${backup} ${place}; echo "status $?"`));
		assert.match(stdout, /: restored, 2 streams.*\nlock\nsegments\nvolume0\.db\n[^]*status 1\n$/);
		assert.match(stderr, /is not empty, and cannot be moved/);
	});
});
