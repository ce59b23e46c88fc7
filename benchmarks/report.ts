/**
 * The tables that a run prints.
 */
import { cpus } from "node:os"
import { cpuPerJob, jobsPerSecond, median, type Sample } from "./measure.ts"
import type { Figure } from "./scenario.ts"

/** Rounds of a scenario, and those of what it is compared with. */
export interface Measured {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
  readonly against: {
    readonly name: string
    readonly samples: ReadonlyArray<Sample>
    readonly least: number | undefined
  } | undefined
}

export interface Weighed {
  readonly name: string
  readonly figures: ReadonlyArray<Figure>
}

export const machine = (): string =>
  `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, Node ${process.version}, ` +
  new Date().toISOString().slice(0, 10)

export const whole = (value: number) => Math.round(value).toLocaleString("en")
const percent = (share: number) => `${Math.round(share * 100)} %`

export const verdict = (met: boolean) => met ? "met" : "MISSED"

// round by round: what slows the machine for a second slows both of a pair
const ratio = ({ against, samples }: Measured): number | undefined =>
  against && median(samples.map((sample, round) => jobsPerSecond(sample) / jobsPerSecond(against.samples[round]!)))

/** The largest share of a core that a scenario got. Most never wait: less than a core means that others ran, too. */
export const coreShare = (measured: ReadonlyArray<Measured>): number =>
  measured.length === 0
    ? 1
    : Math.max(...measured.map((one) => median(one.samples.map((sample) => sample.threadSeconds / sample.seconds))))

/** One line per scenario and a last column that says whether its floor is met. */
const measuredCells = (measured: Measured): ReadonlyArray<string> => {
  const { against, name, samples } = measured
  const rates = samples.map(jobsPerSecond)
  const share = ratio(measured)
  return [
    name,
    whole(median(rates)),
    `${whole(Math.min(...rates))} – ${whole(Math.max(...rates))}`,
    median(samples.map(cpuPerJob)).toFixed(1),
    share === undefined ? "" : percent(share),
    against?.name ?? "",
    against?.least === undefined || share === undefined
      ? ""
      : `≥ ${percent(against.least)}: ${verdict(share >= against.least)}`
  ]
}

const figureCells = (scenario: string, { most, name, unit, value }: Figure): ReadonlyArray<string> => [
  scenario,
  name,
  // + 0: there is no -0.0 MB
  `${(Math.round(value * 10) / 10 + 0).toFixed(unit === "MB" || unit.startsWith("%") ? 1 : 0)} ${unit}`,
  most === undefined ? "" : `≤ ${most} ${unit}: ${verdict(value <= most)}`
]

const leftAligned = new Set(["throughput", "memory", "what", "to", "floor", "limit", "system"])

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: ReadonlyArray<string>) =>
    cells.map((cell, i) => leftAligned.has(head[i]!) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
      .trimEnd()
  return [line(head), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(line)].join("\n")
}

export const throughputTable = (measured: ReadonlyArray<Measured>): string =>
  table(
    ["throughput", "jobs/s", "min – max", "CPU µs/job", "ratio", "to", "floor"],
    measured.map(measuredCells)
  )

export const footprintTable = (weighed: ReadonlyArray<Weighed>): string =>
  table(
    ["footprint", "what", "value", "limit"],
    weighed.flatMap(({ figures, name }) => figures.map((figure) => figureCells(name, figure)))
  )

export const isMissed = (measured: Measured): boolean => (ratio(measured) ?? Infinity) < (measured.against?.least ?? 0)

/** Floors that a run missed. */
export const missed = (measured: ReadonlyArray<Measured>, weighed: ReadonlyArray<Weighed>): number =>
  measured.filter(isMissed).length +
  weighed.flatMap((one) => one.figures).filter((figure) => figure.value > (figure.most ?? Infinity)).length
