/**
 * A file system on which things go wrong, to see retries: handlers do not know
 * which `FileSystem` they are given.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { systemError } from "effect/PlatformError"

/** Every `n`-th file that is opened for the first time fails, once, as if it was busy. */
export const layer = (n: number): Layer.Layer<FileSystem.FileSystem, never, FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => {
      let opened = 0
      const failed = new Set<string>()
      return FileSystem.FileSystem.of({
        ...fs,
        open: (path, options) =>
          Effect.suspend(() => {
            if (failed.has(path) || ++opened % n !== 0) return fs.open(path, options)
            failed.add(path)
            return Effect.fail(
              systemError({ _tag: "Busy", module: "FileSystem", method: "open", pathOrDescriptor: path })
            )
          })
      })
    })
  )
