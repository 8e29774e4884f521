// Appending: section 7, and rows 4, 9, 10 of section 24 of the protocol digest.

import assert from 'node:assert/strict';
import {
	DATA,
	END_HEADERS,
	END_STREAM,
	HEADERS,
	PREFACE,
	RST_STREAM,
	SETTINGS,
	frame,
	frames,
	requestHeaders,
} from '../lib/h2raw.mjs';
import { Raw } from '../lib/raw.mjs';
import { CLOSE, JSON_TYPE, ours, oursIf, overBothVersions, producer } from '../lib/streams.mjs';
import { until } from '../lib/wait.mjs';

async function* pieces(...parts) {
	for (const part of parts) yield part;
}

overBothVersions('append', {}, (door, it) => {
	it('an append is 204 and its offset is the new tail', async () => {
		const s = await door.stream().create();
		const answer = await s.post('hello');
		assert.equal(answer.status, 204);
		assert.equal(answer.body.length, 0);
		assert.equal(answer.headers['stream-next-offset'], await s.tail());
		assert.equal(answer.headers['stream-closed'], undefined);
	});

	it('an empty body without an effective Stream-Closed is 400', async () => {
		const s = await door.stream().create();
		assert.equal((await s.post('')).status, 400);
		assert.equal((await s.post('', { headers: { 'stream-closed': 'no' } })).status, 400);
		assert.equal((await s.head()).headers['stream-closed'], undefined);
	});

	it('a body without Content-Type is 400 and appends nothing', async () => {
		const s = await door.stream().create();
		assert.equal((await s.post('x', { type: null })).status, 400);
		assert.equal((await s.get()).text, '');
	});

	it('only the media type is compared, in any case', async () => {
		const s = await door.stream().create({ type: 'text/plain; charset=utf-8' });
		assert.equal((await s.post('a', { type: 'TEXT/PLAIN' })).status, 204);
		assert.equal((await s.post('b', { type: 'text/plain;charset=iso-8859-1' })).status, 204);
		assert.equal((await s.post('c', { type: 'text/html' })).status, 409);
		assert.equal((await s.post('d', { type: JSON_TYPE })).status, 409);
		assert.equal((await s.get()).text, 'ab');
	});

	it('appending to nothing is 404, and makes nothing', async () => {
		const s = door.stream();
		assert.equal((await s.post('x')).status, 404);
		assert.equal((await s.post('', { headers: CLOSE })).status, 404);
		assert.equal((await s.post('x', { headers: producer('p', 0, 0) })).status, 404);
		assert.equal((await s.head()).status, 404);
	});

	for (const value of ['true', 'TRUE', 'tRue'])
		it(`Stream-Closed: ${value} closes (24 #1)`, oursIf(value !== 'true'), async () => {
			const s = await door.stream().create();
			const answer = await s.post('last', { headers: { 'stream-closed': value } });
			assert.equal(answer.status, 204);
			assert.equal(answer.headers['stream-closed'], 'true');
			assert.equal((await s.post('more')).status, 409);
			assert.equal((await s.get()).text, 'last');
		});

	it('any other value of Stream-Closed appends and leaves the stream open (24 #1)', async () => {
		const s = await door.stream().create();
		for (const value of ['false', '1', 'true,true', 'closed'])
			assert.equal(
				(await s.post('x', { headers: { 'stream-closed': value } })).headers['stream-closed'],
				undefined,
				value,
			);
		assert.equal((await s.head()).headers['stream-closed'], undefined);
	});

	it('a close-only request ignores a Content-Type that does not match', async () => {
		const s = await door.stream().create();
		const answer = await s.post('', { type: JSON_TYPE, headers: CLOSE });
		assert.equal(answer.status, 204);
		assert.equal(answer.headers['stream-closed'], 'true');
	});

	it('Stream-Seq compares bytes and must grow', async () => {
		const cases = [
			['2', '10', 409],
			['09', '10', 204],
			['A', 'a', 204],
			['a', 'A', 409],
			['a', 'a', 409],
			['a', 'aa', 204],
			['1', '01', 409],
		];
		for (const [first, second, status] of cases) {
			const s = await door.stream().create();
			assert.equal((await s.post('1', { headers: { 'stream-seq': first } })).status, 204);
			assert.equal(
				(await s.post('2', { headers: { 'stream-seq': second } })).status,
				status,
				`${first} then ${second}`,
			);
			assert.equal((await s.get()).text, status === 204 ? '12' : '1');
		}
	});

	it('appends without Stream-Seq neither need nor change it', async () => {
		const s = await door.stream().create();
		assert.equal((await s.post('1', { headers: { 'stream-seq': 'b' } })).status, 204);
		assert.equal((await s.post('2')).status, 204);
		assert.equal((await s.post('3', { headers: { 'stream-seq': 'a' } })).status, 409);
		assert.equal((await s.post('4', { headers: { 'stream-seq': 'c' } })).status, 204);
		assert.equal((await s.get()).text, '124');
	});

	it('a refused append advances neither Stream-Seq nor the producer (24 #4)', ours, async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		const headers = { ...producer('p', 0, 0), 'stream-seq': 'm' };
		assert.equal((await s.post('{', { type: JSON_TYPE, headers })).status, 400);
		assert.equal((await s.post('[]', { type: JSON_TYPE, headers })).status, 400);
		assert.equal((await s.post('{}', { type: 'text/plain', headers })).status, 409);
		assert.equal(
			(await s.post('1', { type: JSON_TYPE, headers })).status,
			200,
			'the same numbers are still free',
		);
		const conflict = await s.post('2', {
			type: JSON_TYPE,
			headers: { ...producer('p', 0, 1), 'stream-seq': 'm' },
		});
		assert.equal(conflict.status, 409);
		assert.equal(
			(await s.post('2', { type: JSON_TYPE, headers: producer('p', 0, 1) })).status,
			200,
			'seq 1 was not used up',
		);
		assert.deepEqual((await s.get()).json(), [1, 2]);
	});

	it('a body in many pieces of unknown length is one append', async () => {
		const s = await door.stream().create();
		const before = await s.tail();
		const next = await s.append(pieces('a', 'b', 'c', 'd'));
		assert.equal((await s.get()).text, 'abcd');
		assert.equal((await s.get({ offset: before })).headers['stream-next-offset'], next);
	});

	it('a body beyond every buffer comes back byte by byte', async () => {
		const s = await door.stream().create({ type: 'application/octet-stream' });
		const block = Buffer.alloc(3 << 20, 0).map((_, at) => (at * 31 + (at >> 8)) & 255);
		await s.append(block, { type: 'application/octet-stream' });
		await s.append(pieces(block.subarray(0, 700_001), block.subarray(700_001)), {
			type: 'application/octet-stream',
		});
		const all = await s.readAll();
		assert.ok(all.body.equals(Buffer.concat([block, block])));
	});

	it('a coded request body is 415, identity is not', ours, async () => {
		const s = await door.stream().create();
		assert.equal((await s.post('x', { headers: { 'content-encoding': 'gzip' } })).status, 415);
		assert.equal((await s.post('y', { headers: { 'content-encoding': 'identity' } })).status, 204);
		assert.equal((await s.get()).text, 'y');
	});

	it('a request cut in the middle of its body appends nothing (24 #10)', async () => {
		const s = await door.stream().create();
		await s.append('before;');
		const client = door.connect();
		async function* broken() {
			yield 'half of ';
			await new Promise((done) => setImmediate(done));
			throw new Error('cut');
		}
		await assert.rejects(
			client.request('POST', s.path, {
				headers: { 'content-type': 'text/plain', ...producer('p', 0, 0) },
				body: broken(),
			}),
		);
		client.close();
		await s.append('after;');
		assert.equal((await s.get()).text, 'before;after;');
		assert.equal(
			(await s.post('whole;', { headers: producer('p', 0, 0) })).status,
			200,
			'the cut request used no number',
		);
	});

	it('concurrent appends each get an offset of their own and all are kept', async () => {
		const s = await door.stream().create();
		const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => s.append(`<${n}>`)));
		assert.equal(new Set(answers).size, 100);
		const order = (await s.get()).text.slice(1, -1).split('><').map(Number);
		const sorted = [...answers.keys()].sort((a, b) => (answers[a] < answers[b] ? -1 : 1));
		assert.deepEqual(order, sorted, 'the order of the data is the order of the offsets');
	});
});

