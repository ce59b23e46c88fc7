/** What docs/operations.md quotes is what the programs say. */
import { Telemetry } from "@troupe/core"
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { expect, it } from "vitest"

const root = resolve(import.meta.dirname, "..")
const page = readFileSync(join(root, "docs/operations.md"), "utf8")
const sources = globSync("packages/*/src/**/*.ts", { cwd: root })
  .map((file) => readFileSync(join(root, file), "utf8"))
  .join("\n")

it("quotes log lines as they are", () => {
  // texts over several lines in one piece, what is put in as it stands on the page
  const texts = sources.replaceAll(/[`"] \+\s+[`"]/g, "").replaceAll(/\$\{[^{}]*(\{[^{}]*\}[^{}]*)*\}/g, "…")
    .replaceAll("\\\"", "\"")
  const lines = [...page.matchAll(/`([A-Z][^`]*…[^`]*)`/g)].map(([, line]) => line!)
    // the beginning of one is put together: the tests of runMain know it
    .filter((line) => line.includes(" ") && !line.startsWith("Failed to start"))
  expect(lines.length).toBeGreaterThan(12)
  expect(lines.filter((line) => !texts.includes(line))).toEqual([])
})

it("names metrics that there are", () => {
  const known: ReadonlyArray<string> = Object.values(Telemetry.metrics).map(({ name }) => name)
  const named = [...page.matchAll(/`((?:job|messaging)\.[a-z._]+)`/g)].map(([, name]) => name!)
    // fields of a handle
    .filter((name) => !["job.info", "job.cancel", "job.status"].includes(name))
  expect(named.length).toBeGreaterThan(9)
  expect(named.filter((name) => !known.includes(name))).toEqual([])
})

it("names variables that are read", () => {
  const named = [...page.matchAll(/\bTROUPE_([A-Z_]+)/g)].map(([, name]) => name!)
  expect(named.length).toBeGreaterThan(3)
  // `Config.nested` adds the prefix to some
  expect(named.filter((name) => !sources.includes(`"${name}"`) && !sources.includes(`"TROUPE_${name}"`))).toEqual([])
})

it("names alerts that there are, and all of them", () => {
  const rules = [...readFileSync(join(root, "dashboards/alerts.yml"), "utf8").matchAll(/alert: (\w+)/g)]
  const named = [...page.matchAll(/`(Troupe[A-Z]\w+)`/g)]
  const sorted = (found: typeof rules) => [...new Set(found.map(([, name]) => name))].toSorted()
  expect(sorted(named)).toEqual(sorted(rules))
})
