/** The dashboard and the alert rules, without a Prometheus that runs. */
import { metrics } from "@troupe/core/Telemetry"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { needPrometheus } from "../servers/prometheus.ts"
import { dashboard, folder, panels } from "./dashboard.ts"

const read = (name: string) => readFileSync(join(folder, name), "utf8")

const alerts = [...read("alerts.yml").matchAll(/- alert: (\w+)/g)].map(([, name]) => name!)

describe("the dashboard", () => {
  it("reads from the data source that the user chose, and from no other", () => {
    const datasource = { type: "prometheus", uid: "${datasource}" }
    for (const panel of panels) {
      expect(panel.datasource, panel.title).toEqual(datasource)
      for (const target of panel.targets ?? []) expect(target.datasource, panel.title).toEqual(datasource)
    }
    const { list } = dashboard.templating
    expect(list.map(({ name, type }) => `${name} ${type}`)).toEqual([
      "datasource datasource",
      "service query",
      "transport query",
      "queue query",
      "task query"
    ])
  })

  it("has panels that do not overlap, with titles and numbers of their own", () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    expect(new Set(dashboard.panels.map(({ title }) => title)).size).toBe(dashboard.panels.length)
    const taken = new Set<string>()
    for (const { gridPos: { h, w, x, y }, title } of dashboard.panels) {
      expect(x + w, title).toBeLessThanOrEqual(24)
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          const cell = `${column}/${line}`
          expect(taken.has(cell), `${title} at ${cell}`).toBe(false)
          taken.add(cell)
        }
      }
    }
  })

  it("shows every metric", () => {
    const text = JSON.stringify(dashboard)
    expect(Object.values(metrics).filter(({ name }) => !text.includes(name.replaceAll(".", "_")))).toEqual([])
  })
})

describe("the page about them", () => {
  it("says what every panel and every alert means", () => {
    const page = read("README.md")
    expect(panels.filter(({ title }) => !page.includes(`**${title}**`)).map(({ title }) => title)).toEqual([])
    expect(alerts.filter((name) => !page.includes(`### ${name}\n`))).toEqual([])
  })
})

describe("the alert rules", () => {
  const promtool = (...args: ReadonlyArray<string>) => {
    needPrometheus()
    return execFileSync("promtool", args, { cwd: folder, encoding: "utf8", stdio: "pipe" })
  }

  it("are valid", () => {
    expect(promtool("check", "rules", "alerts.yml")).toContain(`SUCCESS: ${alerts.length} rules found`)
  })

  it("fire when they should", () => {
    expect(promtool("test", "rules", "alerts.test.yml")).toContain("SUCCESS")
    const tested = read("alerts.test.yml")
    expect(alerts.filter((name) => !tested.includes(`- alertname: ${name}\n`))).toEqual([])
  })
})
