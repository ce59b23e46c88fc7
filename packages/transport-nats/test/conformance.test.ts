/**
 * The promises of the seam over a model of JetStream, on virtual time: hours
 * pass at once, and nothing depends on a server.
 */
import { TransportConformance } from "@troupe/core/testing"
import { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import { test } from "vitest"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

for (const { name, run } of TransportConformance.cases) {
  test(`model: ${name}`, () =>
    playAtPort(({ wire }) =>
      Effect.flatMap(
        make(wire.streams, { namespace: "play", durability: "process" }),
        (transport) => Effect.provideService(run, Transport, transport)
      )
    ))
}
