// sluicectl check: a sound data directory is called sound, after a crash too, and is left as it is; each kind of damage is named
// with its stream, offset and file; what cannot be checked is said with the way out.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { runCtl } from '../lib/ctl.mjs';
import { connect } from '../lib/http.mjs';
import { BUILD, startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, forkOf, producer } from '../lib/streams.mjs';
import { toYaml } from '../lib/yaml.mjs';

const LARGE = Buffer.alloc(300_000, 'large ');
// So long that each record has a row of its own: 3000 bytes, which are 3005 of an offset.
const wide = (text) => text.padEnd(3000, '.');

async function fill(client) {
	const make = (name, options) => new Stream(client, name).create(options);
	const log = await make('logs/app', { body: wide('first') });
	for (let seq = 0; seq < 4; seq++) await log.append(wide(`record ${seq}`), { headers: producer('p', 0, seq) });
	await make('things', { type: JSON_TYPE, body: '[{"a":1},{"b":2}]' });
	const files = await make('files', { body: 'small' });
	await files.append(LARGE);
	await make('fork', { type: null, headers: forkOf(log) });
}

// Of every file: name, size, time of change, content.
function picture(dir) {
	return readdirSync(dir, { recursive: true })
		.sort()
		.map((name) => {
			const { size, mtimeMs } = statSync(join(dir, name));
			const file = statSync(join(dir, name)).isFile();
			return [name, size, mtimeMs, file && createHash('sha256').update(readFileSync(join(dir, name))).digest('hex')];
		});
}

