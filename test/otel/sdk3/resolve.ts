/**
 * `node --import test/otel/sdk3/resolve.ts program.ts`: the program, `@troupe/otel` included, gets the next generation of
 * OpenTelemetry: the packages of this folder in place of those of the root.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"

const folder = new URL("package.json", import.meta.url)
const names = new Set(Object.keys(JSON.parse(readFileSync(folder, "utf8")).dependencies))

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier, names.has(specifier) ? { ...context, parentURL: folder.href } : context)
})
