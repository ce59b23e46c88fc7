/**
 * Subjects and their wildcards: `*` is one word, `>` is all that follow.
 */
export const matches = (pattern: string, subject: string): boolean => {
  if (pattern === subject || pattern === ">") return true
  const wanted = pattern.split(".")
  const words = subject.split(".")
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === ">") return words.length > i
    if (words[i] === undefined || (wanted[i] !== "*" && wanted[i] !== words[i])) return false
  }
  return words.length === wanted.length
}
