// What tests of the Loro Streams surface share.

import assert from 'node:assert/strict';

export const at = (n) => String(n).padStart(20, '0');

// The parts of a bootstrap, which has to be made exactly as the specification says: {type, body}.
export function parts(answer) {
	const boundary = /^multipart\/mixed; boundary=(rr-[0-9a-f]{24})$/.exec(answer.headers['content-type'])?.[1];
	assert.ok(boundary, answer.headers['content-type']);
	const found = [];
	const { body } = answer;
	let place = 0;
	const take = (text) => {
		assert.equal(body.subarray(place, place + text.length).toString('latin1'), text, `at ${place}`);
		place += text.length;
	};
	for (;;) {
		take(`--${boundary}`);
		if (body.subarray(place, place + 2).toString('latin1') === '--') break;
		take('\r\nContent-Type: ');
		const head = body.indexOf('\r\n\r\n', place);
		const end = body.indexOf(`\r\n--${boundary}`, head + 4);
		found.push({ type: body.subarray(place, head).toString(), body: body.subarray(head + 4, end) });
		place = end + 2;
	}
	take('--\r\n');
	assert.equal(place, body.length, 'nothing behind the end');
	return found;
}
