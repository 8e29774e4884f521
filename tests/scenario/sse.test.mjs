// Server-sent events: section 14 and rows 17-20, 28 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import { SseReader, bytesOf, textOf, valuesOf } from '../lib/live.mjs';
import { CLOSE, JSON_TYPE, ZERO, forkOf, ours, oursIf, overBothVersions } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

const lifetime = (config) => (config.frontends[0].plugins[0].sse_lifetime = '3s');

// Each data event is followed by a control event of its own.
function assertPaired(events) {
	events.forEach(
		(event, at) =>
			event.type === 'data' &&
			assert.equal(events[at + 1]?.type, 'control', `event ${at + 1} of ${events.length}`),
	);
}

overBothVersions('SSE', {}, (door, it) => {
	it('the head of the answer: type, no-cache, no length, no encoding header for text', async () => {
		const s = await door.stream().create({ body: 'x' });
		const reader = await s.sse('-1');
		const { headers } = reader.live;
		reader.close();
		assert.equal(headers['content-type'], 'text/event-stream');
		assert.match(headers['cache-control'], /no-cache/);
		assert.equal(headers['content-length'], undefined);
		assert.equal(headers['stream-sse-data-encoding'], undefined);
		if (door.via === 'h2c')
			for (const name of ['connection', 'keep-alive', 'transfer-encoding'])
				assert.equal(headers[name], undefined);
	});

	it('errors are ordinary answers', async () => {
		const s = await door.stream().create({ body: 'x' });
		assert.equal((await door.stream().get({ offset: '-1', live: 'sse' })).status, 404);
		assert.equal((await s.get({ offset: 'x', live: 'sse' })).status, 400);
		assert.equal((await s.get({ live: 'sse' })).status, 400);
	});

	it('on an empty stream the first event is one control with the tail; with data the first event is data', async () => {
		const s = await door.stream().create();
		const empty = await s.sse('-1');
		const first = await empty.next();
		empty.close();
		assert.equal(first.type, 'control');
		assert.equal(first.control.streamNextOffset, ZERO);
		assert.equal(first.control.upToDate, true);
		assert.match(first.control.streamCursor, /^\d+$/);
		await s.append('x');
		const full = await s.sse('-1');
		assert.equal((await full.next()).type, 'data');
		full.close();
	});

	it('the bytes on the wire are exactly those of the protocol', async () => {
		const s = await door.stream().create({ body: 'line1\nline2' });
		const reader = await s.sse('-1');
		await reader.upTo();
		reader.close();
		assert.match(
			reader.raw,
			/^event: data\ndata:line1\ndata:line2\n\nevent: control\ndata:\{"streamNextOffset":"\d{16}_\d{16}","streamCursor":"\d+","upToDate":true\}\n\n$/,
		);
	});

	it('a payload can neither end an event nor forge one: CR, LF and CRLF become lines', async () => {
		const s = await door.stream().create();
		await s.append('a\n\nevent: control\ndata:{"streamClosed":true}\n\n');
		await s.append('b\rc\r\nd\r\r\ne');
		const reader = await s.sse('-1');
		const events = await reader.upTo();
		reader.close();
		assert.ok(events.filter((event) => event.control).every((event) => !event.control.streamClosed));
		assert.equal(textOf(events), 'a\n\nevent: control\ndata:{"streamClosed":true}\n\nb\nc\nd\n\ne');
	});

	it('leading spaces survive (24 #19)', ours, async () => {
		const text = ' one\n  two\nthree \n\n \n\tfour';
		const s = await door.stream().create({ body: text });
		const reader = await s.sse('-1');
		assert.equal(textOf(await reader.upTo()), text);
		reader.close();
	});

	it(
		'text: catch-up and live, each data event has its control, the offsets resume exactly (24 #17)',
		ours,
		async () => {
			const s = await door.stream().create();
			const parts = Array.from({ length: 30 }, (_, n) => `<${n}>`);
			for (const part of parts.slice(0, 15)) await s.append(part);
			const reader = await s.sse('-1');
			const events = await reader.upTo();
			for (const part of parts.slice(15)) await s.append(part);
			const tail = await s.tail();
			events.push(...(await reader.upTo((control) => control.streamNextOffset === tail)));
			reader.close();
			assertPaired(events);
			assert.equal(textOf(events), parts.join(''));
			let seen = '';
			for (const event of events) {
				if (event.type === 'data') seen += event.data;
				else
					assert.equal(
						(await s.get({ offset: event.control.streamNextOffset })).text,
						parts.join('').slice(seen.length),
					);
			}
		},
	);

	it('JSON: every data event is a whole array with its own control', oursIf(true), async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		for (let n = 0; n < 10; n++) await s.append(JSON.stringify([n, { n }]), { type: JSON_TYPE });
		const reader = await s.sse('-1');
		const events = await reader.upTo();
		await s.append('["live"]', { type: JSON_TYPE });
		events.push(...(await reader.upTo()));
		reader.close();
		assertPaired(events);
		const values = valuesOf(events);
		assert.deepEqual(values, [...Array.from({ length: 10 }, (_, n) => [n, { n }]).flat(), 'live']);
	});

	for (const type of [
		'application/octet-stream',
		'image/png',
		'application/x-ndjson',
		'application/ld+json',
		'application/xml',
	])
		it(`${type} travels as base64 and says so (24 #28)`, oursIf(/json/.test(type)), async () => {
			const bytes = Buffer.from(Array.from({ length: 1000 }, (_, n) => (n * 7) & 255));
			const s = await door.stream().create({ type, body: bytes.subarray(0, 400) });
			const reader = await s.sse('-1');
			assert.equal(reader.live.headers['stream-sse-data-encoding'], 'base64');
			const events = await reader.upTo();
			await s.append(bytes.subarray(400), { type });
			events.push(...(await reader.upTo()));
			reader.close();
			assert.ok(bytesOf(events).equals(bytes));
			for (const event of events)
				if (event.type === 'data')
					assert.match(
						event.data.replaceAll('\n', ''),
						/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
					);
		});

	for (const type of ['text/html', 'TEXT/CSV', 'Application/JSON'])
		it(`${type} does not travel as base64`, oursIf(/[A-Z]/.test(type)), async () => {
			const s = await door.stream().create({ type, body: '"x"' });
			const reader = await s.sse('-1');
			assert.equal(reader.live.headers['stream-sse-data-encoding'], undefined);
			assert.match((await reader.next()).data, /x/);
			reader.close();
		});

	it(
		'characters cut by appends arrive whole, caught up or live, and no offset skips the held bytes',
		ours,
		async () => {
			const text = 'é€😀ä'.repeat(5);
			const bytes = Buffer.from(text);
			const s = await door.stream().create();
			const live = await s.sse('-1');
			for (const byte of bytes) await s.append(Buffer.from([byte]));
			const tail = await s.tail();
			for (const reader of [live, await s.sse('-1')]) {
				const events = await reader.upTo((control) => control.streamNextOffset === tail);
				reader.close();
				assert.equal(textOf(events), text);
				assert.ok(!reader.raw.includes('\ufffd'));
				let seen = '';
				for (const event of events) {
					if (event.type === 'data') seen += event.data;
					else
						assert.ok(
							(
								await s.get({ offset: event.control.streamNextOffset })
							).body.equals(bytes.subarray(Buffer.byteLength(seen))),
						);
				}
			}
		},
	);

	it('a stream of nothing but half a character greets its reader, and gives it the character when it is whole', ours, async () => {
		const [first, ...rest] = Buffer.from('€');
		const s = await door.stream().create({ body: Buffer.from([first]) });
		const reader = await s.sse('-1');
		const hello = await reader.next();
		assert.equal(hello.type, 'control');
		assert.equal(hello.control.streamNextOffset, ZERO);
		assert.equal(hello.control.upToDate, undefined);
		await s.append(Buffer.from(rest));
		const event = await reader.next();
		assert.equal(event.type, 'data');
		assert.equal(event.data, '€');
		assert.equal((await reader.next()).control.upToDate, true);
		reader.close();
	});

	it('offset=now has no history: one control at the tail, then what comes', async () => {
		const s = await door.stream().create({ body: 'old' });
		const reader = await s.sse('now');
		const first = await reader.next();
		assert.equal(first.control.streamNextOffset, await s.tail());
		assert.equal(first.control.upToDate, true);
		await s.append('new');
		assert.equal(textOf(await reader.upTo()), 'new');
		reader.close();
	});

	it('deleting ends the answer without a word of closing', ours, async () => {
		const s = await door.stream().create({ body: 'x' });
		const reader = await s.sse('-1');
		await reader.upTo();
		await s.remove();
		const rest = await reader.rest();
		assert.ok(rest.every((event) => !event.control?.streamClosed));
	});

	it('a fork streams inherited data, then its own, then its own live appends only', async () => {
		const source = await door.stream().create({ body: 'inherited,' });
		const fork = await door.stream().create({ type: null, headers: forkOf(source), body: 'own,' });
		const reader = await fork.sse('-1');
		const events = await reader.upTo();
		await source.append('not for the fork,');
		await fork.append('live,');
		events.push(...(await reader.upTo()));
		reader.close();
		assert.equal(textOf(events), 'inherited,own,live,');
	});

	it('a large append passes as one event of a reader that keeps up', async () => {
		const text = 'x'.repeat(1000).concat('\n').repeat(2000);
		const s = await door.stream().create();
		const reader = await s.sse('-1');
		await reader.upTo();
		await s.append(text);
		assert.equal(textOf(await reader.upTo()), text);
		reader.close();
	});

	it('many readers at different offsets all get the same bytes', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const offsets = [ZERO];
		for (let n = 0; n < 20; n++) offsets.push(await s.append(String(n), { type: JSON_TYPE }));
		const readers = await Promise.all(offsets.map((offset) => s.sse(offset)));
		for (let n = 20; n < 40; n++) await s.append(String(n), { type: JSON_TYPE });
		await s.append('', { headers: CLOSE });
		for (const [at, reader] of readers.entries())
			assert.deepEqual(
				valuesOf(await reader.rest()),
				Array.from({ length: 40 - at }, (_, n) => n + at),
			);
	});
});

