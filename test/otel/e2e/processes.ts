/** Processes of the shop, as their parent sees them. */
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import { ended } from "../../servers/process.ts"
import type { Told } from "./tasks.ts"

export interface Setting {
  readonly broker: string
  readonly url: string
  readonly exporter: string
  readonly redisUrl: string
  readonly backendUrl: string
}

const register = join(import.meta.dirname, "../../../packages/otel/src/register.ts")

export class Shop {
  readonly child: ChildProcess
  private readonly heard: Array<Told> = []
  private readonly waiting = new Set<() => void>()

  constructor(program: "worker" | "producer", { backendUrl, broker, exporter, redisUrl, url }: Setting) {
    this.child = fork(join(import.meta.dirname, `${program}.ts`), [broker, url, exporter, redisUrl], {
      execArgv: ["--import", register],
      env: {
        ...process.env,
        OTEL_EXPORTER_OTLP_ENDPOINT: backendUrl,
        OTEL_METRICS_EXPORTER: "none",
        OTEL_LOGS_EXPORTER: "none",
        OTEL_BSP_SCHEDULE_DELAY: "200"
      },
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    this.child.on("message", (told: Told) => {
      this.heard.push(told)
      for (const check of this.waiting) check()
    })
  }

  /** What it said, now or later. An end of the process, or a failed scenario, is an error. */
  hears<A>(pick: (told: Told) => A | undefined): Promise<A> {
    return new Promise((resolve, reject) => {
      const end = (code: number | null) => reject(new Error(`the process ended with ${code}`))
      const check = () => {
        for (const told of this.heard) {
          if ("failed" in told) return reject(new Error(told.failed))
          const found = pick(told)
          if (found === undefined) continue
          this.waiting.delete(check)
          this.child.off("exit", end)
          return resolve(found)
        }
      }
      this.waiting.add(check)
      this.child.once("exit", end)
      check()
    })
  }

  ready(): Promise<true> {
    return this.hears((told) => "ready" in told ? told.ready : undefined)
  }

  /** The ids of the jobs of a scenario. */
  run(scenario: string, id?: string): Promise<ReadonlyArray<string>> {
    this.child.send({ run: scenario, id })
    return this.hears((told) => "done" in told && told.done === scenario ? told.ids : undefined)
  }

  /** The id of a job of this task that runs. */
  started(task: string): Promise<string> {
    return this.hears((told) => "started" in told && told.started === task ? told.id : undefined)
  }

  /** `kill -9` by itself. */
  died(): Promise<void> {
    return ended(this.child)
  }

  /** In order: it sends its last spans. */
  async stop(): Promise<void> {
    if (this.child.connected) this.child.send("stop")
    await ended(this.child)
  }
}
