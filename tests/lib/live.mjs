// One answer as it arrives: what both HTTP clients return, and an SSE reader on top of it.

import { within } from './wait.mjs';

export class Live {
	#chunks = [];
	#wake = null;
	#ended = false;
	#failure = null;

	// cancel() gives the exchange up from our side.
	constructor(status, headers, cancel) {
		Object.assign(this, { status, headers, cancel, trailers: {} });
	}

	push(chunk) {
		this.#chunks.push(chunk);
		this.#wake?.();
	}

	end() {
		this.#ended = true;
		this.#wake?.();
	}

	fail(error) {
		this.#failure ??= error;
		this.#wake?.();
	}

	// The next bytes, or null at the end; rejects when the answer was cut.
	async chunk(limit) {
		while (!this.#chunks.length) {
			if (this.#ended) return null;
			if (this.#failure) throw this.#failure;
			await within('more of an answer', new Promise((done) => (this.#wake = done)), limit);
		}
		return this.#chunks.shift();
	}

	async body(limit) {
		const parts = [];
		for (let part; (part = await this.chunk(limit)) !== null;) parts.push(part);
		return Buffer.concat(parts);
	}

	// Everything that has arrived so far, without waiting.
	pending() {
		return this.#chunks.reduce((sum, part) => sum + part.length, 0);
	}

	close() {
		this.cancel();
		this.fail(new Error('closed by the test'));
	}
}

// Reads events by the rules of the EventSource specification; keeps the raw lines for byte-exact assertions.
export class SseReader {
	#text = '';
	#decode;

	// encoding 'latin1': bytes as they are, for streams that end inside a character.
	constructor(live, encoding = 'utf-8') {
		const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
		this.#decode =
			encoding === 'latin1'
				? (bytes) => bytes.toString('latin1')
				: (bytes) => decoder.decode(bytes, { stream: true });
		this.live = live;
		this.raw = '';
	}

	// {type, data, lines, control} or null at the end of the answer. control: the parsed control event.
	async next(limit) {
		for (;;) {
			const end = this.#text.indexOf('\n\n');
			if (end >= 0) {
				const block = this.#text.slice(0, end);
				this.#text = this.#text.slice(end + 2);
				const event = parse(block);
				if (event) return event;
				continue;
			}
			const bytes = await this.live.chunk(limit);
			if (bytes === null) {
				if (this.#text !== '')
					throw new Error(
						`the answer ends inside an event: ${JSON.stringify(this.#text)}`,
					);
				return null;
			}
			const text = this.#decode(bytes);
			this.#text += text;
			this.raw += text;
		}
	}

	// Events up to and with the first control event that satisfies `wanted`.
	async upTo(wanted = (control) => control.upToDate, limit) {
		const events = [];
		for (;;) {
			const event = await this.next(limit);
			if (event === null) throw new Error(`the answer ended first: ${JSON.stringify(events)}`);
			events.push(event);
			if (event.control && wanted(event.control)) return events;
		}
	}

	async rest(limit) {
		const events = [];
		for (let event; (event = await this.next(limit)) !== null;) events.push(event);
		return events;
	}

	close() {
		this.live.close();
	}
}

function parse(block) {
	const event = { type: 'message', lines: [] };
	const data = [];
	for (const line of block.split('\n')) {
		if (line.startsWith(':') || line === '') continue;
		const colon = line.indexOf(':');
		const field = colon < 0 ? line : line.slice(0, colon);
		const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
		if (field === 'event') event.type = value;
		if (field === 'data') {
			data.push(value);
			event.lines.push(line);
		}
	}
	if (!event.lines.length && event.type === 'message') return null;
	event.data = data.join('\n');
	if (event.type === 'control') event.control = JSON.parse(event.data);
	return event;
}

// The payload bytes of data events: text, base64 or JSON values, as the answer's headers say.
export const textOf = (events) =>
	events
		.filter((event) => event.type === 'data')
		.map((event) => event.data)
		.join('');
export const bytesOf = (events) =>
	Buffer.concat(
		events
			.filter((event) => event.type === 'data')
			.map((event) => Buffer.from(event.data.replaceAll('\n', ''), 'base64')),
	);
export const valuesOf = (events) =>
	events.filter((event) => event.type === 'data').flatMap((event) => JSON.parse(event.data));
