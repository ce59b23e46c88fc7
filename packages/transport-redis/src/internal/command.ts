/**
 * Commands with many arguments, some of them bytes.
 *
 * ioredis measures and writes every piece on its own, and a batch has hundreds:
 * here the texts between two Buffers are one piece.
 */
import { Command } from "ioredis"

export type Arg = string | Buffer

export class BatchCommand extends Command {
  /** ioredis flattens the arguments, and so copies them. The reply has Buffers for texts. */
  constructor(name: string, args: ReadonlyArray<Arg | ReadonlyArray<Arg>>) {
    // it only reads them
    super(name, args as Array<Arg>, { replyEncoding: null })
  }

  override toWritable(): Buffer {
    const pieces: Array<Arg> = []
    /** Bytes of each piece. */
    const sizes: Array<number> = []
    let total = 0
    let text = `*${this.args.length + 1}\r\n$${this.name.length}\r\n${this.name}\r\n`
    let size = text.length
    for (const arg of this.args) {
      if (typeof arg === "string") {
        const length = Buffer.byteLength(arg)
        const head = `$${length}\r\n`
        text += head + arg + "\r\n"
        size += head.length + length + 2
      } else if (Buffer.isBuffer(arg)) {
        const head = `$${arg.length}\r\n`
        pieces.push(text + head, arg)
        sizes.push(size + head.length, arg.length)
        total += size + head.length + arg.length
        text = "\r\n"
        size = 2
      }
    }
    pieces.push(text)
    sizes.push(size)
    const result = Buffer.allocUnsafe(total + size)
    let offset = 0
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i]!
      const bytes = sizes[i]!
      if (typeof piece !== "string") result.set(piece, offset)
      // one byte per unit: nothing but ASCII
      else result.write(piece, offset, bytes, bytes === piece.length ? "latin1" : "utf8")
      offset += bytes
    }
    return result
  }
}
