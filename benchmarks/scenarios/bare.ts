/**
 * What the work itself costs: encode, decode, one fiber per job, encode. No
 * ids, no leases, no records. The ratios of the suite are against it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { measure, type Sample } from "../measure.ts"
import { type Handler, Payload, payload, Success } from "../payload.ts"
import { batch, concurrency } from "./settings.ts"

const payloadCodec = Schema.toCodecJson(Payload)
const encodePayload = Schema.encodeUnknownSync(payloadCodec)
const decodePayload = Schema.decodeUnknownExit(payloadCodec)
const encodeSuccess = Schema.encodeUnknownSync(Schema.toCodecJson(Success))
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const loop = (jobs: number, handler: Handler) =>
  Effect.callback<void>((resume) => {
    const waiting: Array<Uint8Array> = []
    let next = 0
    let sent = 0
    let running = 0
    let done = 0
    let bytes = 0

    const ended = (exit: Exit.Exit<typeof Success.Type>) => {
      if (Exit.isFailure(exit)) throw new Error("the no-op handler failed")
      bytes += encoder.encode(JSON.stringify(encodeSuccess(exit.value))).length
      running--
      if (++done === jobs) resume(bytes > 0 ? Effect.void : Effect.die("nothing was encoded"))
    }

    const pump = () => {
      while (running < concurrency && next < waiting.length) {
        const decoded = decodePayload(JSON.parse(decoder.decode(waiting[next++])))
        if (Exit.isFailure(decoded)) throw new Error("the payload is not decodable")
        running++
        Effect.runFork(handler(decoded.value)).addObserver(ended)
      }
      if (next < waiting.length) return
      waiting.length = 0
      next = 0
    }

    const turn = () => {
      for (let i = 0; i < batch && sent < jobs && waiting.length < 2 * batch; i++) {
        waiting.push(encoder.encode(JSON.stringify(encodePayload(payload(sent++)))))
      }
      pump()
      if (done < jobs) setImmediate(turn)
    }
    turn()
  })

export const bare = (handler: Handler) => (jobs: number): Effect.Effect<Sample> => measure(jobs, loop(jobs, handler))
