/** The Grafana dashboard, as far as these tests read it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"

interface Target {
  readonly refId: string
  readonly expr: string
  readonly legendFormat: string
  readonly datasource: unknown
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: unknown
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: ReadonlyArray<Target>
}

export interface Variable {
  readonly name: string
  readonly type: string
  readonly definition?: string
}

export const folder = join(import.meta.dirname, "../../dashboards")

// the erased boundary of this file: what Grafana exports
export const dashboard = JSON.parse(readFileSync(join(folder, "troupe.json"), "utf8")) as {
  readonly panels: ReadonlyArray<Panel>
  readonly templating: { readonly list: ReadonlyArray<Variable> }
}

/** Panels with queries: all but the headings. */
export const panels = dashboard.panels.filter(({ type }) => type !== "row")

/** A query as Grafana sends it. */
export const filledIn = (text: string, values: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\$(\w+)/g, (found, name: string) => values[name] ?? found)
