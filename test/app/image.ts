/**
 * What a Dockerfile puts into its image, without Docker: `COPY` copies, `RUN` is
 * answered by the caller.
 */
import { cpSync, existsSync, globSync, mkdirSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

interface Instruction {
  readonly name: string
  readonly text: string
}

export interface Image {
  readonly command: ReadonlyArray<string>
  readonly healthcheck: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly user: string | undefined
  /** Where the last stage is, and its working directory below it. */
  readonly root: string
  readonly directory: string
}

const instructionsOf = (text: string): ReadonlyArray<Instruction> =>
  text.split("\n").filter((line) => !line.startsWith("#")).join("\n").replaceAll(/\\\n\s*/g, "").split("\n")
    .filter((line) => line !== "")
    .map((line) => /^([A-Z]+)\s+(.*)$/.exec(line)!)
    .map(([, name, text]) => ({ name: name!, text: text! }))

/** `["node", "x"]`: the form that needs no shell. */
const execForm = (text: string): ReadonlyArray<string> => JSON.parse(text.slice(text.indexOf("[")))

/** Whether the file is sent to the builder, by a `.dockerignore` that lists what is. */
const isSent = (ignore: string, path: string): boolean => {
  const [everything, ...wanted] = ignore.trim().split("\n")
  if (everything !== "**" || wanted.some((line) => !line.startsWith("!"))) throw new Error("a list of what is sent")
  return wanted.some((line) => {
    const pattern = new RegExp(`^${line.slice(1).replaceAll(".", "\\.").replaceAll("*", "[^/]*")}(/|$)`)
    return pattern.test(path)
  })
}

/** Builds the image in the folder. */
export const build = (options: {
  readonly dockerfile: string
  readonly context: string
  readonly folder: string
  /** Does what the command does, in the directory. */
  readonly run: (command: string, directory: string) => void
}): Image => {
  const { context, dockerfile, folder, run } = options
  const ignore = readFileSync(`${dockerfile}.dockerignore`, "utf8")
  const stages = new Map<string, string>()
  const env: Record<string, string> = {}
  let root = ""
  let directory = "/"
  let user: string | undefined
  let command: ReadonlyArray<string> = []
  let healthcheck: ReadonlyArray<string> = []
  const inside = (path: string) => join(root, resolve(directory, path))

  const copy = (text: string) => {
    const parts = text.split(/\s+/)
    const stage = /^--from=(\w+)$/.exec(parts[0]!)?.[1]
    const from = stage === undefined ? context : stages.get(stage)!
    const sources = parts.slice(stage === undefined ? 0 : 1, -1)
    const target = parts.at(-1)!
    for (const source of sources) {
      if (stage === undefined && !isSent(ignore, source)) throw new Error(`${source} is ignored`)
      const found = globSync(join(from, source))
      if (found.length === 0) throw new Error(`COPY ${text}: ${source} does not exist`)
      for (const one of found) {
        const isInto = target.endsWith("/") && !source.endsWith("/")
        const to = isInto ? join(inside(target), one.slice(dirname(one).length)) : inside(target)
        mkdirSync(dirname(to), { recursive: true })
        cpSync(one, to, { recursive: true, verbatimSymlinks: true })
      }
    }
  }

  for (const { name, text } of instructionsOf(readFileSync(dockerfile, "utf8"))) {
    if (name === "FROM") {
      const stage = / AS (\w+)$/.exec(text)?.[1] ?? "last"
      root = join(folder, stage)
      stages.set(stage, root)
      mkdirSync(root, { recursive: true })
    } else if (name === "WORKDIR") {
      directory = text
      mkdirSync(inside("."), { recursive: true })
    } else if (name === "COPY") copy(text)
    else if (name === "RUN") run(text, inside("."))
    else if (name === "ENV") {
      for (const [, key, value] of text.matchAll(/(\w+)=(\S+)/g)) env[key!] = value!
    } else if (name === "USER") user = text
    else if (name === "CMD") command = execForm(text)
    else if (name === "HEALTHCHECK") healthcheck = execForm(text)
    else if (name !== "EXPOSE") throw new Error(`${name} is not known here`)
  }
  if (!existsSync(inside("."))) throw new Error("the working directory is missing")
  return { command, healthcheck, env, user, root, directory: inside(".") }
}
