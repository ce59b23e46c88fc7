/**
 * An HTTP client for exporters that does not lose what it cannot send.
 *
 * Effect's exporters drop their buffer when an export fails, and everything of the minute after it, at debug level. Over
 * this client no export fails: what the backend does not take is kept, up to a limit, and sent again until it does. When
 * that begins, when it ends, and what was lost is logged.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Latch from "effect/Latch"
import type { Scope } from "effect/Scope"

type Request = HttpClientRequest.HttpClientRequest

export interface SpoolOptions {
  /** Bytes that are kept at most; above it the oldest go. */
  readonly capacity: number
  /** One attempt to send. */
  readonly timeout: Duration.Input
  /** How long the end of the scope tries to send what is left. */
  readonly shutdownTimeout: Duration.Input
}

/** Requests on their way at once: a backend that is slow gets no more of them, they wait here. */
const maxInFlight = 4

const firstPause = 1_000
const longestPause = 30_000

// what waits for the next try when nothing was sent for a while is an outage; a full pipe is none
type Mood = "well" | "failing"

const sizeOf = (request: Request): number => ("contentLength" in request.body ? request.body.contentLength ?? 0 : 0)

/** A snapshot of counters: the next one has everything that it had. */
const isCumulative = (request: Request): boolean => new URL(request.url).pathname.endsWith("/v1/metrics")

const accepted = (request: Request) => HttpClientResponse.fromWeb(request, new Response(undefined, { status: 202 }))

/** Why a request was not taken, and whether it may be taken later. */
const describe = (error: HttpClientError | { readonly _tag: "TimeoutError" }) => {
  const status = "response" in error ? error.response?.status : undefined
  return {
    reason: status === undefined ? error._tag : `status ${status}`,
    later: HttpClient.isTransientError(error)
  }
}

export const make = Effect.fnUntraced(function*(
  client: HttpClient.HttpClient,
  { capacity, shutdownTimeout, timeout }: SpoolOptions
): Effect.fn.Return<HttpClient.HttpClient, never, Scope> {
  const waiting: Array<Request> = []
  const arrived = yield* Latch.make()
  let bytes = 0
  let inFlight = 0
  let lost = 0
  let mood: Mood = "well"

  const send = (request: Request) =>
    Effect.suspend(() => {
      inFlight++
      return client.execute(request)
    }).pipe(
      Effect.flatMap(HttpClientResponse.filterStatusOk),
      Effect.tap((response) => Effect.ignore(response.arrayBuffer)),
      Effect.timeout(timeout),
      Effect.ensuring(Effect.sync(() => inFlight--))
    )

  const keep = (request: Request): void => {
    waiting.push(request)
    bytes += sizeOf(request)
    while (bytes > capacity && waiting.length > 0) {
      bytes -= sizeOf(waiting.shift()!)
      lost++
    }
    arrived.openUnsafe()
  }

  /** What to do with a request that was not taken. */
  const failed = (request: Request, error: Parameters<typeof describe>[0]) => {
    const { later, reason } = describe(error)
    if (!later) {
      return Effect.logError(`The telemetry backend refuses what ${request.url} is sent, and it is lost: ${reason}`)
    }
    if (!isCumulative(request)) keep(request)
    if (mood === "failing") return Effect.void
    mood = "failing"
    return Effect.logWarning(
      `Telemetry cannot be sent to ${request.url}: ${reason}. Up to ${capacity} bytes are kept and sent again`
    )
  }

  const recovered = Effect.suspend(() => {
    if (mood === "well") return Effect.void
    mood = "well"
    const said = lost === 0 ? "nothing was lost" : `${lost} batches were lost`
    lost = 0
    return Effect.logInfo(`Telemetry is sent again, ${said}`)
  })

  /** Sends the oldest; answers whether it left, one way or the other. */
  const sendOldest = Effect.suspend(() => {
    const request = waiting[0]
    if (request === undefined) return Effect.succeed(true)
    const leave = () => {
      // it may have gone to make room meanwhile
      if (waiting[0] !== request) return
      waiting.shift()
      bytes -= sizeOf(request)
    }
    return send(request).pipe(
      Effect.tap(() => Effect.sync(leave)),
      Effect.andThen(Effect.as(recovered, true)),
      Effect.catch((error) => {
        if (describe(error).later) return Effect.succeed(false)
        leave()
        return Effect.as(failed(request, error), true)
      })
    )
  })

  let pause = firstPause
  const resend = Effect.gen(function*() {
    yield* arrived.await
    if (waiting.length === 0) {
      arrived.closeUnsafe()
    } else if (yield* sendOldest) {
      pause = firstPause
    } else {
      yield* Effect.sleep(pause)
      pause = Math.min(longestPause, pause * 2)
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => sendOldest).pipe(
      Effect.repeat({ while: (left) => left && waiting.length > 0 }),
      Effect.timeoutOption(shutdownTimeout),
      Effect.andThen(Effect.suspend(() =>
        waiting.length + lost === 0
          ? Effect.void
          : Effect.logWarning(`${waiting.length + lost} batches of telemetry are lost: the backend did not take them`)
      )),
      Effect.withTracerEnabled(false)
    )
  )
  yield* Effect.forkScoped(Effect.withTracerEnabled(Effect.forever(resend), false))

  return HttpClient.make((request) =>
    Effect.suspend(() => {
      if (waiting.length > 0 || inFlight >= maxInFlight) {
        if (!isCumulative(request)) keep(request)
        return Effect.succeed(accepted(request))
      }
      return send(request).pipe(
        Effect.tap(() => recovered),
        Effect.catch((error) => Effect.as(failed(request, error), accepted(request)))
      )
    })
  )
})
