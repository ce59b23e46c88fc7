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

/** `undefined` leaves an attribute away. */
export const toAttributes = (record: Readonly<Record<string, unknown>>): Attributes => {
  const attributes: Attributes = {}
  for (const key in record) {
    if (record[key] !== undefined) attributes[key] = toValue(record[key])
  }
  return attributes
}
