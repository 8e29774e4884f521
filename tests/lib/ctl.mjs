// Runs sluicectl of the build tree against a daemon of a test.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { BUILD } from './sluice.mjs';
import { until, within } from './wait.mjs';

const SANITIZER = /AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:/;

// A running sluicectl: out and err grow, waitOut() waits for output, end() for its exit code.
export class Ctl {
	constructor(args, { input, env = {}, socket } = {}) {
		this.args = args;
		this.out = '';
		this.err = '';
		this.chunks = [];
		this.process = spawn(
			join(BUILD, 'sluicectl', 'sluicectl'),
			[...(socket ? ['--socket', socket] : []), ...args],
			{ stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, SLUICE_SOCKET: '', ...env } },
		);
		this.process.stdout.on('data', (data) => {
			this.chunks.push(data);
			this.out += data.toString('latin1');
		});
		this.process.stderr.setEncoding('utf8').on('data', (text) => (this.err += text));
		this.process.stdin.on('error', () => {}); // it may end before it has read everything
		this.closed = new Promise((done, fail) => {
			this.process.once('error', fail);
			this.process.once('close', (code, signal) => done({ code, signal }));
		});
		if (input !== null) this.process.stdin.end(input ?? '');
	}

	async waitOut(what, condition = (out) => out.includes(what)) {
		await until(`${what} from sluicectl ${this.args.join(' ')}`, () => {
			if (condition(this.out)) return true;
			assert.equal(this.process.exitCode, null, `it ended: ${this.err}`);
			return false;
		});
	}

	async end() {
		try {
			const { code, signal } = await within(`the end of sluicectl ${this.args.join(' ')}`, this.closed);
			assert.doesNotMatch(this.out + this.err, SANITIZER);
			return { code, signal, out: Buffer.concat(this.chunks), text: this.out, err: this.err };
		} finally {
			this.process.kill('SIGKILL');
		}
	}
}

export const runCtl = (args, options) => new Ctl(args, options).end();

// Shorthands for one daemon: ctl('ls') must succeed and returns its text; ctl.json('ls') the JSON values of its lines; ctl.fails(code,
// pattern, 'rm', 'x') must not; ctl.start(...) is a running one.
export function ctlFor(daemon) {
	const socket = daemon.control;
	const run = (args, options) => runCtl(args, { socket, ...options });
	const ctl = async (...args) => {
		const options = typeof args.at(-1) === 'object' ? args.pop() : {};
		const end = await run(args, options);
		assert.equal(end.code, 0, `sluicectl ${args.join(' ')}: ${end.err}`);
		assert.equal(end.err, '', `sluicectl ${args.join(' ')}`);
		return end.text;
	};
	ctl.json = async (...args) => {
		const options = typeof args.at(-1) === 'object' ? args.pop() : {};
		const text = await ctl('--json', ...args, options);
		return text
			.split('\n')
			.filter(Boolean)
			.map((line) => JSON.parse(line));
	};
	ctl.fails = async (code, pattern, ...args) => {
		const options = typeof args.at(-1) === 'object' ? args.pop() : {};
		const end = await run(args, options);
		assert.equal(end.code, code, `sluicectl ${args.join(' ')}: ${end.text}${end.err}`);
		assert.match(end.err, pattern);
		return end;
	};
	ctl.run = run;
	ctl.start = (args, options) => new Ctl(args, { socket, ...options });
	return ctl;
}
