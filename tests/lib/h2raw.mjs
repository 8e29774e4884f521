// HTTP/2 frames by hand: for what node:http2 cannot send, such as a body that is cut without an end, and for what it
// does not show.

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const DATA = 0,
	HEADERS = 1,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	CONTINUATION = 9;
export const END_STREAM = 1,
	END_HEADERS = 4;

export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
	const head = Buffer.alloc(9);
	head.writeUIntBE(payload.length, 0, 3);
	head[3] = type;
	head[4] = flags;
	head.writeUInt32BE(stream, 5);
	return Buffer.concat([head, payload]);
}

// HPACK: every field as a literal without indexing and without Huffman. Names and values below 127 bytes.
export function headerBlock(fields) {
	return Buffer.concat(
		Object.entries(fields).flatMap(([name, value]) => [
			Buffer.from([0, Buffer.byteLength(name)]),
			Buffer.from(name),
			Buffer.from([Buffer.byteLength(value)]),
			Buffer.from(value),
		]),
	);
}

export const requestHeaders = (method, path, more = {}) =>
	headerBlock({ ':method': method, ':scheme': 'http', ':authority': 'test', ':path': path, ...more });

// Splits what came (latin1 text) into whole frames: [{type, flags, stream, payload}].
export function frames(text) {
	const bytes = Buffer.from(text, 'latin1');
	const found = [];
	for (let at = 0; at + 9 <= bytes.length;) {
		const length = bytes.readUIntBE(at, 3);
		if (at + 9 + length > bytes.length) break;
		found.push({
			type: bytes[at + 3],
			flags: bytes[at + 4],
			stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
			payload: bytes.subarray(at + 9, at + 9 + length),
		});
		at += 9 + length;
	}
	return found;
}
