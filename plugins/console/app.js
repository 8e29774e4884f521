// app.js - the console's page. What comes from the server becomes text nodes, never markup; the token stays in this tab.
'use strict';

const POLL_MS = 2000;
const HISTORY = 151; // samples of the charts: five minutes
const SHOWN = 500; // messages kept in the list of a stream
const PAGE = 50;

const $ = (id) => document.getElementById(id);

// An element with properties and children; strings become text nodes.
function make(tag, properties = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(properties))
		if (name in element) element[name] = value;
		else element.setAttribute(name, value);
	element.append(...children.filter((child) => child !== null && child !== undefined));
	return element;
}

function draw(tag, attributes, ...children) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
	element.append(...children);
	return element;
}

// ---- how things are written ----

const number = new Intl.NumberFormat('en');
function bytes(n) {
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
	return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}
function duration(ms) {
	const s = Math.floor(ms / 1000);
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
	return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
const ago = (ms) => (!ms ? '' : Date.now() - ms < 5000 ? 'now' : `${duration(Date.now() - ms)} ago`);
const moment = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
function rate(n) {
	if (n >= 100000) return `${Math.round(n / 1000)}k`;
	if (n >= 10000) return `${(n / 1000).toFixed(1)}k`;
	return n >= 100 || n === 0 ? number.format(Math.round(n)) : n.toFixed(n >= 10 ? 1 : 2).replace(/\.?0+$/, '');
}
const short = (n) => String(Number(n.toPrecision(3)));
const latency = (s) => (s >= 1 ? `${short(s)} s` : s >= 0.001 ? `${short(s * 1000)} ms` : s > 0 ? `${short(s * 1e6)} µs` : '0');

// ---- asking ----

const access = {
	get token() {
		try {
			return sessionStorage.getItem('sluice-token') ?? '';
		} catch {
			return this.kept ?? '';
		}
	},
	set token(value) {
		this.kept = value;
		try {
			if (value) sessionStorage.setItem('sluice-token', value);
			else sessionStorage.removeItem('sluice-token');
		} catch {
			// then it lives as long as the page
		}
	},
	show(why) {
		$('access').hidden = false;
		$('key').setAttribute('aria-expanded', 'true');
		$('access-why').textContent = why ?? 'Kept in this tab only, and sent to this server only.';
	},
	hide() {
		$('access').hidden = true;
		$('key').setAttribute('aria-expanded', 'false');
	},
};

class Refused extends Error {}

async function ask(path, options = {}) {
	const headers = { ...options.headers };
	if (access.token) headers.authorization = `Bearer ${access.token}`;
	const answer = await fetch(path, { cache: 'no-store', ...options, headers });
	if (answer.status === 401 || answer.status === 403) {
		const text = await answer.text();
		let why = text.trim();
		try {
			why = JSON.parse(text).error ?? why;
		} catch {
			// it was a sentence
		}
		throw Object.assign(new Refused(why), { status: answer.status });
	}
	return answer;
}

async function askJson(path, options) {
	const answer = await ask(path, options);
	const body = answer.status === 204 ? null : await answer.json();
	if (!answer.ok) throw Object.assign(new Error(body?.error ?? `status ${answer.status}`), { status: answer.status });
	return body;
}

function notice(text) {
	$('notice').textContent = text ?? '';
	$('notice').hidden = !text;
}

function refused(error) {
	const why = !access.token
		? 'This server wants a token for what the console shows. It is kept in this tab only.'
		: error.status === 401
			? 'This token is not known here, or has expired.'
			: 'This token may not see that.';
	if (document.activeElement !== $('token')) access.show(why);
}

function pill(element, kind, text) {
	element.className = `pill ${kind}`;
	element.lastElementChild.textContent = text;
}

// ---- metrics ----

// The text format of Prometheus: Map of name -> Map of labels (as written) -> {labels, value}.
function parseMetrics(text) {
	const families = new Map();
	for (const line of text.split('\n')) {
		const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
		if (!found) continue;
		const [, name, labels = '', value] = found;
		const series = families.get(name) ?? new Map();
		families.set(name, series);
		const named = {};
		for (const [, key, written] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
			named[key] = written.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
		series.set(labels, { labels: named, value: Number(value.replace('Inf', 'Infinity')) });
	}
	return families;
}

// How much a counter has grown since the sample before; one that is new or began anew counts from nothing.
function* growth(before, now, name) {
	for (const [labels, series] of now.get(name) ?? []) {
		const old = before?.get(name)?.get(labels)?.value;
		if (old === undefined) continue;
		yield { ...series, grown: series.value >= old ? series.value - old : series.value };
	}
}
const grown = (before, now, name, keep = () => true) =>
	[...growth(before, now, name)].filter(({ labels }) => keep(labels)).reduce((sum, one) => sum + one.grown, 0);

// A quantile of what was observed between two samples, by the buckets of a histogram; null: nothing was.
function quantile(before, now, name, q) {
	const counts = new Map();
	for (const { labels, grown: n } of growth(before, now, `${name}_bucket`)) {
		const bound = Number(labels.le.replace('Inf', 'Infinity'));
		counts.set(bound, (counts.get(bound) ?? 0) + n);
	}
	const bounds = [...counts.keys()].sort((a, b) => a - b);
	const total = counts.get(Infinity) ?? 0;
	if (!total) return null;
	let below = 0, from = 0;
	for (const bound of bounds) {
		const upTo = counts.get(bound);
		if (upTo >= q * total)
			return bound === Infinity ? from : from + ((bound - from) * (q * total - below)) / (upTo - below || 1);
		below = upTo;
		from = bound;
	}
	return from;
}

// ---- charts ----

function niceTop(max) {
	if (!(max > 0)) return 1;
	const power = 10 ** Math.floor(Math.log10(max));
	return [1, 2, 2.5, 5, 10].map((step) => step * power).find((top) => top >= max * 1.02) ?? 10 * power;
}

class Chart {
	constructor(title, format, { unit = '', first = '', second = '' } = {}) {
		this.title = title;
		this.format = format;
		this.names = [first, second];
		this.samples = []; // {at, values: [first, second]}
		this.value = make('b', {}, '–');
		this.second = second ? make('span', { className: 'key' }) : null;
		this.svg = draw('svg', { role: 'img', 'aria-label': `${title}: no data yet` });
		this.element = make(
			'figure',
			{ className: 'card chart' },
			make('h3', {}, title),
			make('div', { className: 'now' }, this.value, make('small', {}, unit), this.second),
			this.svg,
		);
		this.svg.addEventListener('pointermove', (event) => this.hover(event.offsetX));
		this.svg.addEventListener('pointerleave', () => this.hover(null));
		new ResizeObserver(() => this.paint()).observe(this.svg);
	}

	add(at, ...values) {
		this.samples.push({ at, values });
		if (this.samples.length > HISTORY) this.samples.shift();
		this.paint();
	}

	hover(x) {
		this.at = x;
		this.paint();
	}

	// The points of a line, broken where there is no value.
	lines(index, x, y) {
		let path = '', drawing = false;
		for (const { at, values } of this.samples) {
			const value = values[index];
			if (value !== null && value !== undefined)
				path += `${drawing ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
			drawing = value !== null && value !== undefined;
		}
		return path;
	}

	// Under the first line, each unbroken part down to the ground.
	area(x, y) {
		let path = '', run = [];
		const close = () => {
			if (run.length > 1)
				path += `M${run[0][0]} ${y(0)}${run.map(([px, py]) => `L${px} ${py}`).join('')}L${run.at(-1)[0]} ${y(0)}Z`;
			run = [];
		};
		for (const { at, values } of this.samples)
			if (values[0] === null) close();
			else run.push([x(at).toFixed(1), y(values[0]).toFixed(1)]);
		close();
		return path;
	}

	nearest(x) {
		if (this.at === null || this.at === undefined) return this.samples.at(-1);
		return this.samples.reduce(
			(best, one) => (!best || Math.abs(x(one.at) - this.at) < Math.abs(x(best.at) - this.at) ? one : best), null);
	}

	paint() {
		const width = this.svg.clientWidth, height = this.svg.clientHeight;
		if (!width || !height) return;
		const left = 46, right = width - 8, top = 10, bottom = height - 20;
		const end = this.samples.at(-1)?.at ?? 0;
		const span = Math.min(Math.max(end - (this.samples[0]?.at ?? end), 60_000), (HISTORY - 1) * POLL_MS);
		const max = niceTop(Math.max(0, ...this.samples.flatMap(({ values }) => values.filter((v) => v !== null))));
		const x = (at) => right - ((end - at) / span) * (right - left);
		const y = (value) => bottom - (value / max) * (bottom - top);
		const shown = this.nearest(x);
		const parts = [];
		for (const value of [0, max / 2, max])
			parts.push(
				draw('line', { class: 'grid', x1: left, x2: right, y1: Math.round(y(value)), y2: Math.round(y(value)) }),
				draw('text', { x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, this.format(value)),
			);
		parts.push(
			draw('text', { x: left, y: height - 4 }, `${duration(span)} ago`),
			draw('text', { x: right, y: height - 4, 'text-anchor': 'end' }, 'now'),
			draw('path', { class: 'area', d: this.area(x, y) }),
		);
		if (this.names[1]) parts.push(draw('path', { class: 'line second', d: this.lines(1, x, y) }));
		parts.push(draw('path', { class: 'line', d: this.lines(0, x, y) }));
		if (shown && shown.values[0] !== null) {
			if (this.at !== null && this.at !== undefined)
				parts.push(draw('line', { class: 'hair', x1: x(shown.at), x2: x(shown.at), y1: top, y2: bottom }));
			parts.push(draw('circle', { class: 'dot', r: 4, cx: x(shown.at), cy: y(shown.values[0]) }));
		}
		this.svg.replaceChildren(...parts);
		this.say(shown);
	}

	say(shown) {
		const text = (value) => (value === null || value === undefined ? '–' : this.format(value));
		this.value.textContent = text(shown?.values[0]);
		if (this.second) this.second.textContent = `${this.names[1]} ${text(shown?.values[1])}`;
		this.svg.setAttribute('aria-label', `${this.title}: ${text(shown?.values[0])}`);
	}
}

const charts = {
	appends: new Chart('Appends', rate, { unit: 'a second' }),
	commits: new Chart('Commits', rate, { unit: 'a second' }),
	latency: new Chart('Append latency, 99 %', latency, { first: 'append', second: 'commit' }),
};

// ---- the overview ----

const overview = { before: null, beforeAt: 0, now: null, cpu: new Map() };

function sampleMetrics(text) {
	const now = parseMetrics(text), at = Date.now(), before = overview.now;
	const seconds = (at - overview.beforeAt) / 1000;
	if (before && seconds > 0) {
		charts.appends.add(at, grown(before, now, 'sluice_store_append_seconds_count') / seconds);
		charts.commits.add(at, grown(before, now, 'sluice_writer_commits_total') / seconds);
		charts.latency.add(
			at,
			quantile(before, now, 'sluice_store_append_seconds', 0.99),
			quantile(before, now, 'sluice_writer_commit_seconds', 0.99),
		);
	}
	overview.before = before;
	overview.seconds = seconds;
	overview.beforeAt = at;
	overview.now = now;
}

// A gauge or the rate of a counter of one process.
function ofProcess(process) {
	const mine = (labels) =>
		labels.process === process.name && (!labels.generation || labels.generation === String(process.generation));
	return {
		gauge: (name) =>
			[...(overview.now?.get(name)?.values() ?? [])]
				.filter(({ labels }) => mine(labels))
				.reduce((sum, { value }) => sum + value, 0),
		rate: (name) =>
			overview.before && overview.seconds > 0 ? grown(overview.before, overview.now, name, mine) / overview.seconds : 0,
	};
}

const stateKinds = { ready: 'good', running: 'good', starting: 'warn', draining: 'warn', reloading: 'warn' };

function cell(label, text, className = 'n') {
	return make('td', { className, 'data-label': label }, text);
}

function processRow(process) {
	const { gauge, rate: rateOf } = ofProcess(process);
	const state = make('span', {}, make('i'), make('span'));
	const works = process.kind === 'worker', key = `${process.name} ${process.pid}`;
	const used = overview.cpu.get(key), at = performance.now();
	const cpu = used && at > used.at ? ((process.cpu_ms - used.ms) / (at - used.at)) * 100 : null;
	const requests = rateOf('sluice_http_requests_total');
	const queue = gauge('sluice_store_queued'), connections = gauge('sluice_http_connections') + gauge('sluice_ws_connections');
	overview.cpu.set(key, { ms: process.cpu_ms, at });
	pill(state, stateKinds[process.state] ?? 'bad', process.state);
	return make(
		'tr',
		{},
		make('td', {}, process.name),
		make('td', {}, state),
		cell('PID', process.pid ? String(process.pid) : '–'),
		cell('Uptime', process.uptime_ms ? duration(process.uptime_ms) : '–'),
		cell('Restarts', String(process.restarts), process.restarts ? 'n high' : 'n zero'),
		cell('Memory', process.resident_bytes ? bytes(process.resident_bytes) : '–'),
		cell('CPU', cpu === null ? '–' : `${Math.max(0, cpu).toFixed(1)} %`),
		...(works
			? [
					cell('Connections', number.format(connections), connections ? 'n' : 'n zero'),
					cell('Requests/s', rate(requests), requests ? 'n' : 'n zero'),
					cell('Queue', number.format(queue), queue ? 'n' : 'n zero'),
				]
			: [cell('', '–', 'n zero none'), cell('', '–', 'n zero none'), cell('', '–', 'n zero none')]),
	);
}

function showStatus(status) {
	const server = status.processes[0];
	for (const id of ['card-processes', 'card-listeners']) $(id).hidden = false;
	$('server').textContent = `version ${status.version} · generation ${status.generation}${server ? ` · up ${duration(server.uptime_ms)}` : ''} · ${status.data_dir}`;
	$('server').title = `configuration ${status.config}`;
	$('processes').tBodies[0].replaceChildren(...status.processes.map(processRow));
	$('listeners').replaceChildren(
		...status.listeners.map(({ frontend, url }) => make('li', {}, make('code', {}, url), make('span', { className: 'quiet' }, frontend))),
	);
}

async function pollHealth() {
	try {
		const answer = await fetch('health', { cache: 'no-store' });
		const body = await answer.json();
		pill($('health'), answer.ok ? 'good' : 'bad', answer.ok ? 'healthy' : (body.reason ?? 'unavailable'));
	} catch {
		pill($('health'), 'bad', 'no answer');
	}
}

async function poll() {
	await pollHealth();
	try {
		sampleMetrics(await (await ask('metrics')).text());
		if (!$('page-overview').hidden) showStatus(await askJson('console/status'));
		if (!$('page-presence').hidden) await loadChannels();
		if (!$('page-streams').hidden && !$('streams').contains(document.activeElement)) await loadList();
		notice('');
	} catch (error) {
		if (error instanceof Refused) refused(error);
		else notice('The server does not answer. Trying again …');
	}
}

let timer = 0, polling = false;
async function pollLoop() {
	clearTimeout(timer);
	if (polling || document.hidden) return;
	polling = true;
	await poll();
	polling = false;
	timer = setTimeout(pollLoop, overview.before ? POLL_MS : 500); // the second one makes rates of the first
}
document.addEventListener('visibilitychange', pollLoop);

// ---- the list of streams ----

const list = { prefix: '', pages: [''], next: null, serial: 0 };

function streamItem(stream, chosen) {
	const link = make(
		'a',
		{ href: `#/stream/${encodeURIComponent(stream.name)}`, title: stream.name },
		make('b', {}, stream.name),
		make('span', { className: 'right' }, bytes(stream.bytes)),
		make('span', {}, stream.content_type + (stream.closed ? ' · closed' : '')),
		make('span', { className: 'right', title: moment(stream.written_ms) }, ago(stream.written_ms)),
	);
	if (stream.name === chosen) link.setAttribute('aria-current', 'true');
	return make('li', {}, link);
}

async function loadList() {
	const serial = ++list.serial;
	const query = new URLSearchParams({ prefix: list.prefix, after: list.pages.at(-1), limit: String(PAGE) });
	try {
		const { streams, next } = await askJson(`console/streams?${query}`);
		if (serial !== list.serial) return; // typed on meanwhile
		list.next = next;
		$('streams').replaceChildren(...streams.map((stream) => streamItem(stream, view.name)));
		$('streams-empty').hidden = streams.length > 0;
		$('streams-empty').textContent = list.prefix ? 'No stream begins like this.' : 'There is no stream yet.';
		$('page-back').disabled = list.pages.length === 1;
		$('page-on').disabled = next === null;
		$('page-where').textContent = list.pages.length > 1 || next !== null ? `page ${list.pages.length}` : '';
		notice('');
	} catch (error) {
		if (error instanceof Refused) refused(error);
		else notice(`The streams cannot be listed: ${error.message}`);
	}
}

$('prefix').addEventListener('input', () => {
	list.prefix = $('prefix').value;
	list.pages = [''];
	loadList();
});
$('page-on').addEventListener('click', () => {
	if (list.next === null) return;
	list.pages.push(list.next);
	loadList();
});
$('page-back').addEventListener('click', () => {
	if (list.pages.length > 1) list.pages.pop();
	loadList();
});

// ---- one stream ----

const view = { name: null, abort: null, offset: 0, paused: false, held: [] };
const path = (kind, name) => `console/${kind}/${name.split('/').map(encodeURIComponent).join('/')}`;

// JSON in colours; anything else as it is.
function coloured(text) {
	try {
		JSON.parse(text);
	} catch {
		return [text];
	}
	const parts = [];
	for (const [all, string, key, digits, word] of text.matchAll(
		/("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|[^"\dtfn-]+|./gs,
	)) {
		const kind = string ? (key ? 'k' : 's') : digits ? 'd' : word ? 'w' : '';
		parts.push(kind ? make('span', { className: kind }, string ?? all) : all);
		if (string && key) parts.push(key);
	}
	return parts;
}

function messageItem(message, fresh) {
	const code = make('code');
	if (message.text !== undefined) code.append(...coloured(message.text));
	else code.append(message.hex.replace(/../g, '$& ').trim());
	if (message.cut) code.append(make('span', { className: 'mark' }, ' … cut'));
	return make('li', fresh ? { className: 'new' } : {}, make('span', {}, bytes(message.bytes)), code);
}

const mark = (text) => make('li', {}, make('span'), make('code', { className: 'mark' }, text));

function addMessages(items) {
	const box = $('messages');
	const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
	box.append(...items);
	while (box.childElementCount > SHOWN) box.firstElementChild.remove();
	if (atEnd) box.scrollTop = box.scrollHeight;
}

function fact(name, value) {
	return value === null ? [] : [make('div', {}, make('dt', {}, name), make('dd', {}, value))];
}

function showFacts(stream) {
	view.bytes = stream.bytes;
	$('facts').replaceChildren(
		...fact('Type', stream.content_type),
		...fact('Size', (view.size = make('span', {}, bytes(stream.bytes)))),
		...fact('Tail', (view.tail = make('span', {}, number.format(stream.tail)))),
		...fact('Earliest', stream.earliest ? number.format(stream.earliest) : null),
		...fact('Created', moment(stream.created_ms)),
		...fact('Time to live', stream.ttl_s === undefined ? null : duration(stream.ttl_s * 1000)),
		...fact('Expires', stream.expires_ms === undefined ? null : moment(stream.expires_ms)),
		...fact('State', stream.closed ? 'closed' : 'open'),
	);
}

function live(kind, text) {
	$('live').hidden = !text;
	pill($('live'), kind, text);
}

// What comes while the list is paused waits, the newest of it.
function arrived(item) {
	if (!view.paused) addMessages([item]);
	else {
		view.held.push(item);
		if (view.held.length > SHOWN) view.held.shift();
		$('pause').textContent = `Go on (${view.held.length})`;
	}
}

// The list is not made anew while somebody moves in it: what is shown beside it must not disagree.
function listed(size) {
	const [total, when] = $('streams').querySelectorAll('[aria-current] .right');
	if (!total) return;
	total.textContent = size;
	when.textContent = ago(Date.now());
	when.title = moment(Date.now());
}

const events = {
	message: (data) => {
		const message = JSON.parse(data);
		view.size.textContent = bytes((view.bytes += message.bytes));
		listed(view.size.textContent);
		arrived(messageItem(message, true));
	},
	offset: (data) => {
		view.offset = Number(data);
		view.tail.textContent = number.format(view.offset);
	},
	gap: () => arrived(mark('older messages were removed meanwhile')),
	end: (data) => {
		const { why } = JSON.parse(data);
		live('', why);
		arrived(mark(why === 'closed' ? 'the stream is closed' : why === 'removed' ? 'the stream is gone' : why));
		return true;
	},
};

// Server-sent events of one answer. True: the stream has ended, there is nothing to come back to.
async function readEvents(answer) {
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	for (let rest = ''; ; ) {
		const { value, done } = await reader.read();
		if (done) return false;
		const blocks = (rest + value).split('\n\n');
		rest = blocks.pop();
		for (const block of blocks) {
			const kind = /^event: (.*)$/m.exec(block)?.[1], data = /^data: (.*)$/m.exec(block)?.[1];
			if (kind in events && events[kind](data) === true) return true;
		}
	}
}

async function follow(name, signal) {
	for (let wait = 250; !signal.aborted; wait = Math.min(2 * wait, 5000)) {
		try {
			const answer = await ask(`${path('tail', name)}?offset=${view.offset}`, { signal });
			if (answer.status === 404 || answer.status === 410) return live('', 'gone');
			if (answer.ok) {
				live('good', 'live');
				wait = 250;
				if (await readEvents(answer)) return;
			}
		} catch (error) {
			if (signal.aborted) return;
			if (error instanceof Refused) return refused(error);
		}
		live('warn', 'reconnecting');
		await new Promise((done) => setTimeout(done, wait));
	}
}

function closeView() {
	view.abort?.abort();
	view.abort = null;
	view.name = null;
	view.paused = false;
	view.held = [];
}

function emptyView(title, text) {
	$('view-title').textContent = title;
	$('view-empty').textContent = text;
	$('view-empty').hidden = false;
	for (const id of ['facts', 'messages', 'append', 'live', 'pause']) $(id).hidden = true;
}

async function openView(name) {
	closeView();
	view.name = name;
	const { signal } = (view.abort = new AbortController());
	emptyView(name, 'Loading …');
	$('view-title').title = name;
	$('append-said').textContent = '';
	try {
		const stream = await askJson(path('stream', name), { signal });
		if (signal.aborted) return;
		showFacts(stream);
		view.offset = stream.next;
		$('messages').replaceChildren();
		for (const id of ['facts', 'messages', 'pause']) $(id).hidden = false;
		$('view-empty').hidden = true;
		$('append').hidden = stream.closed;
		$('pause').textContent = 'Pause';
		$('pause').setAttribute('aria-pressed', 'false');
		addMessages([
			...(stream.earlier ? [mark('… earlier messages are not shown')] : []),
			...stream.messages.map((message) => messageItem(message, false)),
		]);
		$('messages').scrollTop = $('messages').scrollHeight;
		await follow(name, signal);
	} catch (error) {
		if (signal.aborted) return;
		if (error instanceof Refused) refused(error);
		emptyView(name, error.message);
	}
}

$('pause').addEventListener('click', () => {
	view.paused = !view.paused;
	$('pause').setAttribute('aria-pressed', String(view.paused));
	$('pause').textContent = view.paused ? 'Go on' : 'Pause';
	if (!view.paused) addMessages(view.held.splice(0));
});

async function append() {
	const text = $('append-text').value;
	if (!text || !view.name) return;
	$('append-send').disabled = true;
	try {
		await askJson(path('stream', view.name), { method: 'POST', body: text, headers: { 'x-sluice-console': '1' } });
		$('append-text').value = '';
		$('append-said').textContent = '';
	} catch (error) {
		$('append-said').textContent = `Not appended: ${error.message}`;
	}
	$('append-send').disabled = false;
}
$('append-send').addEventListener('click', append);
$('append-text').addEventListener('keydown', (event) => {
	if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) append();
});

// ---- presence ----

async function loadChannels() {
	try {
		const { channels } = await askJson('console/channels');
		$('channels-empty').hidden = channels.length > 0;
		$('channels').tBodies[0].replaceChildren(
			...channels.map((channel) =>
				make('tr', {}, make('td', {}, channel.name), cell('', number.format(channel.entries)),
					cell('', number.format(channel.subscribers)), cell('', bytes(channel.bytes))),
			),
		);
		return true;
	} catch (error) {
		if (error instanceof Refused) refused(error);
		else if (error.status !== 501) notice(`The channels cannot be listed: ${error.message}`);
		return false;
	}
}

// ---- pages ----

let shownPage = null;
function route() {
	const where = location.hash.slice(1);
	let page = 'overview', name = null;
	const of = /^\/streams?\/(.+)/s.exec(where);
	if (of) {
		page = 'streams';
		try {
			name = decodeURIComponent(of[1]);
		} catch {
			name = null; // not a name
		}
	} else if (where.startsWith('/streams')) page = 'streams';
	else if (where.startsWith('/presence')) page = 'presence';
	for (const one of ['overview', 'streams', 'presence']) $(`page-${one}`).hidden = one !== page;
	for (const link of document.querySelectorAll('nav a'))
		if (link.dataset.page === page) link.setAttribute('aria-current', 'page');
		else link.removeAttribute('aria-current');
	document.body.classList.toggle('viewing', name !== null);
	document.title = name ? `${name} · sluice` : 'sluice';
	if (name === null) {
		closeView();
		emptyView('No stream chosen', 'Choose a stream to see its last messages and to follow it.');
	} else if (name !== view.name) openView(name);
	if (page === 'streams') loadList();
	if (page === 'presence') loadChannels();
	if (page === 'overview') pollLoop();
	if (page !== shownPage) scrollTo(0, 0);
	shownPage = page;
}

function useToken(token) {
	access.token = token;
	$('token').value = '';
	access.hide();
	notice('');
	if (view.name) openView(view.name);
	if (!$('page-streams').hidden) loadList();
	start();
}
$('key').addEventListener('click', () => {
	if ($('access').hidden) {
		access.show();
		$('token').focus();
	} else access.hide();
});
$('token-use').addEventListener('click', () => useToken($('token').value.trim()));
$('token').addEventListener('keydown', (event) => event.key === 'Enter' && useToken($('token').value.trim()));
$('token-forget').addEventListener('click', () => useToken(''));
document.addEventListener('keydown', (event) => {
	if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA)$/.test(event.target.tagName))
		return;
	event.preventDefault();
	if ($('page-streams').hidden) location.hash = '#/streams';
	setTimeout(() => $('prefix').focus());
});
window.addEventListener('hashchange', route);

// Presence has a page where there is any.
async function start() {
	pollLoop();
	try {
		await askJson('console/channels');
		$('nav-presence').hidden = false;
	} catch (error) {
		$('nav-presence').hidden = true;
	}
}

$('charts').append(...Object.values(charts).map(({ element }) => element));
route();
start();
