/**
 * Troupe on Redis beside a loop of plain commands and BullMQ, on a private
 * server without persistence. Ratios within the run decide.
 */
import * as Rounds from "../brokers/rounds.ts"
import type { Name } from "../brokers/systems.ts"
import type { Claim, Entrant, Race, Suite } from "../scenario.ts"
import { server } from "./server.ts"

const race = (
  name: string,
  jobs: number,
  entrants: ReadonlyArray<Entrant>,
  claims: ReadonlyArray<Claim>,
  rounds?: Race["rounds"]
): Race => ({ _tag: "Race", name, jobs, entrants, claims, rounds })

const all: ReadonlyArray<Name> = ["raw", "BullMQ", "Troupe"]
const each = (run: (name: Name) => Entrant): ReadonlyArray<Entrant> => all.map(run)

/** Jobs that each fetches or runs at once, where it is fastest. */
const best = { raw: 256, BullMQ: 128, Troupe: 256 }

/** Of a drain: the code of a new worker is optimised anew while its first jobs run, and each round has a new worker. */
const drained = 60_000

const rate = "jobs/s"
const bulk = Rounds.bulk(server)
const drain = Rounds.drain(server)
const enqueue = Rounds.enqueue(server)
const inFlightCost = Rounds.inFlightCost(server)
const latency = Rounds.latency(server)
const lateness = Rounds.lateness(server)
const request = Rounds.request(server)
const waitingBytes = Rounds.waitingBytes(server)
const toRaw = { of: "Troupe", to: "raw" }
const toBullmq = { of: "Troupe", to: "BullMQ" }

export const redis: Suite = {
  name: "redis",
  scenarios: [
    race("drain, concurrency 64", drained, each((name) => drain(name, name, { concurrency: 64 })), [
      { ...toBullmq, figure: rate, least: 2.5, goal: 4 },
      { ...toRaw, figure: rate }
    ]),
    race(
      "drain, best concurrency",
      drained,
      [
        drain("raw", "raw", { concurrency: best.raw }),
        drain("BullMQ", "BullMQ", { concurrency: best.BullMQ }),
        drain("Troupe", "Troupe", { concurrency: best.Troupe })
      ],
      [{ ...toRaw, figure: rate, least: 0.3, goal: 0.5 }, { ...toBullmq, figure: rate }]
    ),
    race(
      "drain, concurrency 64, a handler of one async hop",
      drained,
      [
        drain("BullMQ", "BullMQ", { concurrency: 64, handler: "hop" }),
        drain("Troupe", "Troupe", { concurrency: 64, handler: "hop" })
      ],
      [{ ...toBullmq, figure: rate, least: 2.5 }]
    ),
    race(
      "drain, concurrency 64, signed",
      drained,
      [
        drain("Troupe", "Troupe", { concurrency: 64 }),
        drain("Troupe, signed", "Troupe, signed", { concurrency: 64 })
      ],
      [{ of: "Troupe, signed", to: "Troupe", figure: rate, least: 0.75 }]
    ),
    race(
      "drain, concurrency 64, long queue",
      20_000,
      [
        drain("20,000 waiting", "Troupe", { concurrency: 64 }),
        drain("200,000 waiting", "Troupe", { concurrency: 64, jobs: 200_000 })
      ],
      [{ of: "200,000 waiting", to: "20,000 waiting", figure: rate, least: 0.95 }],
      { measured: 3, warmUp: 1 }
    ),
    race("enqueue, 64 in flight", 60_000, each((name) => enqueue(name, 64)), [
      { ...toRaw, figure: rate, least: 0.7 },
      { ...toBullmq, figure: rate }
    ]),
    race("enqueue in bulk, 1,000 per call", 100_000, each((name) => bulk(name)), [
      { ...toRaw, figure: rate, least: 0.8 },
      { ...toBullmq, figure: rate }
    ]),
    race(
      "enqueue, signed",
      20_000,
      [enqueue("Troupe", 64), enqueue("Troupe, signed", 64)],
      [{ of: "Troupe, signed", to: "Troupe", figure: rate, least: 0.75 }]
    ),
    race("enqueue → result awaited, 64 in flight", 20_000, each((name) => request(name, 64)), [
      { ...toRaw, figure: rate, least: 0.7 },
      { ...toBullmq, figure: rate }
    ]),
    race("enqueue → result awaited, alone", 1_000, each((name) => request(name, 1)), [
      { ...toRaw, figure: "p50 ms", most: 2 }
    ]),
    race("enqueue → handler start, idle queue", 750, each(latency), [
      { ...toRaw, figure: "p50 ms", most: 1.7, goal: 1.3 },
      { ...toBullmq, figure: "p99 ms", most: 1 }
    ]),
    race(
      "10,000 jobs due over 1–5 s",
      10_000,
      [lateness("BullMQ"), lateness("Troupe")],
      [
        { ...toBullmq, figure: "p99 ms", most: 0.25 },
        { of: "Troupe", figure: "early", most: 0 },
        { of: "Troupe", figure: "missing", most: 0 }
      ],
      { measured: 3, warmUp: 1 }
    ),
    race(
      "memory of a waiting job, over its payload",
      100_000,
      [waitingBytes("BullMQ"), waitingBytes("Troupe")],
      [{ of: "Troupe", figure: "B/job", most: 400 }],
      { measured: 1, warmUp: 0 }
    ),
    race(
      "100,000 jobs in flight: heartbeats and reclaim",
      100_000,
      [inFlightCost("Troupe")],
      [{ of: "Troupe", figure: "Redis ms/s" }, { of: "Troupe", figure: "longest ms" }],
      { measured: 1, warmUp: 0 }
    )
  ]
}
