/**
 * A folder to index, and an independent count of any folder.
 */
import { createHash } from "node:crypto"
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import type { Server } from "node:net"
import { join, relative } from "node:path"

/** Bytes that look like chance and are the same each time. */
const noise = (length: number) => {
  let state = 1
  return Uint8Array.from({ length }, () => (state = Math.imul(state, 1_103_515_245) + 12_345 >>> 0) >>> 24)
}

/** A file that nobody can read: no permission, or for root a name whose bytes Node cannot spell. */
const writeUnreadable = (at: string) => {
  if (process.getuid?.() !== 0) {
    writeFileSync(join(at, "secret"), "hidden")
    return chmodSync(join(at, "secret"), 0o000)
  }
  writeFileSync(Buffer.concat([Buffer.from(`${at}/not-utf-8-`), Uint8Array.of(0xff)]), "hidden")
}

/** Fills it with every kind of entry. `server` opens a socket in it. */
export const fill = (folder: string, server: Server) => {
  for (const path of ["a/b/c/d", "empty", "many", "links"]) mkdirSync(join(folder, path), { recursive: true })
  writeFileSync(join(folder, "empty.txt"), "")
  writeFileSync(join(folder, "one word"), "word")
  writeFileSync(join(folder, "a/\u001b[2Jred\nname.txt"), "x".repeat(2_000_000))
  writeFileSync(join(folder, "a/spaces.txt"), " \t\r\n\v\f  \n")
  writeFileSync(join(folder, "a/utf-8 äöü ☃.txt"), "Grüße, Jürgen\r\n雪\u00a0人\n\n  last line without an end")
  // longer than what is read at once, with words and lines across every seam
  writeFileSync(join(folder, "a/b/long.txt"), "seven77 eight888\n".repeat(60_000))
  writeFileSync(join(folder, "a/b/c/noise.bin"), noise(300_001))
  // more than what is enqueued at once
  for (let i = 0; i < 620; i++) writeFileSync(join(folder, "many", `${i}.txt`), `${i}\n`.repeat(i % 7))
  symlinkSync("..", join(folder, "links/cycle"))
  symlinkSync("../a/b/long.txt", join(folder, "links/file"))
  symlinkSync("nowhere", join(folder, "links/dangling"))
  server.listen(join(folder, "links/socket"))
  writeUnreadable(join(folder, "a/b/c/d"))
}
/** The numbers of the report, counted in another way. */
export const count = (at: string) => {
  const totals = { files: 0, folders: 0, bytes: 0, lines: 0, words: 0, skipped: 0, unreadable: 0 }
  let checksum = 0n
  const visit = (path: string) => {
    totals.folders++
    for (const name of readdirSync(path)) {
      const entry = join(path, name)
      const stats = lstatSync(entry, { throwIfNoEntry: false })
      if (stats?.isDirectory() === true) visit(entry)
      else if (stats === undefined || (stats.mode & 0o777) === 0) totals.unreadable++
      else if (!stats.isFile()) totals.skipped++
      else {
        const content = readFileSync(entry)
        const text = content.toString("latin1")
        const sha256 = createHash("sha256").update(content).digest("hex")
        totals.files++
        totals.bytes += stats.size
        totals.lines += text.split("\n").length - 1
        totals.words += text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "").length
        checksum ^= BigInt(`0x${createHash("sha256").update(`${relative(at, entry)}\0${sha256}`).digest("hex")}`)
      }
    }
  }
  visit(at)
  return { ...totals, checksum: checksum.toString(16).padStart(64, "0") }
}
