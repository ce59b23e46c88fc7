/**
 * Directories and processes that are gone after this program, also when it has
 * no time to clean up: `kill -9`, a closed terminal.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import type { Scope } from "effect/Scope"
import { spawn } from "node:child_process"
import { once } from "node:events"

// the shell's standard input ends with this program, however that ends
const script = `read -r _; test -z "$1" || kill -9 "$1"; rm -rf "$0" || { sleep 0.2; rm -rf "$0"; }`

/** Removes the directory and ends the process `pid` when this program is gone. Closing the scope calls it off. */
export const guard = (directory: string, pid: number | undefined): Effect.Effect<void, never, Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => {
      const shell = spawn("sh", ["-c", script, directory, pid === undefined ? "" : String(pid)], {
        stdio: ["pipe", "ignore", "ignore"],
        detached: true
      })
      // without a shell there is no guard, and nothing else is worse
      shell.on("error", () => {})
      return shell
    }),
    (shell) =>
      Effect.promise(async () => {
        if (shell.kill("SIGKILL")) await once(shell, "exit")
      })
  ))

/** A directory that is removed with the scope. */
export const temporary = Effect.fnUntraced(function*(
  name: string
): Effect.fn.Return<string, PlatformError, FileSystem.FileSystem | Scope> {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: `troupe-${name}-` })
  yield* guard(directory, undefined)
  return directory
})