overBothVersions('append on the wire', { vias: ['HTTP/1.1'] }, (door, it) => {
	const head = (s, lines) => `POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n${lines}\r\n`;

	it('a connection that ends inside Content-Length appends nothing (24 #10)', async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		await raw.send(`${head(s, 'Content-Length: 10\r\n')}12345`);
		raw.socket.end();
		await raw.end();
		raw.close();
		await s.append('x');
		assert.equal((await s.get()).text, 'x');
	});

	it('a chunked body without its last chunk appends nothing (24 #10)', async () => {
		const s = await door.stream().create();
		for (const tail of ['5\r\nhello\r\n', '5\r\nhello\r\n0\r\n', '5\r\nhel', '']) {
			const raw = new Raw(door.server.url);
			await raw.send(head(s, 'Transfer-Encoding: chunked\r\n') + tail);
			raw.socket.end();
			await raw.end();
			raw.close();
		}
		await s.append('x');
		assert.equal((await s.get()).text, 'x');
	});

	it('a chunked body with extensions and trailers is one append (24 #10)', async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		await raw.send(
			`${head(s, 'Transfer-Encoding: chunked\r\n')}5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n`,
		);
		assert.equal(await raw.status(), 204);
		raw.close();
		assert.equal((await s.get()).text, 'hello!');
	});

	it('Expect: 100-continue is answered before the body is sent (24 #10)', async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		await raw.send(head(s, 'Content-Length: 5\r\nExpect: 100-continue\r\n'));
		await raw.until(/^HTTP\/1\.1 100 [^]*\r\n\r\n/, '100 Continue');
		await raw.send('hello');
		await raw.until(/HTTP\/1\.1 204 /, 'the answer');
		raw.close();
		assert.equal((await s.get()).text, 'hello');
	});

	it('another expectation is 417', ours, async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		await raw.send(head(s, 'Content-Length: 5\r\nExpect: miracles\r\n'));
		assert.equal(await raw.status(), 417);
		raw.close();
	});

	it('pipelined appends are applied and answered in order', async () => {
		const s = await door.stream().create();
		const raw = new Raw(door.server.url);
		const count = 50;
		await raw.send(
			Array.from(
				{ length: count },
				(_, n) => `${head(s, 'Content-Length: 3\r\n')}${String(n).padStart(3, '0')}`,
			).join(''),
		);
		await raw.until((text) => text.split('HTTP/1.1 204').length === count + 1, `${count} answers`);
		raw.close();
		assert.equal(
			(await s.get()).text,
			Array.from({ length: count }, (_, n) => String(n).padStart(3, '0')).join(''),
		);
		const offsets = [...raw.text.matchAll(/stream-next-offset: (\S+)/gi)].map((match) => match[1]);
		assert.deepEqual(offsets, [...offsets].sort());
	});
});

