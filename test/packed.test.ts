import { execFile } from "node:child_process"
import { cpSync, readFileSync, realpathSync } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { expect, it } from "vitest"
import { pack, withTemporaryFolder } from "../scripts/pack.ts"

const root = resolve(import.meta.dirname, "..")
const read = (...path: ReadonlyArray<string>) => readFileSync(join(...path), "utf8")

/** Runs a program and answers what it printed; a failure says all that it printed. */
const run = async (cwd: string, program: string, ...args: ReadonlyArray<string>): Promise<string> => {
  try {
    return (await promisify(execFile)(program, args, { cwd })).stdout
  } catch (error) {
    const { stderr, stdout } = error as { readonly stdout: string; readonly stderr: string }
    throw new Error(`${program} ${args.join(" ")}\n${stdout}${stderr}`, { cause: error })
  }
}

it(
  "packed, core installs into an empty project, type-checks and runs there",
  { timeout: 300_000 },
  () =>
    withTemporaryFolder(async (temporary) => {
      const folder = realpathSync(temporary)
      const tarballs = await pack(join(folder, "packed"))
      const { effect } = JSON.parse(read(root, "package.json")).devDependencies
      cpSync(join(root, "test/fixtures/consumer"), folder, { recursive: true })

      const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
      await run(folder, "npm", ...install, tarballs.get("@troupe/core")!, `effect@${effect}`)
      await run(folder, process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", folder)

      expect(await run(folder, process.execPath, "dist/main.js")).toBe(read(folder, "expected.txt"))
    })
)
