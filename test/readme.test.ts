import { MemoryTransport, Transport } from "@troupe/core"
import { GuaranteeConformance } from "@troupe/core/testing"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "..")
const read = (...path: ReadonlyArray<string>) => readFileSync(join(root, ...path), "utf8")

const pages = [
  "README.md",
  "packages/core/README.md",
  "dashboards/README.md",
  "docs/cron.md",
  "docs/actors.md",
  "docs/getting-started.md",
  "docs/guarantees.md",
  "docs/migrating.md",
  "docs/monitoring.md",
  "docs/nats.md",
  "docs/operations.md",
  "docs/redis.md",
  "docs/workflows.md",
  "packages/transport-nats/README.md",
  "packages/transport-redis/README.md"
]

interface Block {
  readonly language: string
  readonly text: string
}

const blocksOf = (markdown: string): ReadonlyArray<Block> =>
  [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: language!,
    text: text!
  }))

/** The TypeScript blocks of a page, by file. A block names itself in its first line (`// tasks.ts`) or gets a number. */
const filesOf = (blocks: ReadonlyArray<Block>): ReadonlyMap<string, string> =>
  new Map(
    blocks.filter(({ language }) => language === "ts").map(({ text }, index) => [
      /^\/\/ (\S+\.ts)\n/.exec(text)?.[1] ?? `block-${index + 1}.ts`,
      text
    ])
  )

const folder = realpathSync(mkdtempSync(join(tmpdir(), "troupe-docs-")))
const folderOf = (page: string) => join(folder, page.replaceAll(/[^a-z]+/gi, "-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

beforeAll(() => {
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  for (const page of pages) {
    mkdirSync(folderOf(page))
    for (const [name, text] of filesOf(blocksOf(read(page)))) writeFileSync(join(folderOf(page), name), text)
  }
  const compilerOptions = { noEmit: true, allowImportingTsExtensions: true }
  const extended = join(root, "tsconfig.base.json")
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: extended, compilerOptions, include: ["*/*.ts"] })
  )
})

const run = async (...args: ReadonlyArray<string>): Promise<string> => {
  const ended = await promisify(execFile)(process.execPath, args, { cwd: folder }).catch((error) => error)
  return `${ended.stdout}${ended.stderr}`
}

describe("documentation", { timeout: 60_000 }, () => {
  it("contains code that compiles", async () => {
    expect(await run(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("")
  })

  for (const page of pages) {
    const blocks = blocksOf(read(page))
    const main = blocks.findIndex(({ text }) => text.startsWith("// main.ts\n"))
    if (main < 0) continue
    it(`${page} prints what it says`, async () => {
      const printed = blocks.slice(main).find(({ language }) => language === "text")
      expect(await run(join(folderOf(page), "main.ts"))).toBe(printed?.text)
    })
  }

  it("links to files and headings that exist", () => {
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
        .filter((target) => !/^https?:/.test(target))
        .filter((target) => {
          const [path, heading] = target.split("#")
          const file = join(root, path === "" ? page : join(dirname(page), path!))
          return !existsSync(file) || (heading !== undefined && !headingsOf(readFileSync(file, "utf8")).has(heading))
        })
        .map((target) => `${page}: ${target}`)
    )
    expect(broken).toEqual([])
  })

  it("names cases that exist and that the suite runs", () => {
    const known = GuaranteeConformance.cases.map(({ name }) => name)
    const missing = pages.flatMap((page) =>
      proofsIn(read(page))
        .filter(({ file, name }) =>
          !read(dirname(page), file).includes(`"${name}"`) || !known.some((one) => one.endsWith(`: ${name}`))
        )
        .map(({ file, name }) => `${page}: “${name}” in ${file}`)
    )
    expect(missing).toEqual([])
  })

  it("names scripts that exist", () => {
    const { scripts } = JSON.parse(read("package.json"))
    const missing = pages.flatMap((page) =>
      [...read(page).matchAll(/npm (?:run )?([a-z:]+)/g)].map(([, script]) => script!)
        .filter((script) => !["ci", "install"].includes(script) && !(script in scripts))
        .map((script) => `${page}: npm run ${script}`)
    )
    expect(missing).toEqual([])
  })
})

/** As GitHub spells them in addresses. */
const headingsOf = (markdown: string): ReadonlySet<string> =>
  new Set(
    [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")
    )
  )

/** Cases that a text names: `[“name”](file)`. */
const proofsIn = (markdown: string) =>
  [...markdown.matchAll(/\[“([^”]+)”\]\((\S+)\)/g)].map(([, name, file]) => ({ name: name!, file: file! }))

describe("README.md", () => {
  const readme = read("README.md")

  it("says in a sentence each what is guaranteed, and names a case that proves it", () => {
    const lines = readme.split("\n## Guarantees\n")[1]!.split("\n## ")[0]!.split(/\n(?=\d+\. )/).slice(1)
    expect(lines.map((line) => parseInt(line))).toEqual(Array.from({ length: 14 }, (_, index) => index + 1))
    for (const line of lines) expect(proofsIn(line), line).toHaveLength(1)
  })

  it("lists every variable of the environment that a worker and signing read", () => {
    const options = read("packages/core/src/WorkerOptions.ts")
    const names = [...options.matchAll(/(?:list|Config\.(?!nested)\w+)\("([A-Z_]+)"\)/g)].map(([, name]) =>
      `TROUPE_${name}`
    )
    expect(names.length).toBeGreaterThan(9)
    const signing = [...read("packages/core/src/Signing.ts").matchAll(/"(TROUPE_[A-Z_]+)"/g)].map(([, name]) => name!)
    for (const name of [...names, ...signing]) expect(readme).toContain(`\`${name}\``)
  })

  it("says what the memory transport can do", async () => {
    const capabilities = await Effect.runPromise(
      Transport.Transport.useSync((transport) => transport.capabilities).pipe(Effect.provide(MemoryTransport.layer))
    )
    const told = [...readme.matchAll(/^\| `(\w+)`: [^|]+\| `(\w+)`/gm)].map(([, name, value]) => [name, value])
    expect(Object.fromEntries(told)).toEqual(
      Object.fromEntries(Object.entries(capabilities).map(([name, value]) => [name, String(value)]))
    )
  })

  it("is no longer than a reader's patience", () => {
    expect(readme.split("\n").length).toBeLessThan(310)
  })
})
