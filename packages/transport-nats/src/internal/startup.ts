/**
 * What must hold before the first job.
 */
import type { NatsConnection } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"

type Version = readonly [major: number, minor: number, patch: number]

/** Get by subject from any stream. */
const oldest: Version = [2, 9, 0]

/** Compare-and-set on a stream with replicas: before, two writers could win. */
const oldestCluster: Version = [2, 10, 20]

const parse = (version: string): Version => {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  return [major, minor, patch]
}

const isOlder = (version: Version, than: Version): boolean => {
  for (let index = 0; index < than.length; index++) {
    if (version[index] !== than[index]) return version[index]! < than[index]!
  }
  return false
}

export const check = Effect.fnUntraced(function*(
  connection: NatsConnection,
  { onOldCluster, replicas }: { readonly replicas: number; readonly onOldCluster: "refuse" | "allow" }
): Effect.fn.Return<void, TransportError> {
  const version = connection.info?.version ?? "0"
  if (isOlder(parse(version), oldest)) {
    const description = `the server is NATS ${version}, but ${oldest.join(".")} or newer is needed`
    return yield* Errors.refused("to start", description)
  }
  if (connection.info?.jetstream !== true && connection.info?.cluster === undefined) {
    return yield* Errors.refused("to start", "JetStream is off: start the server with -js")
  }
  if (replicas > 1 && isOlder(parse(version), oldestCluster) && onOldCluster === "refuse") {
    const description = `replicas need NATS ${oldestCluster.join(".")} or newer, the server is ${version}: ` +
      "there two workers could win the same job"
    return yield* Errors.refused("to start", description)
  }
})
