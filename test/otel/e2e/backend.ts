/** A real backend of OpenTelemetry: receives OTLP, and answers what arrived. */
import { type ChildProcess, spawn } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { ended } from "../../servers/process.ts"

export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly status: { readonly code: string; readonly message?: string }
  readonly events?: ReadonlyArray<{ readonly name: string; readonly attributes: Readonly<Record<string, unknown>> }>
  readonly links?: ReadonlyArray<{
    readonly traceId: string
    readonly spanId: string
    readonly attributes: Readonly<Record<string, unknown>>
  }>
  readonly scope: { readonly name: string }
}

export interface LogLine {
  readonly body: string
  readonly traceId: string
  readonly spanId: string
  readonly attributes: Readonly<Record<string, unknown>>
}

export interface Backend {
  readonly url: string
  readonly spans: () => Promise<ReadonlyArray<Span>>
  readonly logs: (query: string) => Promise<ReadonlyArray<LogLine>>
  readonly metrics: () => Promise<ReadonlyArray<{ readonly name: string }>>
  readonly stop: () => Promise<void>
}

const address = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = ""
    child.once("exit", (code) => reject(new Error(`the backend ended with ${code}: ${said}`)))
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      said += text
      const found = /UI: +(http:\/\/\S+)/.exec(said)
      if (found !== null) resolve(found[1]!)
    })
  })

export const startBackend = async (): Promise<Backend> => {
  const manifest = createRequire(import.meta.url).resolve("autotel-devtools")
  const cli = join(dirname(manifest), "cli.js")
  // it takes free ports for 0, and says which
  const child = spawn(process.execPath, [cli, "--port", "0", "--grpc-port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
    // it answers with the last hundred traces otherwise, and a cron job makes two per second
    env: { ...process.env, NODE_NO_WARNINGS: "1", AUTOTEL_MAX_TRACE_COUNT: "100000" }
  })
  const url = await address(child)
  const json = async <A>(response: Response): Promise<A> => {
    if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`)
    return response.json() as Promise<A>
  }
  return {
    url,
    spans: async () => {
      const { traces } = await json<{ traces: Array<{ spans: Array<Span> }> }>(await fetch(`${url}/v1/traces`))
      return traces.flatMap(({ spans }) => spans)
    },
    logs: async (query) => {
      const { logs } = await json<{ logs: Array<LogLine> }>(
        await fetch(`${url}/api/query/logs`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ query })
        })
      )
      return logs
    },
    metrics: async () => {
      const { metrics } = await json<{ metrics: Array<{ name: string }> }>(await fetch(`${url}/api/metrics`))
      return metrics
    },
    stop: async () => {
      child.kill("SIGKILL")
      await ended(child)
    }
  }
}
