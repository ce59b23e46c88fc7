/**
 * The report as text.
 */
import * as Format from "./format.ts"
import type { Report } from "./tasks.ts"

/** Columns as wide as they must be: the first to the right, the others to the left. */
const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths: Array<number> = []
  for (const row of rows) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length))
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join("  ").trimEnd()
  )
}

const section = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> =>
  rows.length === 0 ? [] : ["", title, ...table(rows).map((line) => `  ${line}`)]

export const render = (report: Report, millis: number): string => {
  const jobs = report.files + report.folders + report.unreadable + 1
  return [
    ...section("Totals", [
      [Format.count(report.files), "files"],
      [Format.count(report.folders), "folders"],
      [Format.count(report.bytes), "bytes", Format.size(report.bytes)],
      [Format.count(report.lines), "lines"],
      [Format.count(report.words), "words"],
      [Format.count(report.skipped), "skipped", "symbolic links and special files"],
      [Format.count(report.retried), "retried", "took more than one attempt"],
      [Format.count(report.unreadable), "unreadable", "every attempt failed"]
    ]),
    ...section(
      "Largest files",
      report.largest.map((file) => [Format.count(file.bytes), "bytes", Format.printable(file.path)])
    ),
    ...section(
      "Slowest files",
      report.slowest.map((file) => [file.millis.toFixed(1), "ms", Format.printable(file.path)])
    ),
    ...section(
      "Unreadable",
      report.failures.map((error) => [`${error.attempts}`, "attempts", error.reason, Format.printable(error.path)])
    ),
    "",
    `Checksum ${report.checksum}`,
    `${Format.count(jobs)} jobs in ${Format.seconds(millis)}: ${Format.count(jobs / (millis / 1000))} jobs per second`,
    ""
  ].join("\n")
}
