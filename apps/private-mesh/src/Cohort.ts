/**
 * The work: how many of a hospital's patients fit a question? Only the count leaves the house, and a small one not at all.
 *
 * The patients are made up from the hospital's name: the same ones in every run.
 */
import * as Capability from "@parley/core/Capability"
import * as Schema from "effect/Schema"

/** Counts below this could point at a person, and are not told. */
export const SMALLEST_TOLD = 5

const PATIENTS = 2_000
/** Codes of ICD-10: heart attack, diabetes, asthma, hip fracture. */
const diagnoses = ["I21.9", "E11.9", "J45.9", "S72.0"]

/** One row of the hospital's own table. */
export interface Patient {
  readonly diagnosis: string
  readonly age: number
}

/** What is asked: patients with a diagnosis, from some age on. */
export const Question = Schema.Struct({ diagnosis: Schema.String, minAge: Schema.Int })
/** What is asked. */
export type Question = typeof Question.Type

/** The capability that every member serves. */
export const Count = Capability.make("cohort.count", {
  version: "1.0.0",
  description: "Counts the patients of this hospital that fit a question; counts below five are not told",
  tags: ["health", "de-identified"],
  input: Question,
  output: Schema.Struct({ count: Schema.NullOr(Schema.Int) })
})

/** The table of a hospital. */
export const patientsOf = (hospital: string): ReadonlyArray<Patient> => {
  let state = [...hospital].reduce((sum, letter) => Math.imul(sum ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5)
  const draw = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  return Array.from({ length: PATIENTS }, () => ({ diagnosis: diagnoses[draw(diagnoses.length)]!, age: draw(100) }))
}

/** How many fit; null where that is too few to tell. */
export const count = (patients: ReadonlyArray<Patient>, { diagnosis, minAge }: Question): number | null => {
  const fitting = patients.filter((patient) => patient.diagnosis === diagnosis && patient.age >= minAge).length
  return fitting < SMALLEST_TOLD ? null : fitting
}
