// Two HTTP clients with one face: HTTP/1.1 (node:http) and HTTP/2 with prior knowledge (node:http2), or over TLS by ALPN when the URL
// begins with https; ca is the certificate to be believed there.
//   open(method, path, {headers, body}) -> Live, as soon as the head of the answer is there
//   request(...)                        -> {status, headers, body, text, json()}
// body: string or Buffer (length known), async iterable (chunked / DATA frames as they come), or nothing.

import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { Live } from './live.mjs';
import { within } from './wait.mjs';

export const connect = (via, url, options) => (via === 'h2c' ? new Http2(url, options) : new Http1(url, options));

class Client {
	async request(method, path, options = {}) {
		const live = await this.open(method, path, options);
		const body = await live.body(options.limit);
		return {
			status: live.status,
			headers: live.headers,
			trailers: live.trailers,
			body,
			get text() {
				return body.toString();
			},
			json: () => JSON.parse(body.toString()),
		};
	}
}

async function pour(body, sink, beforeEnd = () => {}) {
	for await (const part of body) {
		if (sink.destroyed) return;
		if (!sink.write(part))
			await new Promise((done) => {
				sink.once('drain', done);
				sink.once('close', done);
			});
	}
	beforeEnd();
	sink.end();
}

const iterable = (body) => body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);

function feed(live, stream) {
	stream.on('data', (chunk) => live.push(chunk));
	stream.on('end', () => live.end());
	stream.on('error', (error) => live.fail(error));
	stream.on('aborted', () => live.fail(new Error('the server cut the answer')));
	stream.on('close', () => live.fail(new Error('the connection closed inside the answer')));
}

export class Http1 extends Client {
	// connections: at most so many sockets; keepAlive as in http.Agent.
	constructor(url, { connections = Infinity, keepAlive = true, ca } = {}) {
		super();
		this.url = new URL(url);
		this.scheme = this.url.protocol === 'https:' ? https : http;
		this.agent = new this.scheme.Agent({ keepAlive, maxSockets: connections, scheduling: 'fifo', ca });
	}

	open(method, path, { headers = {}, body, limit } = {}) {
		return within(
			`the head of the answer to ${method} ${path}`,
			new Promise((done, fail) => {
				const request = this.scheme.request(
					{
						host: this.url.hostname,
						port: this.url.port,
						method,
						path,
						headers,
						agent: this.agent,
						maxHeaderSize: 1 << 20,
					},
					(answer) => {
						const live = new Live(answer.statusCode, answer.headers, () =>
							request.destroy(),
						);
						live.socket = request.socket;
						feed(live, answer);
						answer.on('end', () => (live.trailers = answer.trailers));
						done(live);
					},
				);
				request.on('error', fail);
				if (iterable(body)) {
					request.flushHeaders();
					pour(body, request).catch((error) => request.destroy(error));
				} else request.end(body);
			}),
			limit,
		);
	}

	close() {
		this.agent.destroy();
	}
}

export class Http2 extends Client {
	constructor(url, { settings, ca } = {}) {
		super();
		this.url = url;
		this.ca = ca;
		this.settings = { enablePush: false, ...settings };
	}

	get session() {
		if (!this.current || this.current.closed || this.current.destroyed) {
			this.current = http2.connect(this.url, {
				settings: this.settings,
				ca: this.ca,
				peerMaxConcurrentStreams: 1000,
			});
			this.current.on('error', () => {}); // each request reports for itself
			this.current.setMaxListeners(0);
		}
		return this.current;
	}

	open(method, path, { headers = {}, body, limit } = {}) {
		return within(
			`the head of the answer to ${method} ${path}`,
			new Promise((done, fail) => {
				// Held open for trailers, or else close() would end a half-sent body properly before it
				// resets the stream.
				const held = iterable(body);
				const stream = this.session.request(
					{ ...headers, ':method': method, ':path': path },
					{ endStream: body === undefined, waitForTrailers: held },
				);
				let whole = false;
				if (held)
					stream.on('wantTrailers', () =>
						whole
							? stream.sendTrailers({})
							: stream.close(http2.constants.NGHTTP2_CANCEL),
					);
				const cancel = () => stream.close(http2.constants.NGHTTP2_CANCEL);
				stream.on('response', ({ ':status': status, ...rest }) => {
					const live = new Live(status, rest, cancel);
					live.stream = stream;
					feed(live, stream);
					stream.on('trailers', (trailers) => (live.trailers = trailers));
					done(live);
				});
				stream.on('error', fail);
				stream.on('close', () =>
					fail(new Error(`stream closed without an answer, code ${stream.rstCode}`)),
				);
				if (held) pour(body, stream, () => (whole = true)).catch(() => cancel());
				else if (body !== undefined) stream.end(body);
			}),
			limit,
		);
	}

	close() {
		this.current?.destroy();
	}
}
