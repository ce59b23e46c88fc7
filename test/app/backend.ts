/**
 * A backend of OpenTelemetry, as far as a test needs one: OTLP over HTTP, in JSON.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import { freePort } from "../servers/process.ts"

export interface Span {
  readonly service: string
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
}

/** Takes what is exported, and keeps the spans. */
export const backend = async () => {
  const spans: Array<Span> = []
  const server = createServer(async (request, response) => {
    const chunks: Array<Buffer> = []
    for await (const chunk of request) chunks.push(chunk)
    if (request.url === "/v1/traces") {
      for (const { resource, scopeSpans } of JSON.parse(Buffer.concat(chunks).toString()).resourceSpans) {
        const { value } = resource.attributes.find(({ key }: { readonly key: string }) => key === "service.name")
        for (const scope of scopeSpans) {
          for (const span of scope.spans) spans.push({ ...span, service: value.stringValue })
        }
      }
    }
    response.end("{}")
  })
  const port = await freePort()
  server.listen(port, "127.0.0.1")
  await once(server, "listening")
  return { spans, url: `http://127.0.0.1:${port}`, stop: () => server.close() }
}

/**
 * Spans of this name, each with all above it in its trace, from the first: `service: name`. The client of the tests sends
 * its trace along and exports nothing.
 */
export const pathsTo = (spans: ReadonlyArray<Span>, name: string): ReadonlyArray<ReadonlyArray<string>> => {
  const above = (span: Span | undefined): ReadonlyArray<string> => {
    if (span === undefined) return ["the client"]
    const { parentSpanId, traceId } = span
    const parent = () => spans.find((one) => one.spanId === parentSpanId && one.traceId === traceId)
    return [...(parentSpanId ? above(parent()) : []), `${span.service}: ${span.name}`]
  }
  return spans.filter((span) => span.name === name).map(above)
}
