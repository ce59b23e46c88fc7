/**
 * Troupe on NATS beside a loop over JetStream with the same client, on a
 * private server with file storage. Ratios within the run decide.
 */
import * as Rounds from "../brokers/rounds.ts"
import type { Name } from "../brokers/systems.ts"
import type { Claim, Entrant, Race, Suite } from "../scenario.ts"
import { keyed, waiting } from "./rounds.ts"
import { server } from "./server.ts"

const race = (
  name: string,
  jobs: number,
  entrants: ReadonlyArray<Entrant>,
  claims: ReadonlyArray<Claim>,
  rounds?: Race["rounds"]
): Race => ({ _tag: "Race", name, jobs, entrants, claims, rounds })

const both: ReadonlyArray<Name> = ["raw NATS", "Troupe on NATS"]
const each = (run: (name: Name) => Entrant): ReadonlyArray<Entrant> => both.map(run)

const rate = "jobs/s"
const toRaw = { of: "Troupe on NATS", to: "raw NATS" }

const drain = Rounds.drain(server)
const enqueue = Rounds.enqueue(server)
const bulk = Rounds.bulk(server)
const request = Rounds.request(server)
const latency = Rounds.latency(server)
const lateness = Rounds.lateness(server)

export const nats: Suite = {
  name: "nats",
  scenarios: [
    race("drain with results, concurrency 64", 10_000, each((name) => drain(name, name, { concurrency: 64 })), [
      { ...toRaw, figure: rate, least: 1.3 }
    ]),
    race("enqueue, 64 in flight", 20_000, each((name) => enqueue(name, 64)), [
      { ...toRaw, figure: rate, least: 0.8 }
    ]),
    race(
      "enqueue in bulk, 10,000 per call, beside js.publish with 64 in flight",
      100_000,
      [enqueue("raw NATS", 64), bulk("Troupe on NATS", 10_000)],
      [{ ...toRaw, figure: rate, least: 3 }]
    ),
    // client and server wait for each other between the calls
    race(
      "enqueue in bulk, 1,000 per call, beside js.publish with 64 in flight",
      100_000,
      [enqueue("raw NATS", 64), bulk("Troupe on NATS", 1_000)],
      [{ ...toRaw, figure: rate }]
    ),
    race("enqueue → result awaited, alone", 1_000, each((name) => request(name, 1)), [
      { ...toRaw, figure: "p50 ms", most: 2 }
    ]),
    race("enqueue → result awaited, 64 in flight", 5_000, each((name) => request(name, 64)), [
      { ...toRaw, figure: rate }
    ]),
    race("enqueue → handler start, idle queue", 750, each(latency), [
      { ...toRaw, figure: "p50 ms", most: 1.5 }
    ]),
    race(
      "4,000 jobs due over 1–5 s",
      4_000,
      [lateness("Troupe on NATS")],
      [
        { of: "Troupe on NATS", figure: "p99 ms", most: 250 },
        { of: "Troupe on NATS", figure: "early", most: 0 },
        { of: "Troupe on NATS", figure: "missing", most: 0 }
      ],
      { measured: 3, warmUp: 1 }
    ),
    race(
      "jobs delayed for an hour",
      100_000,
      [waiting],
      [{ of: "Troupe on NATS", figure: "B/job", most: 400 }],
      { measured: 3, warmUp: 0 }
    ),
    race(
      "1,000 keys",
      10_000,
      [keyed],
      [
        { of: "Troupe on NATS", figure: rate, least: 3_000 },
        { of: "Troupe on NATS", figure: "out of order", most: 0 }
      ],
      { measured: 3, warmUp: 1 }
    )
  ]
}
