// A bare TCP connection: for bytes no HTTP client would send, and for stopping in the middle of them.

import net from 'node:net';
import { within } from './wait.mjs';

export class Raw {
	#wake = null;

	constructor(url, options = {}) {
		const { hostname, port } = new URL(url);
		this.text = '';
		this.socket = net.connect({ host: hostname, port, allowHalfOpen: true, ...options });
		this.socket.setEncoding('latin1');
		this.socket.unref(); // a test that failed with it open must still end
		this.socket.on('data', (text) => {
			this.text += text;
			this.#wake?.();
		});
		for (const end of ['end', 'close'])
			this.socket.on(end, () => {
				this.ended = true;
				this.#wake?.();
			});
		this.socket.on('error', (error) => {
			this.error = error;
			this.#wake?.();
		});
	}

	send(text) {
		return new Promise((done) => this.socket.write(text, 'latin1', done));
	}

	// Waits until `condition(text)` holds for what came so far; fails when the connection ends first.
	async until(condition, what = 'an answer') {
		const test = typeof condition === 'function' ? condition : (text) => condition.test(text);
		while (!test(this.text)) {
			if (this.ended || this.error)
				throw new Error(`the connection ended before ${what}: ${JSON.stringify(this.text)}`);
			await within(what, new Promise((done) => (this.#wake = done)));
		}
		return this.text;
	}

	async end(what = 'the end of the connection') {
		while (!this.ended && !this.error) await within(what, new Promise((done) => (this.#wake = done)));
		return this.text;
	}

	// Status of the first answer.
	async status() {
		await this.until(/^HTTP\/1\.[01] \d{3}[^]*?\r\n\r\n/, 'the head of an answer');
		return Number(this.text.slice(9, 12));
	}

	close() {
		this.socket.destroy();
	}
}

// One exchange on a connection of its own: the whole text of what came back before the server closed.
export async function exchange(url, text) {
	const raw = new Raw(url);
	try {
		await raw.send(text);
		await raw.end();
		return raw.text;
	} finally {
		raw.close();
	}
}
