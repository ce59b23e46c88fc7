/**
 * A real Prometheus for tests, and its `promtool`.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ended, freePort, guard } from "./process.ts"
import { until } from "./redis.ts"

export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Prometheus {
  /** The series of an instant query. Fails with what Prometheus says of a query that it cannot run. */
  readonly query: (expression: string) => Promise<ReadonlyArray<Sample>>
  /** The values of a label among the series that match. */
  readonly labelValues: (label: string, match: string) => Promise<ReadonlyArray<string>>
  /** The rules that it loaded, evaluated at least once, with what became of that. */
  readonly rules: () => Promise<
    ReadonlyArray<{ readonly name: string; readonly health: string; readonly state: string }>
  >
  readonly stop: () => Promise<void>
}

const commands = ["prometheus", "promtool"]

export const hasPrometheus = (): boolean =>
  commands.every((command) => {
    try {
      execFileSync(command, ["--version"], { stdio: "ignore" })
      return true
    } catch {
      return false
    }
  })

export const needPrometheus = (): void => {
  if (hasPrometheus()) return
  throw new Error("These tests need prometheus 2.42 or newer and promtool on the PATH: install the package prometheus.")
}

/** Scrapes these targets every second, each with the labels given, and evaluates the rules of a file. */
export const startPrometheus = async (options: {
  readonly targets: ReadonlyArray<{ readonly port: number; readonly service: string }>
  readonly rules: string
}): Promise<Prometheus> => {
  needPrometheus()
  const directory = mkdtempSync(join(tmpdir(), "troupe-prometheus-"))
  const port = await freePort()
  const file = join(directory, "prometheus.json")
  const log = join(directory, "prometheus.log")
  // YAML is a superset of JSON
  writeFileSync(
    file,
    JSON.stringify({
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [options.rules],
      scrape_configs: options.targets.map(({ port, service }) => ({
        job_name: service,
        static_configs: [{ targets: [`127.0.0.1:${port}`] }]
      }))
    })
  )
  const output = openSync(log, "a")
  const child: ChildProcess = spawn(
    "prometheus",
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn"
    ],
    { stdio: ["ignore", output, output] }
  )
  closeSync(output)
  const watcher = guard(child.pid ?? 0, directory)
  const stop = async () => {
    watcher.kill("SIGKILL")
    child.kill("SIGKILL")
    await ended(child)
    rmSync(directory, { recursive: true, force: true })
  }
  const api = async <A>(path: string, parameters: Record<string, string> = {}): Promise<A> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    // the erased boundary of this file: the answers of its API
    const answer = await response.json() as { readonly status: string; readonly error?: string; readonly data: A }
    if (answer.status !== "success") throw new Error(`${answer.error}: ${JSON.stringify(parameters)}`)
    return answer.data
  }
  await until("prometheus is up", async () => {
    if (child.exitCode !== null) throw new Error("it ended")
    return (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok
  }).catch(async () => {
    const said = readFileSync(log, "utf8")
    await stop()
    throw new Error(`prometheus did not come up:\n${said}`)
  })
  type Vector = { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }
  type Group = {
    readonly rules: ReadonlyArray<{ readonly name: string; readonly health: string; readonly state: string }>
  }
  return {
    query: async (query) => {
      const { result } = await api<{ readonly result: ReadonlyArray<Vector> }>("query", { query })
      return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
    },
    labelValues: (label, match) => api(`label/${label}/values`, { "match[]": match }),
    rules: async () =>
      (await api<{ readonly groups: ReadonlyArray<Group> }>("rules")).groups.flatMap(({ rules }) => rules),
    stop
  }
}
