// A daemon's start and end, and what keeps it from starting.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { BUILD, baseConfig, startSluice, temporary } from '../lib/sluice.mjs';
import { JSON_TYPE, Stream, freshName } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

// Starts a daemon that must refuse: exit code, and what it must say.
async function refuses(options, pattern, code = 1) {
	const daemon = await startSluice({ ...options, allow: [/./], ready: false });
	try {
		const end = await within('the refusal', daemon.exited);
		assert.equal(end.code, code, `${JSON.stringify(end)}\n${daemon.text()}`);
		assert.match(daemon.text(), pattern);
		assert.doesNotMatch(daemon.text(), /\bready pid=/);
		await until('no process left', () => !daemon.alive());
		daemon.checkLog();
		return daemon.text();
	} finally {
		daemon.killAll();
		daemon.cleanUp();
	}
}

// Whether somebody else can connect to a Unix socket: "ok", or the error.
function connects(path, who) {
	const program = `require('net').connect(process.argv[1]).on('connect', () => { console.log('ok'); process.exit(); }).on('error', (e) => console.log(e.code))`;
	const { stdout, stderr } = spawnSync(process.execPath, ['-e', program, path], { ...who, cwd: '/', encoding: 'utf8' });
	return stdout.trim() || stderr;
}

describe('start and end', { concurrency: 3 }, () => {
	it('ready means that requests are answered: the log names the port that was taken', async () => {
		const daemon = await startSluice();
		const client = connect('HTTP/1.1', daemon.url);
		assert.equal((await new Stream(client, freshName()).put()).status, 201);
		assert.equal(daemon.workers().length, 2);
		assert.ok(daemon.writer());
		client.close();
		await daemon.stop();
	});

	it('the log begins with version, pid and file; the death of a child says what it means', async () => {
		const daemon = await startSluice({ allow: [/child_exit .*signal=9/] });
		assert.match(daemon.lines[0], new RegExp(`starting version=\\d\\S* pid=${daemon.pid} config=${daemon.file}$`));
		await daemon.killChild(daemon.workers()[0]);
		await daemon.waitLine(/child_exit name=streams#\d .*signal=9 .* effect="its clients have lost their connections"/);
		await daemon.killChild(daemon.writer());
		await daemon.waitLine(/child_exit name=store .*signal=9 .* effect="writes wait for the next one, reads go on"/);
		await daemon.stop();
	});

	it('each program says what it is: help on standard output, misuse on standard error', () => {
		const run = (program, ...args) => spawnSync(join(BUILD, program), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
		for (const [program, args, status, out, err] of [
			['sluiced', ['--help'], 0, /^usage: sluiced \[-c FILE\]/, /^$/],
			['sluiced', ['--frob'], 2, /^$/, /unrecognized option '--frob'\nTry "sluiced --help"\.\n$/],
			['sluiced', ['x'], 2, /^$/, /^sluiced: unexpected argument "x"\n/],
			['sluicectl/sluicectl', ['--help'], 0, /^usage: sluicectl \[options\] COMMAND/, /^$/],
			['sluice-store', [], 2, /^$/, /sluice-store: a part of sluice that sluiced starts/],
			['sluice-frontend', ['--help'], 2, /^$/, /sluice-frontend: a part of sluice that sluiced starts/],
		]) {
			const end = run(program, ...args);
			assert.equal(end.status, status, `${program} ${args}: ${end.stderr}`);
			assert.match(end.stdout, out, program);
			assert.match(end.stderr, err, program);
		}
	});

	it('SIGINT ends it like SIGTERM', async () => {
		await (await startSluice()).stop({ signal: 'SIGINT' });
	});

	it('a temporary data directory is announced, and gone at the end', async () => {
		const daemon = await startSluice();
		const directory = /data_dir=(\S+)/.exec(await daemon.waitLine(/\bready pid=/))[1];
		assert.ok(existsSync(directory));
		assert.match(daemon.text(), /temporary_data/);
		const home = daemon.home;
		await daemon.stop();
		assert.ok(!existsSync(directory));
		assert.ok(!existsSync(home));
	});

	it('a missing data directory is made, private to its user, and its data is there at the next start', async () => {
		const dataDir = join(temporary(), 'a', 'b');
		const name = freshName();
		for (const [round, expected] of [
			[0, '[0]'],
			[1, '[0,1]'],
			[2, '[0,1,2]'],
		]) {
			const daemon = await startSluice({ dataDir });
			const client = connect('HTTP/1.1', daemon.url);
			const s = new Stream(client, name);
			assert.equal((await s.put({ type: JSON_TYPE })).status, round ? 200 : 201);
			await s.append(String(round), { type: JSON_TYPE });
			assert.equal((await s.get()).text, expected);
			client.close();
			await daemon.stop();
		}
		assert.equal(statSync(dataDir).mode & 0o077, 0);
	});

	it('two frontends, three addresses, a Unix socket: all are bound and named', async () => {
		const socket = join(temporary(), 'socket');
		const daemon = await startSluice({
			config: (config) => {
				config.frontends[0].listen.push('127.0.0.1:0', `unix:${socket}`);
				config.frontends.push({
					name: 'other',
					listen: ['[::1]:0'],
					workers: 1,
					plugins: [{ plugin: 'streams' }],
				});
			},
		});
		assert.equal(daemon.urls.length, 4);
		const name = freshName();
		const made = connect('HTTP/1.1', daemon.urls[0]);
		await new Stream(made, name).create({ body: 'x' });
		for (const url of daemon.urls.filter((text) => text.startsWith('http'))) {
			const client = connect('HTTP/1.1', url.replace('[::1]', 'localhost'));
			if (!url.includes('::1')) assert.equal((await new Stream(client, name).get()).text, 'x', url);
			client.close();
		}
		const raw = net.connect(socket);
		raw.write(`GET /v1/stream/${name} HTTP/1.0\r\n\r\n`);
		let text = '';
		for await (const part of raw) text += part;
		assert.match(text, /^HTTP\/1\.1 200 [^]*x$/);
		made.close();
		await daemon.stop();
		assert.ok(!existsSync(socket), 'the socket is removed');
	});

	it('a Unix socket left behind by a crash does not hinder the next start; a living one does', async () => {
		const socket = join(temporary(), 'socket');
		const config = (settings) => (settings.frontends[0].listen = [`unix:${socket}`]);
		const dead = await startSluice({ config });
		await dead.crash();
		assert.ok(existsSync(socket));
		const alive = await startSluice({ config });
		await refuses({ config }, /socket.*(in use|already)/i);
		await alive.stop();
	});

	it('a Unix socket has the mode of the configuration, whatever the umask is, and who may write it may connect', async () => {
		const folder = temporary();
		const at = (name) => join(folder, name);
		const mode = (name) => statSync(at(name)).mode & 0o7777;
		for (const mask of ['000', '077']) {
			const daemon = await startSluice({
				config: (config) =>
					(config.frontends[0].listen = [`unix:${at('own')}`, { address: `unix:${at('group')}`, mode: '0660' }, { address: `unix:${at('all')}`, mode: '0666' }]),
				wrap: () => ['sh', '-c', `umask ${mask}; exec "$@"`, 'sh'],
			});
			assert.deepEqual([mode('own'), mode('group'), mode('all')], [0o600, 0o660, 0o666], `umask ${mask}`);
			if (process.getuid() === 0) {
				chmodSync(folder, 0o711);
				assert.deepEqual(['own', 'group', 'all'].map((name) => connects(at(name), { uid: 65534, gid: 65534 })), ['EACCES', 'EACCES', 'ok']);
				assert.deepEqual(['own', 'group', 'all'].map((name) => connects(at(name), { uid: 65534, gid: 0 })), ['EACCES', 'ok', 'ok']);
			}
			await daemon.stop();
		}
	});

	it('children get the descriptors they need and no others', async () => {
		const daemon = await startSluice();
		for (const { pid, program } of daemon.children()) {
			const open = readdirSync(`/proc/${pid}/fd`).length;
			assert.ok(open < 40, `${program}: ${open} descriptors`);
		}
		await daemon.stop();
	});
});

describe('refusals at the start', { concurrency: 3 }, () => {
	it('a port in use: one line that names the address', async () => {
		const taken = net.createServer();
		await new Promise((done) => taken.listen(0, '127.0.0.1', done));
		const address = `127.0.0.1:${taken.address().port}`;
		await refuses(
			{ config: (config) => (config.frontends[0].listen = [address]) },
			new RegExp(`cannot listen on ${address}.*in use`, 'i'),
		);
		taken.close();
	});

	it('a data directory that others may write is refused, by the check too; one that they can read is warned of', async () => {
		const dataDir = temporary();
		const file = join(temporary(), 'sluice.yaml');
		writeFileSync(file, toYaml({ ...baseConfig(), data_dir: dataDir }));
		const check = (mode) => {
			chmodSync(dataDir, mode);
			const { status, stdout, stderr } = spawnSync(join(BUILD, 'sluiced'), ['-t', '-c', file], { encoding: 'utf8' });
			return `${status} ${stderr}${stdout}`;
		};
		for (const [mode, writers] of [
			[0o770, 'its group'],
			[0o2770, 'its group'],
			[0o702, 'everybody'],
			[0o1777, 'everybody'],
		]) {
			const text = new RegExp(`sluice\\.yaml:1:11: data_dir: ${writers} may write ${dataDir} \\(mode 0*${mode.toString(8)}\\): chmod go-w ${dataDir}, or name a new directory`);
			assert.match(check(mode), new RegExp(`^1 .*${text.source}`));
			await refuses({ dataDir }, text);
		}
		assert.deepEqual(readdirSync(dataDir), [], 'nothing was made there');
		for (const mode of [0o755, 0o711]) assert.match(check(mode), /^0 .*data_dir_readable dir=\S+ mode=07\d\d action="every user can read the data: chmod o-rwx [^]*ok\n$/);
		for (const mode of [0o750, 0o700]) assert.match(check(mode), /^0 \S+: ok\n$/);
		chmodSync(dataDir, 0o755);
		const daemon = await startSluice({ dataDir });
		assert.equal(daemon.text().match(/data_dir_readable/g).length, 1);
		await daemon.stop();
		chmodSync(join(dataDir, 'volume0.db'), 0o664);
		await refuses({ dataDir }, /fatal name=store why="its group may write \S+volume0\.db \(mode 0664\): chmod go-w it/);
		if (process.getuid() === 0) {
			chmodSync(join(dataDir, 'volume0.db'), 0o600);
			chownSync(dataDir, 12345, 0);
			await refuses({ dataDir }, /data_dir: \S+ belongs to user 12345, who may write it: chown 0 /);
			assert.match(check(0o700), /^0 \S+: ok\n$/, 'whose the service is the check does not know');
		}
	});

	it('a data directory that cannot be made, is a file, or cannot be written', async () => {
		const file = join(temporary(), 'file');
		writeFileSync(file, 'x');
		await refuses({ dataDir: file }, /data_dir.*(not a directory|File exists)/i);
		await refuses({ dataDir: join(file, 'below') }, /data_dir.*Not a directory/);
		await refuses({ dataDir: '/proc/sluice' }, /data_dir.*error=/);
		if (process.getuid() !== 0) {
			const locked = mkdtempSync(join(temporary(), 'ro-'));
			mkdirSync(join(locked, 'data'), { mode: 0o500 });
			await refuses({ dataDir: join(locked, 'data') }, /data_dir.*Permission denied/);
		}
		assert.equal(readFileSync(file, 'utf8'), 'x');
	});

	it('a second daemon on the same data directory waits for the first, then refuses; the first is not disturbed', async () => {
		const dataDir = temporary();
		const first = await startSluice({ dataDir });
		const client = connect('HTTP/1.1', first.url);
		const s = await new Stream(client, freshName()).create({ body: 'x' });
		const text = await refuses({ dataDir }, /fatal name=store why=".*in use by another server; stop that one, or/);
		assert.equal(text.match(/is in use/g).length, 1, 'the reason is said once');
		await s.append('y');
		assert.equal((await s.get()).text, 'xy');
		client.close();
		await first.stop();
	});

	it('a successor waits for the lock of a daemon that is still finishing', async () => {
		const dataDir = temporary();
		const first = await startSluice({ dataDir });
		const second = await startSluice({ dataDir, ready: false });
		await first.stop();
		await second.waitReady();
		await second.stop();
	});

	it('an unknown plugin, a file that is none, a file of another ABI', async () => {
		const folder = temporary();
		const file = join(folder, 'bogus.so');
		writeFileSync(file, 'no shared object');
		const withPlugin = (plugin) => ({ config: (config) => (config.frontends[0].plugins = [{ plugin }]) });
		await refuses(withPlugin('nonesuch'), /sluice\.yaml:\d+:\d+: .*nonesuch/);
		await refuses(withPlugin(join(folder, 'missing.so')), /sluice\.yaml:\d+:\d+: .*missing\.so/);
		await refuses(withPlugin(file), /sluice\.yaml:\d+:\d+: .*bogus\.so/);
	});

	it('two plugins that want the same requests', async () => {
		await refuses(
			{
				config: (config) =>
					config.frontends[0].plugins.push({ plugin: 'streams', mount: '/v1/stream' }),
			},
			/\/v1\/stream/,
		);
	});

	it('a missing configuration file', async () => {
		const daemon = await startSluice({
			args: ['-c', '/nonexistent/sluice.yaml'],
			allow: [/./],
			ready: false,
		});
		const end = await within('the refusal', daemon.exited);
		assert.equal(end.code, 1);
		assert.match(daemon.text(), /\/nonexistent\/sluice\.yaml.*No such file/);
		daemon.killAll();
		daemon.cleanUp();
	});
});
