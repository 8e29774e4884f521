// A reporter for many files at once: one line per finished file, failures in full, counts as JSON in the last line.
// Used by run.mjs; node's own reporters interleave or say too much.

import { basename } from 'node:path';

export default async function* report(source) {
	const totals = { passed: 0, failed: 0, skipped: 0, failures: [] };
	const files = new Map();

	for await (const { type, data } of source) {
		// What a test has to say: seeds, figures.
		if (type === 'test:stdout' && data.message.startsWith('# ')) yield data.message;
		if (type !== 'test:pass' && type !== 'test:fail') continue;
		const path = data.file ?? data.name;
		const file = files.get(path) ?? { passed: 0, failed: 0, skipped: 0 };
		files.set(path, file);
		const suite = data.details?.type === 'suite' || path === data.name;
		const own = type === 'test:fail' && data.details?.error?.failureType !== 'subtestsFailed';
		if (!suite || own) {
			const kind = type === 'test:fail' ? 'failed' : data.skip !== undefined ? 'skipped' : 'passed';
			if (kind !== 'failed' || own) {
				file[kind]++;
				totals[kind]++;
			}
		}
		if (own) {
			const cause = data.details.error.cause ?? data.details.error;
			totals.failures.push(`${basename(path)}: ${data.name}: ${first(cause)}`);
			yield `\nFAILED ${basename(path)}: ${data.name}\n${indent(describe(cause))}\n\n`;
		}
	}
	for (const [path, file] of files)
		if (file.passed + file.failed + file.skipped)
			yield (
				`${file.failed ? 'not ok' : 'ok    '} ${basename(path)}: ${file.passed} passed` +
				`${file.failed ? `, ${file.failed} failed` : ''}${file.skipped ? `, ${file.skipped} skipped` : ''}\n`
			);
	yield `#totals ${JSON.stringify(totals)}\n`;
}

// The summary is all that is left of some runs, and a name alone does not say what to look for.
const first = (error) =>
	String(error?.message ?? error)
		.split('\n')
		.slice(0, 4)
		.join(' ')
		.slice(0, 400);

// The harness adds the daemon's log to messages, which a stack that was taken before does not show.
function describe(error) {
	if (!error?.message) return String(error);
	const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
	return [`${error.name}: ${error.message}`, ...frames].join('\n');
}

const indent = (text) =>
	text
		.split('\n')
		.slice(0, 400)
		.map((line) => `    ${line}`)
		.join('\n');
