/**
 * Headers of the usual form, without JSON: parsing and writing them would be
 * the larger part of the cost of a job. What differs from one job to the next
 * is an id, a time, a key, a trace, who waits and a signature; the rest is compared as one
 * text.
 *
 * The text is the one that `JSON.stringify` writes. What does not look like
 * that is not found here, and for `JSON.parse` to judge.
 */

/** How the headers of one kind are built: the same names in the same order. */
export interface Form {
  /** Up to the id. */
  readonly start: string
  /** Before the key, if there is one; empty where none ever is. */
  readonly key: string
  /** Before and after the `traceparent`; empty where there is none. */
  readonly traceparent: readonly [before: string, after: string]
  /** Before who waits, if somebody does. */
  readonly replyTo: string
  /** Before the signature, if there is one. */
  readonly signature: string
}

/** What is in a header, beside what its template has. Valid until the next one is read. */
export interface Found<Fields> {
  fields: Fields
  id: string
  time: number
  key: string | undefined
  traceparent: string | undefined
  replyTo: string | undefined
  signature: string | undefined
}

const ascii = /^[\x20-\x7e]*$/

/** What JSON writes as it is, as far as it is common. */
export const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

const digitsEnd = (text: string, start: number): number => {
  let at = start
  for (let code = text.charCodeAt(at); code >= zero && code <= nine; code = text.charCodeAt(++at));
  return at
}

const zero = 0x30
const nine = 0x39
const dot = 0x2e
const quote = 0x22
const brace = 0x7d

/** What many headers have in common. */
class Template<Fields> {
  readonly fields: Fields
  /** Between id and time. */
  readonly middle: string
  /** Between time and what may follow it: key, trace, who waits. */
  readonly after: string
  /** Between the last of these and the signature. */
  readonly end: string
  /** Its parts have one byte per UTF-16 unit; what differs always has. */
  readonly isAscii: boolean
  /** The last one, known to be plain: mostly the next one, too. */
  replyTo = ""

  constructor(fields: Fields, middle: string, after: string, end: string) {
    this.fields = fields
    this.middle = middle
    this.after = after
    this.end = end
    this.isAscii = ascii.test(middle + after + end)
  }
}

/** Templates that are kept, and of how many headers without one the next is kept. */
const most = 16
const every = 8

