// Runs the cases of `./dev bench` against sluice, the file-backed reference and the in-memory reference in turn, three rounds, and
// prints medians, ratios and targets. Every number of sluice is with each acknowledged append synced to disk; what is measured is
// checked by the load generator.
// usage: node bench/run.mjs --build DIR [--rounds N] [--seconds N] [--only WORDS] [--quick] [--markdown]

import { execFile, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import { cases } from './cases.mjs';
import { sds } from './sds.mjs';
import { directory, diskBytes, remove, servers as serversOf, usage } from './servers.mjs';

const { values } = parseArgs({
	options: {
		build: { type: 'string', default: join(dirname(fileURLToPath(import.meta.url)), '..', 'build') },
		rounds: { type: 'string' },
		seconds: { type: 'string' },
		only: { type: 'string' },
		quick: { type: 'boolean' },
		markdown: { type: 'boolean' },
	},
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 3));
const chosen = cases.filter((c) => !values.only || c.name.includes(values.only));
const load = join(values.build, 'bench', 'load');
const servers = serversOf(values.build);
const run = promisify(execFile);

const argsOf = (server, text, kind) => {
	const [name, ...rest] = text.split(' ');
	const [address, root] = name === 'presence' ? [server.addresses[1], '/presence'] : [server.address, '/v1/stream'];
	return [address, root, name, ...rest, `seconds=${seconds}`, `lenient=${kind === 'sluice' ? 0 : 1}`];
};

async function plain(server, text, kind) {
	const before = usage(server.pid);
	const { stdout } = await run(load, argsOf(server, text, kind), { maxBuffer: 1 << 24 });
	const after = usage(server.pid);
	const result = JSON.parse(stdout.trim().split('\n').at(-1));
	for (const part of ['cpu', 'writer', 'workers'])
		result[`${part}_us`] = ((after[part] - before[part]) * 1e6) / Math.max(1, result.done);
	return { ...result, rss: after.rss };
}

// The generator says when nobody is there yet and when everybody waits; the difference in memory is theirs.
async function idle(server, text, kind) {
	const child = spawn(load, argsOf(server, text, kind), { stdio: ['pipe', 'pipe', 'inherit'] });
	const seen = {};
	let last = '';
	for await (const chunk of child.stdout)
		for (const line of String(chunk).split('\n').filter(Boolean)) {
			last = line;
			if (line !== 'ready' && line !== 'idle') continue;
			seen[line] = usage(server.pid);
			child.stdin.write('go\n');
		}
	if (!seen.idle) throw new Error('the readers did not all arrive in time');
	const result = JSON.parse(last);
	const grown = seen.idle.workersRss
		? seen.idle.workersRss - seen.ready.workersRss
		: seen.idle.rss - seen.ready.rss;
	return { ...result, per_connection: grown / result.done, p50_us: result.wake_all_us };
}

async function many(server, text, kind) {
	const { stdout } = await run(load, argsOf(server, text, kind), { maxBuffer: 1 << 24 });
	const phases = Object.fromEntries(
		stdout
			.trim()
			.split('\n')
			.map((line) => JSON.parse(line))
			.map((r) => [r.phase, r]),
	);
	const n = phases.create.done;
	await server.stop();
	const result = {
		...phases.append,
		creates: phases.create.per_second,
		reads: phases.read.per_second,
		disk: kind === 'memory' ? NaN : diskBytes(server.dir) / n,
	};
	if (kind === 'sluice') {
		const again = await servers.sluice(server.dir);
		result.ready_ms = again.readyMs;
		server.stop = again.stop;
	} else {
		server.stop = async () => {};
	}
	return result;
}

async function h2(server) {
	const body = join(server.dir, 'body');
	writeFileSync(body, 'x'.repeat(100));
	const url = `http://${server.address}/v1/stream/h2`;
	await fetch(url, { method: 'PUT', headers: { 'content-type': 'text/plain' } });
	const rate = (extra) => {
		const args = [`--duration=${seconds}`, '-d', body, '-H', 'content-type: text/plain', ...extra, url];
		return Number(/([\d.]+) req\/s/.exec(execFileSync('h2load', args, { encoding: 'utf8' }))[1]);
	};
	const one = rate(['--h1', '-c', '256', '-m', '1']);
	const two = rate(['-c', '16', '-m', '16']);
	return { per_second: two, http1: one, h2_ratio: two / one, p50_us: NaN, p99_us: NaN };
}

const kinds = { idle, many, h2, presence: plain, sds: (server, text) => sds(server, text, seconds) };
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN;
const results = new Map();

async function measure(c, kind, round) {
	const dir = directory();
	const server = await servers[(kind === 'sluice' && c.server) || kind](dir, c.kind);
	try {
		const text = kind !== 'sluice' && c.small ? c.small : c.load;
		const result = await (kinds[c.kind] ?? plain)(server, text, kind);
		const key = `${c.name}\0${kind}`;
		results.set(key, [...(results.get(key) ?? []), result]);
		console.error(`round ${round} ${kind}: ${c.name}: ${JSON.stringify(result)}`);
	} catch (error) {
		// A reference that drops connections costs its own figure only; sluice may not.
		console.error(`round ${round} ${kind}: ${c.name}: failed: ${(error.stderr || error.message).trim()}`);
		if (kind === 'sluice') process.exitCode = 1;
	}
	await server.stop();
	remove(dir);
}

for (let round = 1; round <= rounds; round++)
	for (const c of chosen)
		for (const kind of c.only ?? ['sluice', 'file', 'memory']) await measure(c, kind, round);

const pick = (c, kind, field) => median((results.get(`${c.name}\0${kind}`) ?? []).map((r) => r[field]));
const factor = (a, b) => (Number.isFinite(a / b) ? `${(a / b).toFixed(1)}x` : '-');
const verdict = (have, want) => (want === undefined || Number.isNaN(have) ? '' : have >= want ? ' met' : ' MISSED');

function goals(c) {
	const rate = pick(c, 'sluice', 'per_second') / pick(c, 'file', 'per_second');
	const p50 = pick(c, 'file', 'p50_us') / pick(c, 'sluice', 'p50_us');
	const p99 = pick(c, 'file', 'p99_us') / pick(c, 'sluice', 'p99_us');
	const memory = pick(c, 'sluice', 'per_second') / pick(c, 'memory', 'per_second');
	const list = [];
	if (c.rate) list.push(`rate >= ${c.rate}x${verdict(rate, c.rate)}`);
	if (c.p50) list.push(`p50 >= ${c.p50}x${verdict(p50, c.p50)}`);
	if (c.p99) list.push(`p99 >= ${c.p99}x${verdict(p99, c.p99)}`);
	if (c.memory) list.push(`memory mode >= ${c.memory}x${verdict(memory, c.memory)}`);
	if (c.wake) list.push(`wake all >= ${c.wake}x${verdict(p50, c.wake)}`);
	if (c.idle) {
		const bytes = pick(c, 'sluice', 'per_connection');
		list.push(`${Math.round(bytes)} bytes a connection <= ${c.idle}${verdict(-bytes, -c.idle)}`);
	}
	if (c.cold) {
		const bytes = pick(c, 'sluice', 'disk');
		const ms = pick(c, 'sluice', 'ready_ms');
		list.push(`${Math.round(bytes)} bytes of disk a stream <= ${c.cold}${verdict(-bytes, -c.cold)}`);
		list.push(`ready in ${Math.round(ms)} ms <= ${c.ready}${verdict(-ms, -c.ready)}`);
	}
	if (c.h2) {
		const ratio = pick(c, 'sluice', 'h2_ratio');
		list.push(`${ratio.toFixed(1)}x HTTP/1.1 >= ${c.h2}x${verdict(ratio, c.h2)}`);
	}
	return list.join('; ');
}

const number = (n, digits = 0) => (Number.isFinite(n) ? n.toFixed(digits) : '-');
const header = ['case', 'sluice/s', 'p50 us', 'p99 us', 'x file', 'p50', 'p99', 'x memory', 'writer us', 'workers us', 'targets'];
const rows = chosen.map((c) => [
	c.name,
	number(pick(c, 'sluice', 'per_second')),
	number(pick(c, 'sluice', 'p50_us')),
	number(pick(c, 'sluice', 'p99_us')),
	factor(pick(c, 'sluice', 'per_second'), pick(c, 'file', 'per_second')),
	factor(pick(c, 'file', 'p50_us'), pick(c, 'sluice', 'p50_us')),
	factor(pick(c, 'file', 'p99_us'), pick(c, 'sluice', 'p99_us')),
	factor(pick(c, 'sluice', 'per_second'), pick(c, 'memory', 'per_second')),
	number(pick(c, 'sluice', 'writer_us'), 1),
	number(pick(c, 'sluice', 'workers_us'), 1),
	goals(c),
]);
if (values.markdown) {
	console.log(`| ${header.join(' | ')} |\n|${header.map((_, i) => (i && i < header.length - 1 ? '---:' : '---')).join('|')}|`);
	for (const row of rows) console.log(`| ${row.join(' | ')} |`);
} else {
	const width = header.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
	for (const row of [header, ...rows])
		console.log(row.map((cell, i) => (i && i < row.length - 1 ? cell.padStart(width[i]) : cell.padEnd(width[i]))).join('  ').trimEnd());
}
