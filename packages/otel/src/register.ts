/**
 * `node --import @troupe/otel/register app.js`: lets instrumentations see ES modules, also those that are imported before
 * `Otel.layerNodeSdk` starts.
 *
 * `import` leaves nothing to patch unless a loader hook was there first. This one is OpenTelemetry's own, of the
 * `@opentelemetry/sdk-node` that is installed beside this package.
 */
import { createRequire, register } from "node:module"
import { pathToFileURL } from "node:url"

const sdk = createRequire(import.meta.url).resolve("@opentelemetry/sdk-node")
register("@opentelemetry/instrumentation/hook.mjs", pathToFileURL(sdk))
