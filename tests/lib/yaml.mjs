// Writes plain objects as block YAML: what a person would have typed, so that the tests exercise the same parser paths.

const plain = /^[A-Za-z0-9_./:+-][A-Za-z0-9_./:+ -]*$/;
const special = /^(true|false|null|yes|no|on|off|~|-.*|.*: .*|.*:|[0-9.:eE+-]+)$/i;

function scalar(value) {
	if (typeof value !== 'string') return String(value);
	return plain.test(value) && !special.test(value) ? value : JSON.stringify(value);
}

function lines(value, indent) {
	const pad = ' '.repeat(indent);
	const entries = Array.isArray(value)
		? value.map((item) => ['-', item])
		: Object.entries(value)
				.filter(([, item]) => item !== undefined)
				.map(([key, item]) => [`${key}:`, item]);
	return entries.flatMap(([head, item]) => {
		if (item === null || typeof item !== 'object') return [`${pad}${head} ${scalar(item)}`];
		const inner = lines(item, indent + 2);
		if (inner.length === 0) return [`${pad}${head} ${Array.isArray(item) ? '[]' : '{}'}`];
		return head === '-'
			? [`${pad}- ${inner[0].slice(indent + 2)}`, ...inner.slice(1)]
			: [`${pad}${head}`, ...inner];
	});
}

export function toYaml(object) {
	return `${lines(object, 0).join('\n')}\n`;
}
