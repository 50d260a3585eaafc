/** The question of a verdict, as its asker told it: JSON, or the beginning of its JSON as text where it was long. */
import type { Json } from "../api/Types.ts"

export type Question =
  | { readonly kind: "whole"; readonly value: Json }
  /** Only its beginning is known: its text without JSON's escapes. */
  | { readonly kind: "cut"; readonly text: string }

/** What askers put after the beginning of a question that they cut. */
const CUT = "…"

const escapes: { readonly [letter: string]: string } = { n: "\n", t: "\t", r: "", b: "", f: "" }

/** JSON's escapes as what they stand for, wherever the text ends. */
const unescaped = (text: string): string =>
  text.replaceAll(/\\(?:u([0-9a-fA-F]{4})|(.))/g, (_, code: string | undefined, letter: string) =>
    code === undefined ? (escapes[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16))
  )

export const read = (question: Json): Question => {
  if (typeof question !== "string" || !/^\s*[[{"]/.test(question)) return { kind: "whole", value: question }
  try {
    return { kind: "whole", value: JSON.parse(question) as Json }
  } catch {
    return question.endsWith(CUT)
      ? { kind: "cut", text: unescaped(question.slice(0, -CUT.length)) }
      : { kind: "whole", value: question }
  }
}

/** A question on one line: the one text that it holds, else its JSON. */
export const inOneLine = (question: Json): string => {
  const told = read(question)
  // The name of a first member says less than what it holds.
  if (told.kind === "cut") return told.text.replace(/^\s*\{"[^"]{1,40}":"?/, "").replaceAll(/\s+/g, " ")
  const { value } = told
  const texts = typeof value === "object" && value !== null ? Object.values(value) : [value]
  const text = texts.length === 1 && typeof texts[0] === "string" ? texts[0] : JSON.stringify(value)
  return text.slice(0, 400).replaceAll(/\s+/g, " ")
}