/** The usual headers of one kind, and what is known of them. */
export class Templates<Fields extends object> {
  readonly #form: Form
  readonly #isSame: (a: Fields, b: Fields) => boolean
  readonly #render: (fields: Fields) => readonly [middle: string, after: string, end: string]
  readonly #kept: Array<Template<Fields>> = []
  readonly #found: Found<Fields | undefined> = {
    fields: undefined,
    id: "",
    time: 0,
    key: undefined,
    traceparent: undefined,
    replyTo: undefined,
    signature: undefined
  }
  #next = 0
  #missed = 0

  /** `render`: the parts of the text that the fields make. */
  constructor(
    form: Form,
    isSame: (a: Fields, b: Fields) => boolean,
    render: (fields: Fields) => readonly [middle: string, after: string, end: string]
  ) {
    this.#form = form
    this.#isSame = isSame
    this.#render = render
  }

  #of(fields: Fields): Template<Fields> | undefined {
    const kept = this.#kept
    for (let i = 0; i < kept.length; i++) if (this.#isSame(kept[i]!.fields, fields)) return kept[i]
    return undefined
  }

  /** A template that is used in turns with many others costs more than it saves. */
  #isWorthwhile(): boolean {
    return this.#kept.length < most || this.#missed++ % every === 0
  }

  #keep(fields: Fields): Template<Fields> {
    const template = new Template(fields, ...this.#render(fields))
    this.#kept[this.#next++ % most] = template
    return template
  }

  /**
   * The header, `undefined` if it is for `JSON.stringify`, or not ASCII where it has to be. Copies of `fields` are for
   * `pick` to make.
   */
  write(
    self: Fields,
    pick: (self: Fields) => Fields,
    id: string,
    time: number,
    key: string | undefined,
    traceparent: string | undefined,
    replyTo: string | undefined,
    signature: string | undefined,
    mustBeAscii: boolean
  ): string | undefined {
    let template = this.#of(self)
    if (template === undefined) {
      if (!this.#isWorthwhile()) return undefined
      template = this.#keep(pick(self))
    }
    if (!plain.test(id) || (mustBeAscii && !template.isAscii)) return undefined
    const form = this.#form
    let text = form.start + id + template.middle + time + template.after
    if (key !== undefined) {
      if (!plain.test(key)) return undefined
      text += form.key + key + "\""
    }
    if (traceparent !== undefined) {
      if (!plain.test(traceparent)) return undefined
      text += form.traceparent[0] + traceparent + form.traceparent[1]
    }
    if (replyTo !== undefined) {
      if (template.replyTo !== replyTo) {
        if (!plain.test(replyTo)) return undefined
        template.replyTo = replyTo
      }
      text += form.replyTo + replyTo + "\""
    }
    text += template.end
    if (signature === undefined) return text + "}"
    return plain.test(signature) ? text + form.signature + signature + "\"}" : undefined
  }

  /** What is in the header, `undefined` if it is for `JSON.parse`. */
  read(text: string): Found<Fields> | undefined {
    const { start } = this.#form
    if (!text.startsWith(start)) return undefined
    const end = text.indexOf("\"", start.length)
    const kept = this.#kept
    for (let i = 0; i < kept.length; i++) {
      const template = kept[i]!
      if (text.startsWith(template.middle, end) && this.#readRest(text, template, end + template.middle.length)) {
        const id = text.slice(start.length, end)
        if (!plain.test(id)) return undefined
        this.#found.id = id
        this.#found.fields = template.fields
        return this.#found as Found<Fields>
      }
    }
    return undefined
  }

  /** Remembers how a header looks that `read` did not find, if it is a usual one. */
  learn(text: string, fields: Fields): void {
    if (this.#of(fields) !== undefined || !this.#isWorthwhile()) return
    const [middle] = this.#render(fields)
    if (text.includes(middle)) this.#keep(fields)
  }

  #readRest(text: string, template: Template<Fields>, timeStart: number): boolean {
    let at = digitsEnd(text, timeStart)
    // a number of JSON: no zero before another digit, and digits behind a dot
    if (at === timeStart || (at > timeStart + 1 && text.charCodeAt(timeStart) === zero)) return false
    if (text.charCodeAt(at) === dot) {
      const fraction = at + 1
      at = digitsEnd(text, fraction)
      if (at === fraction) return false
    }
    const time = Number(text.slice(timeStart, at))
    if (!text.startsWith(template.after, at)) return false
    at += template.after.length

    const form = this.#form
    let key: string | undefined
    if (form.key !== "" && text.startsWith(form.key, at)) {
      at += form.key.length
      key = text.slice(at, text.indexOf("\"", at))
      if (!plain.test(key)) return false
      at += key.length + 1
    }
    const [before, behind] = form.traceparent
    let traceparent: string | undefined
    if (before !== "") {
      if (!text.startsWith(before, at)) return false
      at += before.length
      traceparent = text.slice(at, text.indexOf("\"", at))
      at += traceparent.length
      if (!plain.test(traceparent) || !text.startsWith(behind, at)) return false
      at += behind.length
    }
    let replyTo: string | undefined
    if (text.startsWith(form.replyTo, at)) {
      at += form.replyTo.length
      const last = template.replyTo
      if (text.charCodeAt(at + last.length) === quote && text.startsWith(last, at)) replyTo = last
      else {
        replyTo = text.slice(at, text.indexOf("\"", at))
        if (!plain.test(replyTo)) return false
        template.replyTo = replyTo
      }
      at += replyTo.length + 1
    }
    if (!text.startsWith(template.end, at)) return false
    at += template.end.length

    let signature: string | undefined
    if (text.charCodeAt(at) !== brace) {
      if (!text.startsWith(form.signature, at)) return false
      at += form.signature.length
      signature = text.slice(at, text.indexOf("\"", at))
      if (!plain.test(signature)) return false
      at += signature.length + 1
    }
    if (at !== text.length - 1 || text.charCodeAt(at) !== brace) return false
    const found = this.#found
    found.time = time
    found.key = key
    found.traceparent = traceparent
    found.replyTo = replyTo
    found.signature = signature
    return true
  }
}
