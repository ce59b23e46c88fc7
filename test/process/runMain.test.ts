/** What a worker process does when it is told to stop, and how it ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"

const program = join(import.meta.dirname, "program.ts")

/** Generous: nothing here waits for it unless something is wrong. */
const patience = 60_000

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

class Running {
  readonly child: ChildProcess
  readonly ended: Promise<number | string>
  /** What the program says of itself. */
  said = ""
  /** What it logs. */
  logged = ""
  private watchers: Array<() => void> = []

  constructor(mode: string, env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [program, mode], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...env }
    })
    children.add(this.child)
    const wake = () => {
      for (const watcher of this.watchers) watcher()
    }
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.said += text
      wake()
    })
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.logged += text
      wake()
    })
    this.ended = new Promise((end) => this.child.on("close", (code, signal) => end(code ?? signal ?? "?")))
  }

  get lines() {
    return this.said.split("\n").filter((line) => line !== "" && line !== "tick")
  }

  private until(condition: () => boolean, what: string): Promise<void> {
    return new Promise((done, fail) => {
      const watcher = () => {
        if (!condition()) return
        this.watchers = this.watchers.filter((one) => one !== watcher)
        clearTimeout(timer)
        done()
      }
      const timer = setTimeout(
        () => fail(new Error(`${what} did not come.\nsaid:\n${this.said}\nlogged:\n${this.logged}`)),
        patience
      )
      this.watchers.push(watcher)
      watcher()
    })
  }

  says = (text: string) => this.until(() => this.said.includes(text), `"${text}"`)
  logs = (text: string) => this.until(() => this.logged.includes(text), `log line "${text}"`)

  /** Time enough for the next signal to count as another one. */
  async ticks(count: number) {
    const seen = () => this.said.split("tick\n").length - 1
    const before = seen()
    await this.until(() => seen() >= before + count, `${count} ticks`)
  }

  signal(signal: "SIGINT" | "SIGTERM") {
    this.child.kill(signal)
  }

  async end() {
    const code = await this.ended
    expect(this.said).not.toContain("unhandled rejection")
    return code
  }
}

/** The lines that report an error, without time and fiber. */
const errors = (logged: string) =>
  logged.split("\n").filter((line) => line.includes("ERROR")).map((line) => line.replace(/^.*ERROR \([^)]*\): /, ""))

