// The wall clock jumps: nothing is lost, nothing expires early when it goes back, what should expire does when it goes on, and
// waiting requests end in their own time.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connect } from '../lib/http.mjs';
import { sanitized } from '../lib/sluice.mjs';
import { Stream, freshName } from '../lib/streams.mjs';
import { Faults, Log } from './faults.mjs';

const HOUR = 3600_000;
const skip = sanitized && 'the shim is preloaded before the runtime of a sanitizer';

describe('the clock', { skip, concurrency: 2 }, () => {
	it('set back: appends, reads, long-polls and streams with a TTL go on, also over a restart', async () => {
		const faults = new Faults();
		let daemon = await faults.start();
		const log = await new Log(daemon.url).begin();
		const client = connect('HTTP/1.1', daemon.url);
		const brief = await new Stream(client, freshName()).create({ headers: { 'stream-ttl': '600' } });
		await log.insist();
		faults.write('clock_ms', -24 * HOUR);
		await log.insist();
		assert.equal((await brief.get()).status, 200, 'a stream with a TTL');
		const tail = await log.stream.tail();
		const waiting = log.stream.poll(tail);
		await log.insist();
		assert.equal((await waiting).status, 200, 'a long-poll hears of an append');
		assert.equal((await log.stream.poll(await log.stream.tail())).status, 204, 'and ends when there is none');
		client.close();
		await daemon.stop();
		daemon = await faults.start();
		const again = new Log(daemon.url, log.stream.name);
		again.seq = log.seq;
		await again.insist();
		await again.verify();
		assert.equal((await brief.on(again.client).get()).status, 200, 'the TTL survives a restart on a clock of yesterday');
		again.close();
		log.close();
		await daemon.stop();
		faults.close();
	});

	it('set forward: what has a TTL expires, nothing else does; set back again, it stays gone', async () => {
		const faults = new Faults();
		const daemon = await faults.start();
		const log = await new Log(daemon.url).begin();
		const client = connect('HTTP/1.1', daemon.url);
		const brief = await new Stream(client, freshName()).create({ headers: { 'stream-ttl': '600' } });
		const long = await new Stream(client, freshName()).create({ headers: { 'stream-ttl': String(30 * 86400) } });
		await log.insist();
		faults.write('clock_ms', 24 * HOUR);
		await brief.gone();
		assert.equal((await long.get()).status, 200);
		await log.insist();
		faults.write('clock_ms', 0);
		await log.insist();
		assert.equal((await brief.head()).status, 404, 'gone is gone');
		assert.equal((await long.get()).status, 200);
		const fresh = await new Stream(client, freshName()).create({ headers: { 'stream-ttl': '600' } });
		assert.equal((await fresh.get()).status, 200, 'a new one lives');
		await log.verify();
		client.close();
		log.close();
		await daemon.stop();
		faults.close();
	});
});
