// Waiting for states instead of sleeping: every wait has a limit, and a limit that strikes is a failure with a name.
// The limits guard against hangs only; no test asserts how long something took.

import { setTimeout as delay } from 'node:timers/promises';

// Sanitizer builds on a busy machine are several times slower.
const patience = Number(process.env.SLUICE_TEST_PATIENCE ?? 1);

export const LIMIT = 30_000 * patience;

// Calls `condition` until it returns something truthy, and returns that.
export async function until(what, condition, { limit = LIMIT, step = 20 } = {}) {
	const end = Date.now() + limit;
	for (;;) {
		const value = await condition();
		if (value) return value;
		if (Date.now() > end) throw new Error(`waited ${limit} ms in vain: ${what}`);
		await delay(step);
	}
}

// The promise's value, or a failure that says what was awaited.
export async function within(what, promise, limit = LIMIT) {
	let timer;
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`waited ${limit} ms in vain: ${what}`)), limit);
	});
	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

// Runs `work` over `items`, at most `width` at a time, results in order.
export async function mapLimit(items, width, work) {
	const results = new Array(items.length);
	let next = 0;
	const lane = async () => {
		while (next < items.length) {
			const at = next++;
			results[at] = await work(items[at], at);
		}
	};
	await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
	return results;
}
