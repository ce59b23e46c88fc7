/**
 * Three servers, streams with one copy: the server that has them is killed and
 * comes back with its files.
 */
import { Transport } from "@troupe/core/Transport"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type NatsCluster, startCluster } from "../servers/nats.ts"
import { pause, survive } from "./survive.ts"

let cluster: NatsCluster
beforeAll(async () => {
  cluster = await startCluster()
})
afterAll(() => cluster.stop())

test("the leader of the jobs is killed under load and comes back", () =>
  survive({
    worker: { servers: cluster.urls, namespace: "leader" },
    strike: async () => {
      const streams = await cluster.streams()
      const leader = await cluster.leaderOf(streams.find((name) => name.startsWith("leader_W_"))!)
      expect(leader).toBeDefined()
      await leader!.kill()
      await pause(500)
      await leader!.restart()
    }
  }), 120_000)

test("the leader of the jobs stands still", () =>
  survive({
    worker: { servers: cluster.urls, namespace: "still" },
    strike: async () => {
      const streams = await cluster.streams()
      const leader = await cluster.leaderOf(streams.find((name) => name.startsWith("still_W_"))!)
      leader!.signal("SIGSTOP")
      await pause(3_000)
      leader!.signal("SIGCONT")
    }
  }), 120_000)

test("replicas are refused where compare-and-set is broken with them", async () => {
  const start = Transport.use(({ clock }) => clock).pipe(
    Effect.provide(NatsTransport.layer({ servers: cluster.urls, replicas: 3 })),
    Effect.flip
  )
  expect(String((await Effect.runPromise(start)).message)).toContain("2.10.20")
})
