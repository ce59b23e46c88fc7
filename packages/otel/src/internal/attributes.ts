/**
 * Values of Effect's spans as values of OpenTelemetry's.
 */
import type { Attributes, AttributeValue } from "@opentelemetry/api"
import * as Inspectable from "effect/Inspectable"

const isUniform = (values: ReadonlyArray<unknown>, type: "string" | "number" | "boolean"): boolean =>
  values.every((value) => typeof value === type)

/** What has no counterpart becomes text: JSON where it can. */
export const toValue = (value: unknown): AttributeValue => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  }
  if (Array.isArray(value)) {
    if (isUniform(value, "string") || isUniform(value, "number") || isUniform(value, "boolean")) return value
    return value.map((item) => Inspectable.toStringUnknown(item, 0))
  }
  return Inspectable.toStringUnknown(value, 0)
}

const areValues = (record: Readonly<Record<string, unknown>>): record is Attributes => {
  for (const key in record) {
    switch (typeof record[key]) {
      case "string":
      case "number":
      case "boolean":
        continue
    }
    return false
  }
  return true
}

/** `undefined` leaves an attribute away. May be the record itself: not to be written to. */
export const toAttributes = (record: Readonly<Record<string, unknown>>): Attributes => {
  if (areValues(record)) return record
  const attributes: Attributes = {}
  for (const key in record) {
    if (record[key] !== undefined) attributes[key] = toValue(record[key])
  }
  return attributes
}