overBothVersions('append over HTTP/2', { vias: ['h2c'] }, (door, it) => {
	it(
		'a stream reset in the middle of a body appends nothing, and the connection lives on (24 #33)',
		ours,
		async () => {
			const s = await door.stream().create();
			const raw = new Raw(door.server.url);
			const type = { 'content-type': 'text/plain' };
			const send = (...list) => raw.send(Buffer.concat(list).toString('latin1'));
			const answered = (stream) =>
				raw.until(
					(text) =>
						frames(text).some(
							(each) => each.type === HEADERS && each.stream === stream,
						),
					'an answer',
				);
			await send(
				PREFACE,
				frame(SETTINGS, 0, 0),
				frame(HEADERS, END_HEADERS, 1, requestHeaders('POST', s.path, type)),
				frame(DATA, 0, 1, Buffer.from('half')),
			);
			await send(frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8])));
			await send(
				frame(HEADERS, END_HEADERS, 3, requestHeaders('POST', s.path, type)),
				frame(DATA, END_STREAM, 3, Buffer.from('whole')),
			);
			await answered(3);
			assert.equal((await s.get()).text, 'whole');
			raw.close();
		},
	);

	it('a body that does not match its content-length appends nothing (24 #33)', async () => {
		const s = await door.stream().create();
		const client = door.connect();
		const answer = await client
			.request('POST', s.path, {
				headers: { 'content-type': 'text/plain', 'content-length': '10' },
				body: 'four',
			})
			.then(
				(got) => got.status,
				() => 'reset',
			);
		assert.ok(answer === 'reset' || answer === 400, String(answer));
		client.close();
		await s.append('x');
		assert.equal((await s.get()).text, 'x');
	});

	it('trailers behind a body do not disturb the append (24 #33)', async () => {
		const s = await door.stream().create();
		const stream = door.client.session.request(
			{ ':method': 'POST', ':path': s.path, 'content-type': 'text/plain' },
			{ waitForTrailers: true },
		);
		stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
		const status = new Promise((done, fail) =>
			stream.once('response', (headers) => done(headers[':status'])).once('error', fail),
		);
		stream.end('with trailers');
		stream.resume();
		assert.equal(await status, 204);
		assert.equal((await s.get()).text, 'with trailers');
	});

	it('answers to HEAD, 204 and 304 carry no DATA (24 #33)', ours, async () => {
		const s = await door.stream().create({ body: 'data' });
		const type = { 'content-type': 'text/plain' };
		const raw = new Raw(door.server.url);
		await raw.send(
			Buffer.concat([
				PREFACE,
				frame(SETTINGS, 0, 0),
				frame(HEADERS, END_HEADERS | END_STREAM, 1, requestHeaders('HEAD', s.path)),
				frame(HEADERS, END_HEADERS, 3, requestHeaders('POST', s.path, type)),
				frame(DATA, END_STREAM, 3, Buffer.from('x')),
				frame(
					HEADERS,
					END_HEADERS | END_STREAM,
					5,
					requestHeaders('GET', s.path, { 'if-none-match': '*' }),
				),
			]).toString('latin1'),
		);
		const headers = (text) => frames(text).filter((each) => each.type === HEADERS);
		await raw.until((text) => headers(text).length === 3, 'three answers');
		for (const each of headers(raw.text))
			assert.ok(each.flags & END_STREAM, `stream ${each.stream}: END_STREAM is on the headers`);
		assert.ok(!frames(raw.text).some((each) => each.type === DATA));
		raw.close();
	});

	it('hundreds of appends at once on one connection are all kept', async () => {
		const s = await door.stream().create({ type: JSON_TYPE });
		await Promise.all(Array.from({ length: 400 }, (_, n) => s.append(String(n), { type: JSON_TYPE })));
		const values = await until('all', async () => (await s.readAll()).values());
		assert.deepEqual(
			values.sort((a, b) => a - b),
			Array.from({ length: 400 }, (_, n) => n),
		);
	});
});
