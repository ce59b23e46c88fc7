import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Spool from "../src/internal/spool.ts"

type Answer = number | "unreachable" | "silent"

/** A backend that answers as told, and remembers what it took. */
class Backend {
  answer: Answer = 200
  readonly taken: Array<string> = []
  attempts = 0

  readonly client = HttpClient.make((request) =>
    Effect.suspend(() => {
      this.attempts++
      if (this.answer === "silent") return Effect.never
      if (this.answer === "unreachable") {
        return Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({ request, cause: "refused" })
          })
        )
      }
      if (this.answer < 300 && request.body._tag === "Uint8Array") {
        this.taken.push(new TextDecoder().decode(request.body.body))
      }
      return Effect.succeed(HttpClientResponse.fromWeb(request, new Response(undefined, { status: this.answer })))
    })
  )
}

/** An answer has a body, which is read in real time. */
const until = (condition: () => boolean) =>
  Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))).pipe(
    Effect.repeat({ until: condition, times: 10_000 })
  )

const setUp = Effect.fnUntraced(function*(capacity = 1_000) {
  const backend = new Backend()
  const lines: Array<string> = []
  const logger = Logger.layer([
    Logger.make(({ logLevel, message }) => {
      lines.push(`${logLevel}: ${String(message)}`)
    })
  ])
  const scope = yield* Scope.make()
  const client = yield* Spool.make(backend.client, { capacity, timeout: "10 seconds", shutdownTimeout: "5 seconds" })
    .pipe(
      Scope.provide(scope),
      Effect.provide(logger)
    )
  const send = (text: string, path = "/v1/traces") =>
    client.execute(HttpClientRequest.post(`http://backend${path}`).pipe(HttpClientRequest.bodyText(text))).pipe(
      Effect.map(({ status }) => status),
      Effect.provide(logger)
    )
  return { backend, lines, send, end: Effect.provide(Scope.close(scope, Exit.void), logger) }
})

describe("the client of the exporters", () => {
  it.effect("sends at once, and says nothing", () =>
    Effect.gen(function*() {
      const { backend, end, lines, send } = yield* setUp()
      expect(yield* send("a")).toBe(200)
      yield* end
      expect(backend.taken).toEqual(["a"])
      expect(lines).toEqual([])
    }))

  for (const answer of ["unreachable", 503, 429] as const) {
    it.effect(`keeps what an outage (${answer}) would lose, in order, and says when it begins and ends`, () =>
      Effect.gen(function*() {
        const { backend, lines, send } = yield* setUp()
        backend.answer = answer
        for (const text of ["a", "b", "c"]) expect(yield* send(text)).toBe(202)
        yield* TestClock.adjust("10 minutes")
        expect(lines).toHaveLength(1)
        expect(lines[0]).toMatch(
          /^Warn: Telemetry cannot be sent to http:\/\/backend\/v1\/traces: .* kept and sent again$/
        )
        // a pause between tries, which grows to half a minute
        expect(backend.attempts).toBeGreaterThan(15)
        expect(backend.attempts).toBeLessThan(30)
        backend.answer = 200
        yield* TestClock.adjust("30 seconds")
        yield* until(() => backend.taken.length === 3)
        expect(backend.taken).toEqual(["a", "b", "c"])
        expect(lines.slice(1)).toEqual(["Info: Telemetry is sent again, nothing was lost"])
        expect(yield* send("d")).toBe(200)
      }))
  }

  it.effect("gives up an attempt that gets no answer", () =>
    Effect.gen(function*() {
      const { backend, lines, send } = yield* setUp()
      backend.answer = "silent"
      const sent = yield* Effect.forkChild(send("a"), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      expect(sent.pollUnsafe()).toEqual(Exit.succeed(202))
      expect(lines[0]).toContain("TimeoutError")
      backend.answer = 200
      yield* TestClock.adjust("30 seconds")
      yield* until(() => backend.taken.length === 1)
      expect(backend.taken).toEqual(["a"])
    }))

  it.effect("keeps no more than it may: the oldest go, and it says how many", () =>
    Effect.gen(function*() {
      const { backend, lines, send } = yield* setUp(10)
      backend.answer = "unreachable"
      for (const text of ["aaaa", "bbbb", "cccc", "dddd"]) yield* send(text)
      backend.answer = 200
      yield* TestClock.adjust("30 seconds")
      yield* until(() => backend.taken.length === 2)
      expect(backend.taken).toEqual(["cccc", "dddd"])
      expect(lines.at(-1)).toBe("Info: Telemetry is sent again, 2 batches were lost")
    }))

  it.effect("drops what the backend refuses for good, and says so", () =>
    Effect.gen(function*() {
      const { backend, lines, send } = yield* setUp()
      backend.answer = 401
      expect(yield* send("a")).toBe(202)
      backend.answer = 200
      yield* send("b")
      expect(backend.taken).toEqual(["b"])
      expect(lines).toEqual([
        "Error: The telemetry backend refuses what http://backend/v1/traces is sent, and it is lost: status 401"
      ])
    }))

  it.effect("keeps no metrics: the next export has all that they had", () =>
    Effect.gen(function*() {
      const { backend, send } = yield* setUp()
      backend.answer = "unreachable"
      yield* send("metrics", "/v1/metrics")
      backend.answer = 200
      yield* TestClock.adjust("1 minute")
      expect(backend.taken).toEqual([])
    }))

  it.effect("has few requests under way at a slow backend", () =>
    Effect.gen(function*() {
      const { backend, send } = yield* setUp()
      backend.answer = "silent"
      for (let i = 0; i < 10; i++) yield* Effect.forkChild(send(String(i)), { startImmediately: true })
      yield* TestClock.adjust(0)
      expect(backend.attempts).toBeLessThanOrEqual(5)
      backend.answer = 200
      yield* TestClock.adjust("1 minute")
      yield* until(() => backend.taken.length === 10)
      expect([...backend.taken].sort()).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
    }))

  it.effect("sends what is left at the end, or says what is lost", () =>
    Effect.gen(function*() {
      const late = yield* setUp()
      late.backend.answer = "unreachable"
      yield* late.send("a")
      yield* late.send("b")
      late.backend.answer = 200
      yield* late.end
      expect(late.backend.taken).toEqual(["a", "b"])
      expect(late.lines.at(-1)).toBe("Info: Telemetry is sent again, nothing was lost")

      const never = yield* setUp()
      never.backend.answer = "unreachable"
      yield* never.send("a")
      yield* never.send("b")
      yield* never.end
      expect(never.lines.at(-1)).toBe("Warn: 2 batches of telemetry are lost: the backend did not take them")
    }))
})
