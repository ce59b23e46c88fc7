/**
 * Packs the public packages the way they are published: exports lead to `dist` instead of the sources.
 *
 * Inside the repository a package exports `src/*.ts`, which Node refuses to run from inside `node_modules`; npm ignores
 * `publishConfig.exports`. So a copy is staged in a temporary folder and packed there; the work tree stays as it is.
 *
 *     node scripts/pack.ts FOLDER    builds every public package and packs it into FOLDER
 *     node scripts/pack.ts --check   packs, looks for mistakes with publint, keeps nothing
 */
import { execFileSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"

const root = resolve(import.meta.dirname, "..")

interface PackageJson {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly exports?: unknown
  readonly scripts?: unknown
  readonly devDependencies?: unknown
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

interface Package {
  readonly folder: string
  readonly manifest: PackageJson
}

/** The packages that get published. */
const publicPackages = (): Array<Package> =>
  readdirSync(join(root, "packages"))
    .map((name) => join(root, "packages", name))
    .filter((folder) => existsSync(join(folder, "package.json")))
    .map((folder): Package => ({ folder, manifest: JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) }))
    .filter(({ manifest }) => manifest.private !== true)

/** Turns every `./src/*.ts` of an exports field into `./dist/*.js`; TypeScript finds the declarations beside it. */
const toDist = (exports: unknown): unknown => {
  if (typeof exports === "string") return exports.replace(/^\.\/src\/(.*)\.ts$/, "./dist/$1.js")
  if (typeof exports !== "object" || exports === null) return exports
  return Object.fromEntries(Object.entries(exports).map(([key, value]) => [key, toDist(value)]))
}

/** What a package of this repository wants of another one as `*` is the version that is packed beside it. */
const pinSiblings = (dependencies: Readonly<Record<string, string>>, versions: ReadonlyMap<string, string>) =>
  Object.fromEntries(
    Object.entries(dependencies).map(([name, range]) => [
      name,
      range === "*" && versions.has(name) ? `~${versions.get(name)}` : range
    ])
  )

const publishedManifest = (
  { devDependencies: _, scripts: __, ...manifest }: PackageJson,
  versions: ReadonlyMap<string, string>
): PackageJson => ({
  ...manifest,
  exports: toDist(manifest.exports),
  ...(manifest.dependencies && { dependencies: pinSiblings(manifest.dependencies, versions) }),
  ...(manifest.peerDependencies && { peerDependencies: pinSiblings(manifest.peerDependencies, versions) })
})

/** Copies sources and, of `dist`, only what belongs to a source that still exists. */
const stage = ({ folder, manifest }: Package, into: string, versions: ReadonlyMap<string, string>): void => {
  cpSync(join(folder, "src"), join(into, "src"), { recursive: true })
  for (const source of readdirSync(join(folder, "src"), { recursive: true, encoding: "utf8" })) {
    if (!source.endsWith(".ts")) continue
    for (const ending of [".js", ".js.map", ".d.ts", ".d.ts.map"]) {
      const built = join("dist", source.replace(/\.ts$/, ending))
      mkdirSync(dirname(join(into, built)), { recursive: true })
      cpSync(join(folder, built), join(into, built))
    }
  }
  for (const page of ["README.md", "CHANGELOG.md"]) {
    if (existsSync(join(folder, page))) cpSync(join(folder, page), join(into, page))
  }
  cpSync(join(root, "LICENSE"), join(into, "LICENSE"))
  writeFileSync(
    join(into, "package.json"),
    `${JSON.stringify(publishedManifest(manifest, versions), undefined, 2)}\n`
  )
}

/** Calls `use` with a temporary folder that is gone afterwards. */
export const withTemporaryFolder = async <A>(use: (folder: string) => A | Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "troupe-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Builds the public packages and packs them into `destination`; answers the tarballs by package name. */
export const pack = async (destination: string): Promise<ReadonlyMap<string, string>> => {
  const packages = publicPackages()
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  execFileSync(process.execPath, [tsc, "-b", ...packages.map(({ folder }) => folder)], { stdio: "inherit" })
  const versions = new Map(packages.map(({ manifest }) => [manifest.name, manifest.version]))
  const tarballs = new Map<string, string>()
  mkdirSync(destination, { recursive: true })
  for (const item of packages) {
    await withTemporaryFolder((folder) => {
      stage(item, folder, versions)
      const args = ["pack", folder, "--json", "--ignore-scripts", "--loglevel=error"]
      const [packed] = JSON.parse(execFileSync("npm", args, { cwd: destination, encoding: "utf8" }))
      tarballs.set(item.manifest.name, resolve(destination, packed.filename))
    })
  }
  return tarballs
}

/** What publint says about a tarball: nothing, or why someone's import of it would fail. */
const mistakes = async (tarball: string): Promise<Array<string>> => {
  const data = readFileSync(tarball)
  const { messages, pkg } = await publint({
    pack: { tarball: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) },
    strict: true
  })
  return messages.map((message) => `${message.type}: ${formatMessage(message, pkg, { color: false }) ?? message.code}`)
}

const check = (): Promise<number> =>
  withTemporaryFolder(async (folder) => {
    let found = 0
    for (const [name, tarball] of await pack(folder)) {
      for (const mistake of await mistakes(tarball)) {
        found++
        console.error(`${name}: ${mistake}`)
      }
    }
    return found
  })

const main = async (argument: string | undefined): Promise<number> => {
  if (argument === "--check") return await check() === 0 ? 0 : 1
  if (argument === undefined || argument.startsWith("-")) {
    // a package's own prepack comes here: packed from the work tree it would export sources that do not run
    console.error("packages are packed at the root, by: node scripts/pack.ts FOLDER | --check")
    return 1
  }
  for (const tarball of (await pack(argument)).values()) console.log(relative(process.cwd(), tarball))
  return 0
}

if (import.meta.main) process.exitCode = await main(process.argv[2])
