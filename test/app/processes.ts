/**
 * The processes of examples/app, as an operator starts them.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"

const folder = join(import.meta.dirname, "../../examples/app")

/** Generous: nothing here waits for it unless something is wrong. */
const patience = 60_000

export class Process {
  readonly name: string
  readonly env: NodeJS.ProcessEnv
  readonly child: ChildProcess
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
  logged = ""
  private readonly watchers = new Set<() => void>()

  /** Starts `node` with the rest of the command, in the directory. */
  constructor(
    name: string,
    env: Readonly<Record<string, string>>,
    command: ReadonlyArray<string> = ["node", join(folder, `${name}.ts`)],
    directory = folder
  ) {
    this.name = name
    this.env = { PATH: process.env.PATH, NO_COLOR: "1", ...env }
    this.child = spawn(process.execPath, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: this.env,
      cwd: directory
    })
    for (const output of [this.child.stdout!, this.child.stderr!]) {
      output.setEncoding("utf8").on("data", (text: string) => {
        this.logged += text
        for (const watch of this.watchers) watch()
      })
    }
    this.ended = new Promise((end) =>
      this.child.on("close", (code, signal) => {
        end(code ?? signal ?? "?")
        for (const watch of this.watchers) watch()
      })
    )
  }

  /** Waits until it has logged this, for so many times. */
  logs(text: string, times = 1): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        this.watchers.delete(watch)
        clearTimeout(timer)
        reject(new Error(`${this.name}: "${text}" did not come ${times} time(s), ${why}. It logged:\n${this.logged}`))
      }
      const watch = () => {
        if (this.linesWith(text).length >= times) {
          this.watchers.delete(watch)
          clearTimeout(timer)
          return resolve()
        }
        if (this.child.exitCode !== null || this.child.signalCode !== null) fail("the process has ended")
      }
      const timer = setTimeout(() => fail("the time is over"), patience)
      this.watchers.add(watch)
      watch()
    })
  }

  /** What it answers there. */
  async get(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.env.PORT}${path}`)
    return { status: answer.status, text: await answer.text() }
  }

  async isReady(): Promise<void> {
    await this.logs("Listening")
    const deadline = Date.now() + patience
    while ((await this.get("/ready")).status !== 200) {
      if (Date.now() > deadline) throw new Error(`${this.name} is not ready. It logged:\n${this.logged}`)
      await wait(20)
    }
  }

  linesWith(text: string): ReadonlyArray<string> {
    return this.logged.split("\n").filter((line) => line.includes(text))
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}

/** All of them are killed when the tests are over. */
export class Processes {
  private readonly all: Array<Process> = []

  start(name: "all" | "api" | "worker" | "scheduler", env: Readonly<Record<string, string>>): Process {
    const started = new Process(name, env)
    this.all.push(started)
    return started
  }

  /** The exit code of the health check of the image, where a process has this environment. */
  static async healthcheck(env: NodeJS.ProcessEnv): Promise<number | null> {
    const child = spawn(process.execPath, [join(folder, "healthcheck.ts")], { env, stdio: "inherit" })
    return new Promise((resolve) => child.once("exit", resolve))
  }

  async stop(): Promise<void> {
    for (const one of this.all) one.signal("SIGKILL")
    await Promise.all(this.all.map(({ ended }) => ended))
  }
}
