// Runs the cases of `./dev bench` against sluice, the file-backed reference and the in-memory reference in turn, three rounds, and
// prints medians and ratios. Every number of sluice is with each acknowledged append synced to disk; every append run is read
// back and checked by the load generator.
// usage: node bench/run.mjs --build DIR [--rounds N] [--seconds N]
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify, parseArgs } from "node:util"

const here = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({ options: {
  build: { type: "string", default: join(here, "..", "build") },
  rounds: { type: "string", default: "3" },
  seconds: { type: "string", default: "3" },
} })

// name, case, connections, streams, bytes, pipeline
const cases = [
  ["append, 1 connection", "append", 1, 1, 100, 1],
  ["append, 64 connections, one stream", "append", 64, 1, 100, 1],
  ["append, 64 connections, 64 streams", "append", 64, 64, 100, 1],
  ["append, 256 connections, 64 streams", "append", 256, 64, 100, 1],
  ["append, 16 x 16 pipelined, one stream", "append", 16, 1, 100, 16],
  ["append 64 KiB, 16 connections", "append", 16, 16, 65536, 1],
  ["append 1 MiB, 4 connections", "append", 4, 4, 1048576, 1],
  ["read 10 KB streams, 64 connections", "read", 64, 64, 10000, 1],
]

// Starts a server and resolves with { address, stop } once it printed where it listens.
function serverStart(command, args, cleanup) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: join(here, "..", "tests") })
    let text = ""
    const look = (chunk) => {
      text += chunk
      const found = /listen=http:\/\/(\S+)/.exec(text)
      if (found) resolve({ address: found[1], stop: () => new Promise((done) => { child.once("exit", () => { cleanup(); done() }); child.kill() }) })
    }
    child.stdout.on("data", look)
    child.stderr.on("data", look)
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}:\n${text}`)))
  })
}

function directory() {
  const dir = mkdtempSync(join(tmpdir(), "sluice-bench-"))
  return [dir, () => rmSync(dir, { recursive: true, force: true })]
}

const servers = {
  sluice() {
    const [dir, cleanup] = directory()
    const file = join(dir, "sluice.yaml")
    writeFileSync(file, `data_dir: ${dir}/data\nfrontends:\n  - name: streams\n    listen: ["127.0.0.1:0"]\n    workers: 2\n    plugins: [{ plugin: streams }]\n`)
    return serverStart(join(values.build, "sluiced"), ["-c", file], cleanup)
  },
  reference() {
    const [dir, cleanup] = directory()
    return serverStart(process.execPath, [join(here, "..", "tests", "lib", "reference-server.mjs"), dir], cleanup)
  },
  memory() {
    return serverStart(process.execPath, [join(here, "..", "tests", "lib", "reference-server.mjs")], () => {})
  },
}

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN
const run = promisify(execFile)
const results = new Map()

for (let round = 0; round < Number(values.rounds); round++) {
  for (const [kind, start] of Object.entries(servers)) {
    const server = await start()
    for (const [name, what, connections, streams, bytes, pipeline] of cases) {
      let line
      try {
        line = (await run(join(values.build, "bench", "load"),
          [server.address, "/v1/stream", what, connections, streams, values.seconds, bytes, pipeline].map(String))).stdout.trim()
        const key = `${name}\0${kind}`
        results.set(key, [...(results.get(key) ?? []), JSON.parse(line)])
      } catch (error) {
        // A reference that drops connections costs its own figure only; sluice may not.
        line = `failed: ${(error.stderr || error.message).trim()}`
        if (kind === "sluice") process.exitCode = 1
      }
      console.error(`round ${round + 1} ${kind}: ${name}: ${line}`)
    }
    await server.stop()
  }
}

console.log(`\n${"case".padEnd(40)} ${"sluice/s".padStart(10)} ${"p50 us".padStart(8)} ${"p99 us".padStart(8)}  x file  x memory  p99: file/sluice`)
for (const [name] of cases) {
  const pick = (kind, field) => median((results.get(`${name}\0${kind}`) ?? []).map((r) => r[field]))
  const ours = pick("sluice", "per_second")
  console.log(`${name.padEnd(40)} ${String(Math.round(ours)).padStart(10)} ${String(pick("sluice", "p50_us")).padStart(8)} ${String(pick("sluice", "p99_us")).padStart(8)}` +
    `  ${(ours / pick("reference", "per_second")).toFixed(1).padStart(6)}  ${(ours / pick("memory", "per_second")).toFixed(1).padStart(8)}` +
    `  ${(pick("reference", "p99_us") / pick("sluice", "p99_us")).toFixed(1).padStart(8)}`)
}
