/**
 * Contestants taken in turn. Machines are seldom quiet, so what is compared is measured in the same round, one after the other,
 * and in the other order the next time: A B, B A, A B …
 */

/** Rounds that a comparison has at least, unless the run is brief. */
export const LEAST_ROUNDS = 5

/** Somebody who is measured. `R` is what a round of it comes to. */
export interface Contestant<R> {
  readonly name: string
  /** Until its code is compiled and its buffers have grown; nothing of it is counted. */
  readonly warmUp?: () => Promise<unknown>
  readonly round: (round: number) => Promise<R>
}

/** The rounds of each contestant, by name; the nth rounds of all were taken together. */
export type Rounds<R> = ReadonlyMap<string, ReadonlyArray<R>>

/** Warms everyone up, then takes them in turn for so many rounds. Fails with the first round that fails. */
export const takeTurns = async <R>(contestants: ReadonlyArray<Contestant<R>>, rounds: number): Promise<Rounds<R>> => {
  const taken = new Map<string, Array<R>>(contestants.map(({ name }) => [name, []]))
  if (taken.size !== contestants.length) throw new Error("two contestants have the same name")
  for (const { warmUp } of contestants) await warmUp?.()
  const reversed = [...contestants].reverse()
  for (let round = 0; round < rounds; round++) {
    for (const contestant of round % 2 === 0 ? contestants : reversed) {
      taken.get(contestant.name)!.push(await contestant.round(round))
    }
  }
  return taken
}

/** One figure of every round of a contestant, for `spreadOf` and `ratioOf`. Empty for who took no part. */
export const valuesOf = <R>(rounds: Rounds<R>, name: string, value: (round: R) => number): ReadonlyArray<number> =>
  (rounds.get(name) ?? []).map(value)
