// A strict reader of the text format of Prometheus, version 0.0.4: what a lenient one would forgive is a failure here.
//   parse(text) -> Map of family name -> {type, help, samples: [{name, labels, value}]}
//   sum(families, name, labels) -> the sum of the samples of that name with these labels

import assert from 'node:assert/strict';

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const VALUE = /^(?:[+-]Inf|NaN|-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$/;

function labelsOf(text, line) {
	const labels = {};
	LABEL.lastIndex = 0;
	while (LABEL.lastIndex < text.length) {
		const found = LABEL.exec(text);
		assert.ok(found, `labels of: ${line}`);
		assert.ok(!(found[1] in labels), `a label twice: ${line}`);
		labels[found[1]] = found[2].replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
	}
	return labels;
}

function sampleOf(line) {
	const found = new RegExp(`^(${NAME})(?:\\{(.+)\\})? (\\S+)$`).exec(line);
	assert.ok(found, `not a sample: ${line}`);
	assert.match(found[3], VALUE, line);
	return { name: found[1], labels: labelsOf(found[2] ?? '', line), value: Number(found[3].replace('Inf', 'Infinity')), line };
}

const key = ({ name, labels }) => name + JSON.stringify(Object.entries(labels).sort());

// Buckets are cumulative and in order, the last one is everything, and counts what _count says.
function checkHistogram(name, samples) {
	const series = new Map();
	for (const { name: full, labels: { le, ...rest }, value } of samples) {
		const of = series.get(JSON.stringify(rest)) ?? { buckets: [] };
		series.set(JSON.stringify(rest), of);
		if (full === `${name}_bucket`) of.buckets.push([Number(le.replace('Inf', 'Infinity')), value]);
		else of[full.slice(name.length + 1)] = value;
	}
	for (const { buckets, sum, count } of series.values()) {
		assert.ok(sum >= 0 && count >= 0, `${name} has a sum and a count`);
		assert.equal(buckets.at(-1)[0], Infinity, `${name} ends with +Inf`);
		assert.equal(buckets.at(-1)[1], count, `${name} counts what is in its buckets`);
		for (let i = 1; i < buckets.length; i++)
			assert.ok(buckets[i][0] > buckets[i - 1][0] && buckets[i][1] >= buckets[i - 1][1], `${name} is cumulative`);
	}
}

export function parse(text) {
	const families = new Map(), seen = new Set();
	let current = null;
	assert.ok(text.endsWith('\n') && !text.includes('\n\n'), 'each line ends, none is empty');
	for (const line of text.slice(0, -1).split('\n')) {
		const help = new RegExp(`^# HELP (${NAME}) (.*)$`).exec(line), type = new RegExp(`^# TYPE (${NAME}) (\\w+)$`).exec(line);
		if (help) {
			assert.ok(!families.has(help[1]), `a family in two places: ${help[1]}`);
			assert.doesNotMatch(help[2], /\\[^\\n]/, 'only backslashes and line ends are escaped in a help text');
			current = { name: help[1], help: help[2], samples: [] };
			families.set(help[1], current);
		} else if (type) {
			assert.equal(type[1], current?.name, 'a type stands behind its help');
			assert.ok(!current.type && !current.samples.length, 'once, before the samples');
			assert.match(type[2], /^(counter|gauge|histogram)$/);
			current.type = type[2];
		} else {
			const sample = sampleOf(line);
			const base = current?.type === 'histogram' ? sample.name.replace(/_(bucket|sum|count)$/, '') : sample.name;
			assert.equal(base, current?.name, 'samples stand behind their type');
			assert.ok(!seen.has(key(sample)), `a series twice: ${line}`);
			seen.add(key(sample));
			current.samples.push(sample);
		}
	}
	for (const { name, type, help, samples } of families.values()) {
		assert.ok(type && help && samples.length, `${name} has a type, a help text and samples`);
		assert.equal(name.endsWith('_total'), type === 'counter', `${name}: counters end with _total, others do not`);
		if (type === 'histogram') checkHistogram(name, samples);
	}
	return families;
}

export function sum(families, name, wanted = {}) {
	return [...families.values()]
		.flatMap(({ samples }) => samples)
		.filter((sample) => sample.name === name && Object.entries(wanted).every(([label, value]) => sample.labels[label] === value))
		.reduce((total, { value }) => total + value, 0);
}
