import { TransportConformance } from "@troupe/core/testing"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, test, vi } from "vitest"
import { type RedisCluster, startCluster } from "../servers/cluster.ts"
import { someGuarantees } from "./guarantees.ts"

let cluster: RedisCluster
/** As on a single server, the user has the documented rights and no others. */
beforeAll(async () => {
  cluster = await startCluster()
  for (const { admin } of cluster.servers) {
    await admin.call("ACL", "SETUSER", "troupe", "on", ">secret", "~troupe:*", "&troupe:*", ...RedisTransport.acl)
  }
})
afterAll(() => cluster.stop())

// most of their time is spent waiting for leases and delays
vi.setConfig({ maxConcurrency: 20 })

const layer = Layer.unwrap(Effect.sync(() => {
  const [first, second] = cluster.nodes
  return RedisTransport.layer({
    nodes: [`redis://troupe:secret@${first!.host}:${first!.port}`, second!]
  })
}))

TransportConformance.suite({ test: test.concurrent, name: "redis cluster", layer, clock: "live" })

someGuarantees("redis cluster", layer)
