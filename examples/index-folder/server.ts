/**
 * A broker of our own: on a free port of this machine, in a temporary
 * directory, gone without a trace when the scope closes or the program dies.
 */
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import type { Scope } from "effect/Scope"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { connect, createServer } from "node:net"
import { Failure } from "./failure.ts"
import { guard, temporary } from "./temporary.ts"

export interface Server {
  readonly command: string
  /** What to do if there is no such command. */
  readonly install: string
  readonly args: (port: number, directory: string) => ReadonlyArray<string>
  readonly url: (port: number) => string
}

const failure = (message: string) => (cause: unknown) =>
  new Failure({ message: cause instanceof Error && "code" in cause ? `${message} (${String(cause.code)})` : message })

/** Another process may take it before the server does: then the server ends at once and says so. */
const freePort = Effect.tryPromise({
  try: async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    server.close()
    await once(server, "close")
    return typeof address === "object" && address !== null ? address.port : 0
  },
  catch: failure("No port of 127.0.0.1 is free")
})

const accepts = (port: number) =>
  Effect.promise(() =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1")
      const answer = (open: boolean) => {
        socket.destroy()
        resolve(open)
      }
      socket.once("connect", () => answer(true)).once("error", () => answer(false))
    })
  )

const launch = ({ command, install }: Server, args: ReadonlyArray<string>) =>
  Effect.tryPromise({
    try: async () => {
      // a process group of its own: a Ctrl-C is for this program, which ends the server last
      const child = spawn(command, args, { stdio: "ignore", detached: true })
      await once(child, "spawn")
      return child
    },
    catch: (error) => {
      const missing = error instanceof Error && "code" in error && error.code === "ENOENT"
      const why = missing ? `there is no "${command}" on the PATH` : `"${command}" does not start: ${String(error)}`
      return new Failure({ message: `No server of its own: ${why}. ${install}, or name a running server with --url` })
    }
  })

/** Starts it and answers its URL. */
export const start = Effect.fnUntraced(function*(
  server: Server
): Effect.fn.Return<string, Failure | PlatformError, FileSystem | Scope> {
  const directory = yield* temporary("server")
  const port = yield* freePort
  const child = yield* Effect.acquireRelease(
    launch(server, server.args(port, directory)),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )
  yield* guard(directory, child.pid)
  for (let looks = 0; !(yield* accepts(port)); looks++) {
    if (child.exitCode !== null || looks > 400) {
      return yield* new Failure({ message: `"${server.command}" does not come up on port ${port} of 127.0.0.1` })
    }
    yield* Effect.sleep(25)
  }
  return server.url(port)
})
