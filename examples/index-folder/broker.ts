/**
 * Which server the run uses: one that is named, or a private one.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type { PlatformError } from "effect/PlatformError"
import type { Scope } from "effect/Scope"
import type { Failure } from "./failure.ts"
import * as Server from "./server.ts"
import type { Broker } from "./transports.ts"

export interface Found {
  /** The environment in which the transport finds the server: of this process and of every worker. */
  readonly env: Readonly<Record<string, string>>
  /** It ends with this run, and what waits in it too. */
  readonly isPrivate: boolean
  /** For the first line of the output: begins with a space, or is empty. */
  readonly note: string
}

/** `url` wins over the environment; where neither says anything a server is started. */
export const find = Effect.fnUntraced(function*(
  { remote }: Broker,
  url: string | undefined
): Effect.fn.Return<Found, Failure | PlatformError, FileSystem | Scope> {
  const env: Record<string, string> = {}
  // an empty variable names nothing
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined && value !== "") env[name] = value
  if (remote === undefined) return { env, isPrivate: true, note: "" }
  const [first] = remote.variables
  if (url !== undefined) return { env: { ...env, [first]: url }, isPrivate: false, note: "" }
  const named = remote.variables.find((name) => name in env)
  if (named !== undefined) return { env, isPrivate: false, note: ` (server of ${named})` }
  const own = yield* Server.start(remote.server)
  return { env: { ...env, [first]: own }, isPrivate: true, note: ` (private server ${own})` }
})

/** The transport, for this process. */
export const layer = (broker: Broker, { env }: Found) =>
  Layer.provide(broker.layer, ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
