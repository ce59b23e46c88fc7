/**
 * Numbers and names as people read them.
 */
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 })

export const count = (value: number): string => whole.format(value)

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** In the largest unit that gives a number of at least 1. */
export const size = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]!}`
}

/** A file may be named after a control sequence of the terminal. */
// oxlint-disable-next-line no-control-regex
export const printable = (name: string): string => name.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "?")
