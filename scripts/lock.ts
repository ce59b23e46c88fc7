/**
 * Completes `package-lock.json`, so that `npm ci` accepts it on every platform.
 *
 * A registry that lacks the binary of some platform makes `npm install` leave that platform out of the lock, and
 * `npm ci` then stops with `EUSAGE Missing … from lock file`. Every optional dependency gets an entry, no matter what
 * the registry had, and no entry names a registry.
 *
 *     node scripts/lock.ts           completes the lock; run it after every `npm install` that changed it
 *     node scripts/lock.ts --check   exits with 1 and says what is wrong
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The fields of a lock entry that are read or written here. */
export interface LockEntry {
  readonly version?: string
  readonly resolved?: string
  readonly link?: boolean
  readonly dev?: boolean
  readonly peer?: boolean
  readonly optional?: boolean
  readonly license?: string
  readonly os?: ReadonlyArray<string>
  readonly cpu?: ReadonlyArray<string>
  readonly libc?: ReadonlyArray<string>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

export interface Lock {
  readonly packages: Readonly<Record<string, LockEntry>>
}

/** An optional dependency without an entry: who wants it, and where its entry belongs. */
export interface Missing {
  readonly dependent: string
  readonly name: string
  readonly version: string
  readonly path: string
}

export type Platform = Pick<LockEntry, "os" | "cpu" | "libc">

/** Asks for the platform of a package whose name does not spell it. */
export type Lookup = (name: string, version: string) => Platform

const systems = new Set(
  ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
)
const processors = new Set(
  ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "wasm32", "x64"]
)
const libraries: Readonly<Record<string, string>> = { glibc: "glibc", gnu: "glibc", musl: "musl" }

/** Reads the platform off a name: `@oxlint/binding-linux-x64-musl` is for linux, x64, musl. */
export const platformFromName = (name: string): Platform | undefined => {
  const words = name.slice(name.indexOf("/") + 1).split("-")
  const os = words.find((word) => systems.has(word))
  const cpu = words.find((word) => processors.has(word))
  if (cpu === undefined || (os === undefined && cpu !== "wasm32")) return undefined
  const libc = os === "linux" ? libraries[words.at(-1)!] : undefined
  return { cpu: [cpu], ...(libc && { libc: [libc] }), ...(os && { os: [os] }) }
}

/** The folders where Node looks for a dependency of the package at `path`, nearest first. */
const candidates = (path: string, name: string): Array<string> => {
  const found = [join(path, name)]
  while (path !== "") {
    path = path.includes("node_modules/") ? path.slice(0, path.lastIndexOf("node_modules/")).replace(/\/$/, "") : ""
    found.push(join(path, name))
  }
  return found
}

const join = (path: string, name: string) => `${path === "" ? "" : `${path}/`}node_modules/${name}`

const isExact = (version: string) => /^\d+\.\d+\.\d+/.test(version)

export const findMissing = (lock: Lock): Array<Missing> => {
  const missing: Array<Missing> = []
  for (const [dependent, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const paths = candidates(dependent, name)
      const present = paths.find((path) => path in lock.packages)
      if (present === undefined) {
        missing.push({ dependent, name, version, path: `node_modules/${name}` })
      } else if (isExact(version) && lock.packages[present]?.version !== version) {
        missing.push({ dependent, name, version, path: paths[0]! })
      }
    }
  }
  return missing
}

/** Every place of the lock that names a registry, or another address that is not a folder of this repository. */
export const findAddresses = (lock: Lock): Array<string> => {
  const addresses: Array<string> = []
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (entry.resolved !== undefined && !(entry.link === true && !entry.resolved.includes(":"))) {
      addresses.push(`${path} → resolved ${entry.resolved}`)
    }
    for (const dependencies of [entry.dependencies, entry.devDependencies, entry.optionalDependencies]) {
      for (const [name, version] of Object.entries(dependencies ?? {})) {
        if (version.includes("://")) addresses.push(`${path} → ${name} ${version}`)
      }
    }
  }
  return addresses
}

/** The lock with an entry for every missing optional dependency; entries that were there stay as they are. */
export const complete = (lock: Lock, lookup: Lookup): Lock => {
  const packages: Record<string, LockEntry> = { ...lock.packages }
  for (let missing = findMissing(lock); missing.length > 0; missing = findMissing({ packages })) {
    for (const { dependent, name, version, path } of missing) {
      if (!isExact(version)) {
        throw new Error(`${dependent} wants ${name}@${version}: an entry needs an exact version, install it once`)
      }
      const parent = packages[dependent]
      const { cpu, libc, os } = platformFromName(name) ?? lookup(name, version)
      // in the order npm writes them, so that its next run changes nothing
      packages[path] = {
        version,
        ...(cpu && { cpu }),
        ...(parent?.dev && { dev: true }),
        ...(libc && { libc }),
        ...(parent?.license && { license: parent.license }),
        optional: true,
        ...(os && { os }),
        ...(parent?.peer && { peer: true })
      }
    }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, "en"))
  return { ...lock, packages: Object.fromEntries(sorted) }
}

const askRegistry: Lookup = (name, version) => {
  try {
    const args = ["view", `${name}@${version}`, "os", "cpu", "libc", "--json"]
    const answer = execFileSync("npm", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    const found: unknown = answer.trim() === "" ? undefined : JSON.parse(answer)
    // npm answers with the bare field when only one of them is set
    if (typeof found === "object" && found !== null && !Array.isArray(found)) return found
  } catch {
    // said below, once for every way to fail
  }
  throw new Error(`${name}@${version}: neither its name nor the registry tells its platform; add its entry by hand`)
}

const main = (check: boolean): number => {
  const file = fileURLToPath(new URL("../package-lock.json", import.meta.url))
  const lock: Lock = JSON.parse(readFileSync(file, "utf8"))
  const missing = findMissing(lock)
  const addresses = findAddresses(lock)
  if (check) {
    for (const { dependent, name, version } of missing) {
      console.error(`missing entry: ${name}@${version} of ${dependent}`)
    }
    if (missing.length > 0) console.error("complete the lock with `npm run lock`")
  } else if (missing.length > 0) {
    writeFileSync(file, `${JSON.stringify(complete(lock, askRegistry), undefined, 2)}\n`)
    console.log(`${missing.length} entries added to package-lock.json`)
  }
  for (const address of addresses) console.error(`address in the lock: ${address}`)
  if (addresses.length > 0) console.error("repeat the install with --omit-lockfile-registry-resolved (see .npmrc)")
  return addresses.length > 0 || (check && missing.length > 0) ? 1 : 0
}

if (import.meta.main) process.exitCode = main(process.argv.includes("--check"))
