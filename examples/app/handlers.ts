/**
 * How the service does it: only workers import this.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import { createHash } from "node:crypto"
import { type Facts, report, split } from "./markdown.ts"
import { Reader } from "./reader.ts"
import { Audit, CheckPage, EmptyPage, FolderUnreadable, UnclosedFence } from "./tasks.ts"

const CheckPageLive = CheckPage.toLayer(Effect.gen(function*() {
  const reader = yield* Reader
  // to watch it work: how long to rest after a section
  const pace = yield* Config.Duration("PROOF_PACE").pipe(Config.withDefault(0))

  return Effect.fnUntraced(function*({ name, text }, execution) {
    if (text.trim() === "") return yield* new EmptyPage({ name })
    const sections = split(text)
    if ("openFence" in sections) return yield* new UnclosedFence({ name, line: sections.openFence })
    const facts: Array<Facts> = []
    for (const section of sections) {
      facts.push(yield* reader.read(section))
      yield* execution.progress({ read: facts.length, of: sections.length })
      yield* Effect.sleep(pace)
    }
    yield* Effect.logInfo(`Proofread "${name}"`)
    return report(name, createHash("sha256").update(text).digest("hex"), facts)
  })
}))

const AuditLive = Audit.toLayer(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* Config.String("PROOF_FOLDER").pipe(
    Config.withDefault(path.join(import.meta.dirname, "../../docs"))
  )
  const unreadable = Effect.mapError((error: { readonly message: string }) =>
    new FolderUnreadable({ folder, reason: error.message })
  )

  return Effect.fnUntraced(function*(_, { id }) {
    yield* Effect.logInfo(`Audit ${id} begins`)
    const names = (yield* fs.readDirectory(folder).pipe(unreadable)).filter((name) => name.endsWith(".md")).toSorted()
    // at least once, like every task: a second run asks for the same jobs, and has their answers
    const check = Effect.fnUntraced(function*(name: string) {
      const text = yield* fs.readFileString(path.join(folder, name)).pipe(unreadable)
      const job = yield* Effect.orDie(CheckPage.enqueue({ name, text }, { id: `${id}/${name}` }))
      return yield* Effect.exit(job.await)
    })
    const answers = yield* Effect.forEach(names, check, { concurrency: 8 })
    const reports = answers.filter(Exit.isSuccess).map(({ value }) => value)
    const sum = (count: (one: typeof reports[number]) => number) =>
      reports.reduce((total, one) => total + count(one), 0)
    return {
      pages: names.length,
      words: sum(({ words }) => words),
      problems: sum(({ problems }) => problems.length),
      refused: names.length - reports.length
    }
  })
}))

export const HandlersLive = Layer.merge(CheckPageLive, AuditLive)