overBothVersions('SSE lifetime', { config: lifetime }, (door, it) => {
	it(
		'a connection ends by itself, right after a control event, and can be resumed there (24 #20)',
		ours,
		async () => {
			const s = await door.stream().create({ body: 'x' });
			const reader = await s.sse('-1');
			const events = await reader.rest();
			assert.equal(events.at(-1).type, 'control');
			assert.equal(events.at(-1).control.streamClosed, undefined);
			assert.equal(events.at(-1).control.streamNextOffset, await s.tail());
		},
	);

	it(
		'half a character at the end of a connection is not lost: what was sent and what follows is everything',
		ours,
		async () => {
			const s = await door.stream().create({ body: Buffer.from('a\xc3', 'latin1') });
			const reader = new SseReader(await s.open({ offset: '-1', live: 'sse' }), 'latin1');
			const events = await reader.rest();
			await s.append(Buffer.from('\xa9b', 'latin1'));
			const rest = await s.get({ offset: events.at(-1).control.streamNextOffset });
			assert.equal(
				textOf(events) + rest.body.toString('latin1'),
				Buffer.from('aéb').toString('latin1'),
			);
		},
	);
});

overBothVersions('SSE at rest', {}, (door, it) => {
	it(
		'an idle connection repeats its control event with the same offset',
		{ skip: !process.env.SLUICE_TEST_SLOW && 'takes half a minute: --slow' },
		async () => {
			const s = await door.stream().create({ body: 'x' });
			const reader = await s.sse('-1');
			const first = (await reader.upTo()).at(-1).control;
			const again = await reader.next(60_000);
			reader.close();
			assert.equal(again.control.streamNextOffset, first.streamNextOffset);
			assert.equal(again.control.upToDate, true);
			assert.match(again.control.streamCursor, /^\d+$/);
		},
	);
});

overBothVersions('SSE of a follower under load', {}, (door, it) => {
	it('a reader that joins at any moment misses nothing between history and live', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const count = 400;
		let appended = 0;
		const writing = (async () => {
			for (; appended < count; appended++) await s.append(String(appended), { type: JSON_TYPE });
			await s.append('', { headers: CLOSE });
		})();
		const readers = [];
		for (let at = 0; at < count; at += 40) {
			await until('progress', () => appended >= at, { step: 1 });
			readers.push(s.sse('-1').then((reader) => reader.rest()));
		}
		await writing;
		for (const events of await Promise.all(readers))
			assert.deepEqual(
				valuesOf(events),
				Array.from({ length: count }, (_, n) => n),
			);
	});
});
