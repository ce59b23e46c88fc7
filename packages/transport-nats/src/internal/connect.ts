/**
 * Opens a connection and waits until the server is up.
 */
import {
  connect as open,
  type ConnectionOptions,
  credsAuthenticator,
  errors,
  type NatsConnection,
  nkeyAuthenticator,
  type NodeConnectionOptions
} from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { readFile } from "node:fs/promises"
import * as Errors from "./errors.ts"

/** How to sign in. At most one of the ways; none: as the server lets everybody in. */
export type Credentials =
  | { readonly user: string; readonly password: string }
  | { readonly token: string }
  /** The seed, `SU…`. */
  | { readonly nkey: string }
  /** Path of a creds file. */
  | { readonly credsFile: string }

export interface Target {
  readonly servers: ReadonlyArray<string>
  readonly credentials: Credentials | undefined
  readonly options: NodeConnectionOptions
}

/** Whatever the user says. */
const ours: ConnectionOptions = {
  maxReconnectAttempts: -1,
  reconnectTimeWait: 100,
  reconnectJitter: 200,
  reconnectJitterTLS: 500,
  // a silent connection is given up when the third one is due: after 5 to 7.5 s
  pingInterval: 2_500,
  maxPingOut: 2,
  noAsyncTraces: true,
  ignoreAuthErrorAbort: true,
  timeout: 5_000
}

const secretsOf = (url: string): { readonly server: string; readonly options: ConnectionOptions } => {
  const match = /^([a-z+]+:\/\/)?(?:([^@/]*)@)(.*)$/.exec(url)
  if (match === null) return { server: url, options: {} }
  const [, scheme = "", secret = "", host = ""] = match
  const colon = secret.indexOf(":")
  const options = colon < 0
    ? { token: decodeURIComponent(secret) }
    : { user: decodeURIComponent(secret.slice(0, colon)), pass: decodeURIComponent(secret.slice(colon + 1)) }
  return { server: scheme + host, options }
}

const authentication = (credentials: Credentials | undefined): Effect.Effect<ConnectionOptions, TransportError> => {
  if (credentials === undefined) return Effect.succeed({})
  if ("user" in credentials) return Effect.succeed({ user: credentials.user, pass: credentials.password })
  if ("token" in credentials) return Effect.succeed({ token: credentials.token })
  if ("nkey" in credentials) {
    return Effect.succeed({ authenticator: nkeyAuthenticator(new TextEncoder().encode(credentials.nkey)) })
  }
  return Effect.tryPromise({
    try: async () => {
      const authenticator = credsAuthenticator(await readFile(credentials.credsFile))
      // a file of something else is found out here: the client would take it for a server that is away
      authenticator("")
      return { authenticator }
    },
    catch: (error) => Errors.refused("to connect", `the creds file cannot be read: ${String(error)}`, error)
  })
}

/** Waiting cannot help. */
const isPermanent = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false
  if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) return true
  if (error instanceof errors.InvalidArgumentError) return true
  if (error.cause !== undefined && isPermanent(error.cause)) return true
  // a certificate, a key or a server of another kind
  return /certificate|CERT|self.signed|ssl|tls|wrong version number|unexpected response|nkeys:/i.test(
    `${error.message} ${codeOf(error)}`
  )
}

const codeOf = (error: Error): string => "code" in error ? String(error.code) : ""

const text = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ""
  return `${error.message}${cause}`
}

const backoff = Schedule.jittered(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")]))

/** A connection that is closed with the scope. Waits for a server that is not up; says so once. */
export const connect = Effect.fnUntraced(function*(
  target: Target
): Effect.fn.Return<NatsConnection, TransportError, Scope> {
  const parsed = target.servers.map(secretsOf)
  const where = parsed.map(({ server }) => server).join(", ")
  const options: NodeConnectionOptions = {
    ...target.options,
    ...Object.assign({}, ...parsed.map(({ options }) => options)),
    ...yield* authentication(target.credentials),
    ...ours,
    servers: parsed.map(({ server }) => server)
  }
  let waiting = false
  const once = Effect.tryPromise({
    try: () => open(options),
    catch: (error) =>
      isPermanent(error)
        ? Errors.refused(`to connect to ${where}`, `${text(error)}: check address, credentials and TLS settings`, error)
        : Errors.unavailable("connect", `${where}: ${text(error)}`, error)
  }).pipe(Effect.tapError((error) => {
    if (waiting || error.reason._tag !== "Unavailable") return Effect.void
    waiting = true
    return Effect.logWarning(`NATS is not up, waiting for it: ${error.reason.description}`)
  }))
  return yield* Effect.acquireRelease(
    Effect.retry(once, { while: (error) => error.reason._tag === "Unavailable", schedule: backoff }),
    (connection) => Effect.promise(() => connection.close().catch(() => {})),
    { interruptible: true }
  )
})
