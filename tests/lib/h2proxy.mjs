// Speaks HTTP/1.1 to its clients and HTTP/2 with prior knowledge to the server: puts tools that know HTTP/1.1 only, the
// official suite first of all, before the HTTP/2 engine. Bodies stream both ways, with trailers, resets and
// back-pressure.

import http from 'node:http';
import http2 from 'node:http2';

const HOP = new Set([
	'connection',
	'keep-alive',
	'proxy-connection',
	'transfer-encoding',
	'upgrade',
	'te',
	'host',
	'http2-settings',
]);
const { NGHTTP2_CANCEL, HTTP2_HEADER_STATUS } = http2.constants;

// sessions: upstream connections, used in turn.
export async function startH2Proxy(target, { sessions = 4 } = {}) {
	const pool = new Array(sessions).fill(null);
	let turn = 0;

	const session = () => {
		const at = turn++ % sessions;
		if (!pool[at] || pool[at].closed || pool[at].destroyed) {
			pool[at] = http2.connect(target, {
				settings: { enablePush: false },
				peerMaxConcurrentStreams: 1000,
			});
			pool[at].on('error', () => {});
			pool[at].setMaxListeners(0);
		}
		return pool[at];
	};

	// Never the first to close an idle connection: a client that takes it up at that moment would fail.
	const server = http.createServer({ maxHeaderSize: 1 << 20, requestTimeout: 0, keepAliveTimeout: 0 }, (from, to) =>
		forward(from, to, session()),
	);
	server.on('clientError', (error, socket) => socket.destroy());
	await new Promise((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
	return {
		url: `http://127.0.0.1:${server.address().port}`,
		async stop() {
			server.closeAllConnections();
			pool.forEach((upstream) => upstream?.destroy());
			await new Promise((done) => server.close(done));
		},
	};
}

function requestHeaders(from) {
	const headers = { ':method': from.method, ':path': from.url, ':authority': from.headers.host };
	for (const [name, values] of Object.entries(from.headersDistinct))
		if (!HOP.has(name)) headers[name] = values.length > 1 ? values : values[0];
	return headers;
}

function forward(from, to, session) {
	const hasBody =
		from.headers['transfer-encoding'] !== undefined || Number(from.headers['content-length'] ?? 0) > 0;
	// Held open for trailers, or else closing a half-sent body would end it properly first.
	const up = session.request(requestHeaders(from), { endStream: !hasBody, waitForTrailers: hasBody });
	let ended = false;

	if (hasBody) {
		from.pipe(up);
		up.on('wantTrailers', () =>
			from.complete ? up.sendTrailers(from.trailers) : up.close(NGHTTP2_CANCEL),
		);
	}
	up.on('response', (headers, _flags) => {
		const plain = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
		to.writeHead(headers[HTTP2_HEADER_STATUS], plain);
		to.flushHeaders();
		up.pipe(to, { end: false });
	});
	up.on('trailers', (headers) => to.addTrailers(headers));
	up.on('end', () => {
		ended = true;
		to.end();
	});
	up.on('error', () => to.destroy());
	up.on('close', () => ended || to.destroy());
	from.on('aborted', () => up.close(NGHTTP2_CANCEL));
	to.on('close', () => to.writableFinished || up.close(NGHTTP2_CANCEL));
}