describe('sluicectl check', () => {
	let sound, crashed;
	before(async () => {
		[sound, crashed] = [temporary(), temporary()];
		for (const [dataDir, end] of [
			[sound, (daemon) => daemon.stop()],
			[crashed, (daemon) => daemon.crash()],
		]) {
			const daemon = await startSluice({ dataDir });
			const client = connect('HTTP/1.1', daemon.url);
			await fill(client);
			client.close();
			await end(daemon);
		}
	});

	// A copy of the sound directory with something done to it, and what the check says of it.
	async function damaged(what) {
		const dir = join(temporary(), 'data');
		cpSync(sound, dir, { recursive: true });
		if (typeof what === 'string') await promisify(execFile)('sqlite3', [join(dir, 'volume0.db'), what]);
		else what(dir);
		const { code, text, err } = await runCtl(['--json', 'check', dir]);
		const lines = text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
		return { code, err, findings: lines.slice(0, -1), counts: lines.at(-1), dir };
	}
	const segment = () => join('segments', readdirSync(join(sound, 'segments'))[0]);

	it('a sound directory is sound, with its counts', async () => {
		const { code, text, err } = await runCtl(['check', sound]);
		assert.equal(code, 0, text + err);
		assert.match(text, /^ *STREAMS +RECORDS +BYTES .*\n *\d+ +\d+ .* 0\n$/);
		const json = JSON.parse((await runCtl(['--json', 'check', sound])).text);
		assert.equal(json.clean, true);
		assert.equal(json.data_dir, sound);
		assert.ok(json.streams >= 4 && json.payloads === 1 && json.producers === 1);
	});

	it('what a crash leaves is sound, and nothing in it is touched', async () => {
		assert.ok(statSync(join(crashed, 'volume0.db-wal')).size > 0, 'there is a log');
		const was = picture(crashed);
		const { code, text, err } = await runCtl(['--json', 'check', crashed]);
		assert.equal(code, 0, text + err);
		assert.ok(JSON.parse(text).records >= 8, 'what is in the log counts');
		assert.deepEqual(picture(crashed), was);
	});

	it('records that are missing are named with stream and offset', async () => {
		const { code, findings, counts, err } = await damaged(
			"DELETE FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'logs/app') AND start = 3005",
		);
		assert.equal(code, 1);
		assert.equal(counts.clean, false);
		assert.equal(counts.damaged, findings.length);
		const gap = findings.find(({ finding }) => finding === 'gap');
		assert.equal(gap.stream, 'logs/app');
		assert.equal(gap.offset, 3005);
		assert.match(gap.text, /records are missing from here to 6010/);
		assert.equal(err, '', 'in JSON all is in the output');
	});

	it('a payload with another byte is named with stream, offset and file', async () => {
		const flip = (dir) => {
			const bytes = readFileSync(join(dir, segment()));
			bytes[1000] ^= 1;
			writeFileSync(join(dir, segment()), bytes);
		};
		const { code, findings, dir } = await damaged(flip);
		assert.equal(code, 1);
		assert.deepEqual(
			findings.map(({ finding, stream, offset, file }) => [finding, stream, offset, file]),
			[['payload', 'files', 10, segment()]],
		);
		const { text, err } = await runCtl(['check', dir]);
		assert.match(text, /^payload: segments\/\w+\.seg, stream files at offset 10: the payload .* is not what was written$/m);
		assert.match(err, /is damaged; restore a backup/);
	});

	it('what is damaged is not served as if it were good: up to it, behind it and elsewhere all is', async () => {
		// The third of five: "record 1".
		const { findings, dir } = await damaged(
			"UPDATE chunk SET data = CAST(replace(CAST(data AS TEXT), 'record 1', 'record 7') AS BLOB)" +
				" WHERE stream = (SELECT id FROM stream WHERE name = 'logs/app') AND start = 6010",
		);
		assert.deepEqual(
			findings.map(({ finding, stream, offset }) => [finding, stream, offset]),
			[['payload', 'logs/app', 6010]],
		);
		const daemon = await startSluice({ dataDir: dir, allow: [/read_failed stream="(logs\/app|fork)"/, /record_damaged stream="logs\/app"/] });
		const client = connect('HTTP/1.1', daemon.url);
		const log = new Stream(client, 'logs/app');
		const at = (offset) => String(offset).padStart(16, '0');
		for (const s of [log, new Stream(client, 'fork')]) {
			const good = await s.get();
			assert.equal(good.status, 200);
			assert.equal(good.text, wide('first') + wide('record 0'), 'what comes before it');
			const next = good.headers['stream-next-offset'];
			assert.match(next, new RegExp(at(6010)));
			assert.notEqual(good.headers['stream-up-to-date'], 'true');
			const bad = await s.get({ offset: next });
			assert.equal(bad.status, 500, bad.text);
			assert.ok(!bad.text.includes('record 7'));
			// Live readers come up to it and are told, they do not go round in circles.
			const live = await client.request('GET', `${s.path}?offset=-1&live=sse`, {});
			assert.equal(live.status, 200);
			assert.ok(live.text.includes('record 0') && !live.text.includes('record 7'), 'what comes before it, and the end');
			for (const how of ['sse', 'long-poll'])
				assert.equal((await client.request('GET', `${s.path}?offset=${next}&live=${how}`, {})).status, 500, how);
		}
		const { headers } = await new Stream(client, 'things').get();
		assert.equal(headers['stream-up-to-date'], 'true', 'another stream');
		const behind = await log.get({ offset: (await log.head()).headers['stream-next-offset'].replace(at(15025), at(9015)) });
		assert.equal(behind.text, wide('record 2') + wide('record 3'), 'what comes after it');
		const cut = await new Stream(client, 'cut').put({
			type: null,
			headers: forkOf(log, { 'stream-fork-offset': (await log.get()).headers['stream-next-offset'], 'stream-fork-sub-offset': '10' }),
		});
		assert.equal(cut.status, 500, 'nor is it copied');
		assert.equal((await log.post('more')).status, 204);
		await daemon.waitLine(/read_failed stream="logs\/app" offset=6010 action="sluicectl check names what is damaged; restore a backup"/);
		await daemon.waitLine(/record_damaged stream="logs\/app"/);
		client.close();
		await daemon.stop();
	});

	for (const [what, damage, wanted] of [
		['a segment that is gone', (dir) => truncateSync(join(dir, segment()), 10), { finding: 'segment', file: true }],
		['a fork without its source', "UPDATE stream SET fork_of = 900 WHERE name = 'fork'", { finding: 'fork', stream: 'fork' }],
		['a wrong count of forks', "UPDATE stream SET forks = 7 WHERE name = 'logs/app'", { finding: 'fork', stream: 'logs/app' }],
		['a wrong position', "UPDATE chunk SET pos = pos + 1 WHERE start = 6010", { finding: 'position', stream: 'logs/app', offset: 6010 }],
		['a row with other lengths', "UPDATE chunk SET marks = x'0701' WHERE start = 3005", { finding: 'records', offset: 3005 }],
		[
			'another byte in a small record',
			"UPDATE chunk SET data = CAST(replace(data, 'first', 'fisst') AS BLOB) WHERE instr(data, CAST('first' AS BLOB)) = 1",
			{ finding: 'payload', stream: 'logs/app', offset: 0 },
		],
		['producers of nothing', 'UPDATE producer SET stream = 900', { finding: 'producer' }],
		['an account that is wrong', 'UPDATE segment SET live = live + 1', { finding: 'segment', file: true }],
		['a page of the database', (dir) => zero(join(dir, 'volume0.db'), 8192, 4096), { finding: 'database', file: 'volume0.db' }],
	])
		it(`found: ${what}`, async () => {
			const { code, findings } = await damaged(damage);
			assert.equal(code, 1);
			const named = findings.some((finding) =>
				Object.entries(wanted).every(([key, value]) => finding[key] === (value === true ? segment() : value)),
			);
			assert.ok(named, JSON.stringify(findings));
		});

	const zero = (file, from, n) => {
		const bytes = readFileSync(file);
		bytes.fill(0, from, from + n);
		writeFileSync(file, bytes);
	};

	it('a file that nothing refers to is a note, no damage', async () => {
		const { code, findings } = await damaged((dir) => writeFileSync(join(dir, 'segments/00000000000fffff.seg'), ''));
		assert.equal(code, 0);
		assert.deepEqual(
			findings.map(({ finding, damage }) => [finding, damage]),
			[['orphan', false]],
		);
	});

	it('what cannot be checked is said, with status 2', async () => {
		const empty = temporary();
		for (const [args, pattern] of [
			[[empty], /cannot be checked: there is no volume0\.db in it/],
			[['/nonexistent/data'], /\/nonexistent\/data cannot be checked: No such file/],
		]) {
			const { code, err } = await runCtl(['check', ...args]);
			assert.equal(code, 2);
			assert.match(err, pattern);
		}
		const { code, dir } = await damaged('PRAGMA user_version = 99');
		assert.equal(code, 2);
		assert.match((await runCtl(['check', dir])).err, /newer version/);
		const file = join(empty, 'sluice.yaml');
		writeFileSync(file, toYaml({ data_dir: 'temporary', frontends: [] }));
		const lost = await runCtl(['-c', file, 'check']);
		assert.equal(lost.code, 2);
		assert.match(lost.err, /data_dir: temporary.*name a directory/);
	});

	it('a directory in use is refused, wherever its name came from', async () => {
		const dataDir = join(temporary(), 'deep');
		mkdirSync(dataDir, { mode: 0o700 });
		const daemon = await startSluice({ dataDir });
		for (const args of [['check', dataDir], ['-c', daemon.file, 'check'], ['--socket', daemon.control, 'check']]) {
			const { code, err } = await runCtl(args);
			assert.equal(code, 2, args.join(' '));
			assert.match(err, /deep: a server has the data open; stop it first/);
		}
		await daemon.stop();
		const { code, text } = await runCtl(['check', dataDir]);
		assert.equal(code, 0, text);
	});

	it('on a terminal it shows how far it is, and leaves the line clean', async () => {
		const terminal = spawn('script', ['-qec', `${join(BUILD, 'sluicectl', 'sluicectl')} check ${sound}`, '/dev/null'], {
			stdio: ['ignore', 'pipe', 'inherit'],
		});
		let screen = '';
		terminal.stdout.setEncoding('utf8').on('data', (text) => (screen += text));
		assert.equal(await new Promise((done) => terminal.once('close', done)), 0);
		assert.match(screen, /\rchecking structure/);
		assert.ok(screen.lastIndexOf('\r\x1b[K') < screen.indexOf('STREAMS'));
	});
});
