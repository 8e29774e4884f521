// Installations of sluice side by side, as an administrator would have them: a directory per build, and a link `current`
// that says which one is meant. And another build: of this source with other numbers of its protocols and one more step
// of the schema.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { BUILD, temporary } from './sluice.mjs';

const TOP = join(import.meta.dirname, '..', '..');
const PROGRAMS = ['sluiced', 'sluice-store', 'sluice-frontend'];

export class Installation {
	root = temporary();
	current = join(this.root, 'current');

	// broken: {program: shell script that takes its place}
	install(name, from = BUILD, broken = {}) {
		const to = join(this.root, name);
		mkdirSync(join(to, '.libs'), { recursive: true });
		for (const program of PROGRAMS) {
			if (broken[program] === undefined) copyFileSync(join(from, program), join(to, program));
			else writeFileSync(join(to, program), `#!/bin/sh\n${broken[program]}\n`);
			chmodSync(join(to, program), 0o755);
		}
		copyFileSync(join(from, '.libs', 'streams.so'), join(to, '.libs', 'streams.so'));
		writeFileSync(join(to, 'config.status'), ''); // what tells the programs that they lie beside each other
		return this;
	}

	use(name) {
		symlinkSync(name, `${this.current}.new`);
		renameSync(`${this.current}.new`, this.current);
	}
}

function edit(file, ...changes) {
	let text = readFileSync(file, 'utf8');
	for (const [pattern, to] of changes) {
		assert.match(text, pattern, `${file} has changed: adapt the edits of the next build`);
		text = text.replace(pattern, to);
	}
	writeFileSync(file, text);
}

const next = (match, head, number, tail) => `${head}${Number(number) + 1}${tail}`;

// Compiles it into a temporary directory, programs only; returns its build tree.
export async function buildNext() {
	const source = temporary('sluice-next');
	const build = join(source, 'build');
	cpSync(TOP, source, {
		recursive: true,
		preserveTimestamps: true,
		filter: (path) => !/^(build|build-(?!aux).*|var|\.git|.*node_modules|tests\/output)$/.test(relative(TOP, path)),
	});
	edit(
		join(source, 'lib', 'msg.h'),
		[/(#define SL_STORE_PROTOCOL )(\d+)(u)/, next],
		[/(#define SL_CONTROL_PROTOCOL )(\d+)(u)/, next],
	);
	edit(join(source, 'lib', 'schema.h'), [/(#define SL_SCHEMA )(\d+)(u)/, next]);
	const schema = Number(/#define SL_SCHEMA (\d+)u/.exec(readFileSync(join(source, 'lib', 'schema.h'), 'utf8'))[1]);
	edit(
		join(source, 'store-worker', 'schema.c'),
		[/(_Static_assert\(SL_SCHEMA == )(\d+)(,)/, next],
		[
			/(schema_steps\[SL_SCHEMA\] = \{[^}]*)\}/,
			`$1, "ALTER TABLE meta ADD COLUMN next INTEGER NOT NULL DEFAULT 1; PRAGMA user_version = ${schema};"}`,
		],
	);
	mkdirSync(build);
	copyFileSync(join(BUILD, 'config.status'), join(build, 'config.status'));
	const status = readFileSync(join(build, 'config.status'), 'utf8');
	writeFileSync(join(build, 'config.status'), status.replaceAll(TOP, source));
	const run = (program, ...args) => promisify(execFile)(program, args, { cwd: build }); // its failure shows the output
	await run('sh', './config.status');
	edit(join(build, 'config.h'), [/(#define PACKAGE_VERSION "[^"]*)"/, '$1-next"']);
	await run('make', '-s', '-j2', 'CFLAGS=-O0', ...PROGRAMS, 'streams.la');
	return { build, schema };
}
