import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { complete, findAddresses, findMissing, type Lock, type Lookup, platformFromName } from "../scripts/lock.ts"

const noLookup: Lookup = (name) => {
  throw new Error(`nobody knows ${name}`)
}

const lock: Lock = {
  packages: {
    "": {},
    "node_modules/@tool/linux-x64-gnu": {
      version: "1.0.0",
      os: ["linux"],
      cpu: ["x64"],
      libc: ["glibc"],
      optional: true
    },
    "node_modules/tool": {
      version: "1.0.0",
      dev: true,
      license: "MIT",
      optionalDependencies: {
        "@tool/darwin-arm64": "1.0.0",
        "@tool/linux-x64-gnu": "1.0.0",
        "@tool/linux-x64-musl": "1.0.0"
      }
    }
  }
}

describe("findMissing", () => {
  it("finds optional dependencies that have no entry", () => {
    expect(findMissing(lock).map(({ name }) => name)).toEqual(["@tool/darwin-arm64", "@tool/linux-x64-musl"])
  })

  it("looks where Node looks: in the package itself, then in the folders around it", () => {
    const optionalDependencies = { "@tool/darwin-x64": "2.0.0" }
    const nested = {
      packages: {
        "node_modules/a/node_modules/tool": { optionalDependencies },
        "node_modules/a/node_modules/tool/node_modules/@tool/darwin-x64": { version: "2.0.0" },
        "node_modules/b/node_modules/tool": { optionalDependencies },
        "node_modules/b/node_modules/@tool/darwin-x64": { version: "2.0.0" },
        "packages/c": { optionalDependencies }
      }
    }
    expect(findMissing(nested)).toEqual([
      { dependent: "packages/c", name: "@tool/darwin-x64", version: "2.0.0", path: "node_modules/@tool/darwin-x64" }
    ])
  })

  it("does not take another version for the one that is wanted", () => {
    const packages = { ...lock.packages, "node_modules/@tool/darwin-arm64": { version: "0.9.0" } }
    expect(findMissing({ packages })[0]).toMatchObject({
      name: "@tool/darwin-arm64",
      version: "1.0.0",
      path: "node_modules/tool/node_modules/@tool/darwin-arm64"
    })
  })
})

describe("complete", () => {
  it("adds version, platform and license, in npm's order, and keeps what was there", () => {
    const completed = complete(lock, noLookup)
    expect(findMissing(completed)).toEqual([])
    expect(Object.keys(completed.packages)).toEqual([
      "",
      "node_modules/@tool/darwin-arm64",
      "node_modules/@tool/linux-x64-gnu",
      "node_modules/@tool/linux-x64-musl",
      "node_modules/tool"
    ])
    expect(completed.packages["node_modules/@tool/linux-x64-musl"]).toEqual({
      version: "1.0.0",
      os: ["linux"],
      cpu: ["x64"],
      libc: ["musl"],
      dev: true,
      license: "MIT",
      optional: true
    })
    expect(completed.packages).toMatchObject(lock.packages)
    expect(complete(completed, noLookup)).toEqual(completed)
  })

  it("asks for the platform that a name does not spell", () => {
    const packages = { "node_modules/watch": { optionalDependencies: { macevents: "1.0.0" } } }
    const completed = complete({ packages }, () => ({ os: ["darwin"] }))
    expect(completed.packages["node_modules/macevents"]).toMatchObject({ version: "1.0.0", os: ["darwin"] })
    expect(() => complete({ packages }, noLookup)).toThrow("nobody knows macevents")
  })

  it("refuses to guess a version", () => {
    const packages = { "node_modules/tool": { optionalDependencies: { "@tool/darwin-x64": "^1.0.0" } } }
    expect(() => complete({ packages }, noLookup)).toThrow("exact version")
  })
})

describe("findAddresses", () => {
  it("lets folders of the repository pass and nothing else", () => {
    expect(findAddresses({ packages: { "node_modules/a": { resolved: "packages/a", link: true } } })).toEqual([])
    expect(
      findAddresses({
        packages: {
          "node_modules/b": { version: "1.0.0", resolved: "https://registry.example/b/-/b-1.0.0.tgz" },
          "node_modules/c": { version: "1.0.0", dependencies: { d: "git+ssh://git@example.org/d.git" } }
        }
      })
    ).toHaveLength(2)
  })
})

describe("this repository's lock", () => {
  const own: Lock = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"))

  it("is complete and free of addresses", () => {
    expect(findMissing(own)).toEqual([])
    expect(findAddresses(own)).toEqual([])
  })

  it("says of every platform what its name says", () => {
    const entries = Object.entries(own.packages).filter(([, { cpu }]) => cpu !== undefined)
    expect(entries.length).toBeGreaterThan(100)
    for (const [path, { cpu, libc, os }] of entries) {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)
      expect(platformFromName(name), name).toEqual(JSON.parse(JSON.stringify({ cpu, libc, os })))
    }
  })
})
