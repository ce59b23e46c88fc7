/**
 * Proofreading: pure functions over the text of a page.
 */
import type { Problem, Report } from "./tasks.ts"

export interface Section {
  /** Of its heading; 0 for what stands before the first. */
  readonly level: number
  readonly title: string
  /** Of its first line, from 1. */
  readonly line: number
  readonly lines: ReadonlyArray<string>
}

/** What a section says of itself, without the others. */
export interface Facts {
  readonly level: number
  readonly title: string
  readonly line: number
  readonly words: number
  readonly links: ReadonlyArray<{ readonly line: number; readonly target: string }>
  readonly problems: ReadonlyArray<Problem>
}

const isFence = (line: string) => /^\s*(```|~~~)/.test(line)

/** The sections of a page, or the line of a code block that does not end. */
export const split = (text: string): ReadonlyArray<Section> | { readonly openFence: number } => {
  const sections: Array<Section & { readonly lines: Array<string> }> = [{ level: 0, title: "", line: 1, lines: [] }]
  let fence = 0
  text.split("\n").forEach((content, index) => {
    const line = index + 1
    if (isFence(content)) fence = fence === 0 ? line : 0
    const heading = fence === 0 ? /^(#{1,6})\s+(.*?)\s*#*$/.exec(content) : null
    if (heading === null) sections.at(-1)!.lines.push(content)
    else sections.push({ level: heading[1]!.length, title: heading[2]!, line, lines: [content] })
  })
  if (fence > 0) return { openFence: fence }
  return sections.filter(({ lines }) => lines.some((line) => line.trim() !== ""))
}

/** Proofreads one section. */
export const read = ({ level, line: first, lines, title }: Section): Facts => {
  const links: Array<{ line: number; target: string }> = []
  const problems: Array<Problem> = []
  let words = 0
  let isCode = false
  lines.forEach((content, index) => {
    if (isFence(content)) isCode = !isCode
    if (isCode || isFence(content)) return
    const line = first + index
    for (const [, target] of content.matchAll(/\]\(([^)\s]+)\)/g)) links.push({ line, target: target! })
    let before = ""
    for (const [word] of content.replaceAll(/`[^`]*`/g, " ` ").matchAll(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)) {
      if (!/[\p{L}\p{N}]/u.test(word)) {
        before = ""
        continue
      }
      words++
      if (/\p{L}{2}/u.test(word) && word.toLowerCase() === before) {
        problems.push({ line, kind: "doubled word", text: word })
      }
      before = word.toLowerCase()
    }
  })
  return { level, title, line: first, words, links, problems }
}

/** As GitHub spells headings in addresses. */
const slug = (title: string) => title.toLowerCase().replaceAll(/[^\p{L}\p{N}_\- ]/gu, "").replaceAll(" ", "-")

/** Puts the sections together. */
export const report = (name: string, sha256: string, facts: ReadonlyArray<Facts>): Report => {
  const problems = facts.flatMap((section) => section.problems)
  const anchors = new Map<string, number>()
  let level = 0
  for (const section of facts) {
    if (section.level === 0) continue
    const anchor = slug(section.title)
    const seen = anchors.get(anchor) ?? 0
    anchors.set(anchor, seen + 1)
    if (seen > 0) {
      anchors.set(`${anchor}-${seen}`, 1)
      problems.push({ line: section.line, kind: "same heading", text: section.title })
    }
    if (level > 0 && section.level > level + 1) {
      problems.push({ line: section.line, kind: "skipped level", text: section.title })
    }
    level = section.level
  }
  const links = facts.flatMap((section) => section.links)
  for (const { line, target } of links) {
    if (target.startsWith("#") && !anchors.has(target.slice(1))) {
      problems.push({ line, kind: "broken anchor", text: target })
    }
  }
  const words = facts.reduce((sum, section) => sum + section.words, 0)
  const outside = links.filter(({ target }) => /^[a-z]+:/i.test(target)).length
  return {
    name,
    sha256,
    words,
    minutes: Math.ceil(words / 200),
    sections: facts.length,
    links: { inside: links.length - outside, outside },
    problems: problems.toSorted((a, b) => a.line - b.line)
  }
}
