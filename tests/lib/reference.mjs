// The Node reference server behind the interface of startSluice, to check the tests themselves: a test that fails on
// both servers is probably wrong, and what the reference is known to get wrong is marked `ours` in the tests. It speaks
// HTTP/1.1 only, so a small gateway stands in for its HTTP/2.

import http from 'node:http';
import http2 from 'node:http2';
import { DurableStreamTestServer } from '@durable-streams/server';

export async function startReference({ longPollTimeout = 2000, dataDir } = {}) {
	const server = new DurableStreamTestServer({ port: 0, longPollTimeout, dataDir });
	await server.start();
	const gateway = await startGateway(server.url);
	return {
		url: server.url,
		h2url: gateway.url,
		async stop() {
			await gateway.stop();
			await server.stop();
		},
	};
}

// HTTP/2 to clients, HTTP/1.1 to `target`.
async function startGateway(target) {
	const agent = new http.Agent({ keepAlive: true });
	const { hostname, port } = new URL(target);
	const sessions = new Set();
	const server = http2.createServer();
	server.on(
		'session',
		(session) => sessions.add(session).size && session.on('close', () => sessions.delete(session)),
	);
	server.on('stream', (stream, headers) => {
		const {
			':method': method,
			':path': path,
			':authority': host,
			...rest
		} = Object.fromEntries(Object.entries(headers));
		delete rest[':scheme'];
		const up = http.request(
			{ host: hostname, port, method, path, headers: { host, ...rest }, agent },
			(answer) => {
				const plain = Object.fromEntries(
					Object.entries(answer.headers).filter(
						([name]) =>
							!['connection', 'keep-alive', 'transfer-encoding'].includes(
								name,
							),
					),
				);
				if (stream.destroyed) return void answer.destroy();
				stream.respond({ ':status': answer.statusCode, ...plain });
				answer.pipe(stream);
			},
		);
		up.on('error', () => stream.destroyed || stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
		stream.on('error', () => {});
		stream.on('close', () => up.destroy());
		stream.pipe(up);
	});
	await new Promise((done) => server.listen(0, '127.0.0.1', done));
	return {
		url: `http://127.0.0.1:${server.address().port}`,
		stop: () =>
			new Promise((done) => {
				server.close(done);
				sessions.forEach((session) => session.destroy());
				agent.destroy();
			}),
	};
}
