/**
 * Runs the program of `npm start` as a process, and reads what it prints.
 */
import { spawn } from "node:child_process"
import { join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")
const main = join(root, "examples/index-folder/main.ts")

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const start = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv) =>
  spawn(process.execPath, [main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, FORCE_COLOR: undefined, TROUPE_REDIS_URL: undefined, REDIS_URL: undefined, ...env }
  })

export type Program = ReturnType<typeof start>

/** `onOutput` sees all that it printed so far, each time that it prints. */
export const run = (
  args: ReadonlyArray<string>,
  onOutput: (stdout: string, child: Program) => void = () => {},
  env: NodeJS.ProcessEnv = {}
): Promise<Ended> =>
  new Promise((end, fail) => {
    const child = start(args, env)
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => onOutput(stdout += text, child))
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.on("error", fail).on("close", (code) => end({ code, stdout, stderr }))
  })

const number = (text: string | undefined) => Number((text ?? "none").replaceAll(",", ""))

/** The numbers of a printed report. */
export const parse = (stdout: string) => {
  const total = (name: string) => number((new RegExp(`^ *([0-9,]+)  ${name}\\b`, "m").exec(stdout))?.[1])
  return {
    files: total("files"),
    folders: total("folders"),
    bytes: total("bytes"),
    lines: total("lines"),
    words: total("words"),
    skipped: total("skipped"),
    unreadable: total("unreadable"),
    retried: total("retried"),
    checksum: /^Checksum ([0-9a-f]{64})$/m.exec(stdout)?.[1]
  }
}

/** The numbers of the account of a crash. */
export const parseAccount = (stdout: string) => {
  const found =
    /^accepted ([0-9,]+), finished ([0-9,]+), repeated ([0-9,]+), lost ([0-9,]+), recovery time ([0-9.]+) s until the last of ([0-9,]+) jobs of worker-1 had started elsewhere$/m
      .exec(stdout) ?? []
  const [accepted, finished, repeated, lost, recoveryTime, recovered] = found.slice(1).map(number)
  return { accepted, finished, repeated, lost, recoveryTime, recovered }
}