describe.concurrent("runMain", () => {
  it("an idle worker keeps the process alive; a signal ends it", { timeout: 150_000 }, async () => {
    const running = new Running("idle")
    await running.logs("started on transport \"memory\"")
    await running.ticks(5)
    running.signal("SIGTERM")
    expect(await running.end()).toBe(0)
    expect(running.logged).toContain("SIGTERM: draining, a second signal stops now")
    expect(running.lines).toEqual([])
  })

  it(
    "the first signal lets running handlers finish, then releases what their Layers hold",
    { timeout: 150_000 },
    async () => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        const running = new Running("short")
        await running.says("started short")
        running.signal(signal)
        expect(await running.end()).toBe(0)
        expect(running.lines).toEqual([
          "acquired handlers",
          "started short",
          "finished short",
          "finalized short",
          "released handlers",
          "left: 0 queued, 0 running"
        ])
      }
    }
  )

  it("a grace period that ends releases the jobs: still 0", { timeout: 150_000 }, async () => {
    const running = new Running("released")
    await running.says("started endless")
    running.signal("SIGTERM")
    expect(await running.end()).toBe(0)
    expect(running.logged).toContain("Grace period of queue \"default\" is over: releasing 1 running jobs")
    expect(running.lines.slice(2)).toEqual([
      "interrupted endless",
      "finalized endless",
      "released handlers",
      "left: 1 queued, 0 running"
    ])
  })

  for (
    const [first, second, code] of [["SIGTERM", "SIGTERM", 143], ["SIGINT", "SIGINT", 130], [
      "SIGTERM",
      "SIGINT",
      130
    ]] as const
  ) {
    it(`${first} and then ${second} stops now, finalizers run: ${code}`, { timeout: 150_000 }, async () => {
      const running = new Running("endless")
      await running.says("started endless")
      running.signal(first)
      await running.logs("drains 1 jobs in hand")
      await running.ticks(2)
      running.signal(second)
      expect(await running.end()).toBe(code)
      expect(running.logged).toContain(`${second}: stopping now`)
      expect(running.lines.slice(2)).toEqual([
        "interrupted endless",
        "finalized endless",
        "released handlers",
        "left: 1 queued, 0 running"
      ])
    })
  }

  it("a signal that comes twice in the same moment is one, as under npm", { timeout: 150_000 }, async () => {
    const running = new Running("twice")
    await running.says("started short")
    running.signal("SIGINT")
    expect(await running.end()).toBe(0)
    expect(running.lines).toContain("finished short")
  })

  it("a signal while Layers build stops the build and releases what was acquired", { timeout: 150_000 }, async () => {
    const running = new Running("building")
    await running.says("building")
    running.signal("SIGTERM")
    expect(await running.end()).toBe(0)
    expect(running.lines).toEqual(["acquired first", "building", "released first"])
    expect(running.logged).toContain("SIGTERM: stopping the start, a second signal stops now")
    expect(errors(running.logged)).toEqual([])
  })

  for (const mode of ["stuckFinalizer", "stuckHandler", "buildingStuck"]) {
    it(`${mode}: the second signal ends the process within 5 seconds`, { timeout: 150_000 }, async () => {
      const running = new Running(mode)
      await running.says(mode === "buildingStuck" ? "building" : "started")
      running.signal("SIGTERM")
      await running.ticks(4)
      running.signal("SIGTERM")
      await running.logs("SIGTERM: stopping now")
      const before = performance.now()
      expect(await running.end()).toBe(143)
      // five seconds, and many more for a machine that is busy
      expect(performance.now() - before).toBeLessThan(30_000)
      expect(running.logged).toContain("Finalizers did not end within 5000 ms")
    })
  }

  it("a third signal does not wait for anything", { timeout: 150_000 }, async () => {
    const running = new Running("stuckHandler")
    await running.says("started stuck")
    running.signal("SIGTERM")
    await running.ticks(2)
    running.signal("SIGTERM")
    await running.logs("SIGTERM: stopping now")
    await running.ticks(2)
    running.signal("SIGINT")
    expect(await running.end()).toBe(130)
    expect(running.logged).not.toContain("Finalizers did not end")
  })

  it(
    "a Layer that fails: 1, one line with the cause, and what was acquired is released",
    { timeout: 150_000 },
    async () => {
      const running = new Running("failing")
      expect(await running.end()).toBe(1)
      expect(running.lines).toEqual(["acquired first", "released first"])
      expect(errors(running.logged)).toEqual([
        "Failed to start: No database answers at db.example:5432, caused by: connect ECONNREFUSED at the socket"
      ])
      expect(running.logged.trim().split("\n")).toHaveLength(1)
    }
  )

  it("a Layer that fails without a message: its name, and the cause", { timeout: 150_000 }, async () => {
    const running = new Running("nameless")
    expect(await running.end()).toBe(1)
    expect(errors(running.logged)).toEqual(["Failed to start: ServerError, caused by: listen EADDRINUSE"])
  })

  it("an option that is wrong, in code or in the environment: 1 and one line", { timeout: 150_000 }, async () => {
    const inCode = new Running("invalid")
    expect(await inCode.end()).toBe(1)
    expect(errors(inCode.logged)).toEqual([
      "Failed to start: The worker did not start: option \"concurrency\" must be a whole number of at least 1, got 0."
    ])
    const inEnvironment = new Running("idle", { TROUPE_CONCURRENCY: "many" })
    expect(await inEnvironment.end()).toBe(1)
    const [line, ...others] = errors(inEnvironment.logged)
    expect(line).toContain("CONCURRENCY")
    expect(others).toEqual([])
    expect(inEnvironment.logged.trim().split("\n")).toHaveLength(1)
  })

  it("a bug in a Layer: 1, with the place", { timeout: 150_000 }, async () => {
    const running = new Running("defect")
    expect(await running.end()).toBe(1)
    expect(errors(running.logged)[0]).toBe("Failed to start: a bug in a Layer")
    expect(running.logged).toContain("program.ts")
  })

  it("a Layer that interrupts itself did not start: 1", { timeout: 150_000 }, async () => {
    const running = new Running("interrupted")
    expect(await running.end()).toBe(1)
    expect(errors(running.logged)[0]).toContain("Failed to start: ")
  })

  it("a finalizer that fails: 1, and it says so", { timeout: 150_000 }, async () => {
    const running = new Running("failingFinalizer")
    await running.says("started endless")
    running.signal("SIGTERM")
    expect(await running.end()).toBe(1)
    expect(errors(running.logged)[0]).toBe("Failed while stopping: cannot close")
    expect(running.lines).toContain("left: 1 queued, 0 running")
  })

  it("nobody reads its output any more: it works on, and drains", { timeout: 150_000 }, async () => {
    const running = new Running("talking")
    await running.says("logged")
    running.child.stdout!.destroy()
    running.said = ""
    await running.says("logged\n".repeat(30))
    running.signal("SIGTERM")
    expect(await running.end()).toBe(0)
    expect(running.lines).toContain("left: 1 queued, 0 running")
  })
})
