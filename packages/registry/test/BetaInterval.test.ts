/** Verifies: quantiles of the Beta distribution against closed forms and printed tables, for small and large parameters. */
import { describe, expect, test } from "bun:test"
import { cumulative, interval, quantile } from "@parley/registry/BetaInterval"
import { exp, ln, twoTo } from "../src/internal/Elementary.ts"
import { grown, left, STEPS } from "../src/internal/Decay.ts"

const near = (actual: number, expected: number, within = 1e-11) =>
  expect(Math.abs(actual - expected)).toBeLessThan(within)
const shares = [0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999]

describe("quantiles of Beta", () => {
  test("are what closed forms give", () => {
    for (const p of shares) {
      near(quantile(p, 1, 1), p)
      for (const a of [0.01, 0.5, 2, 7.5, 40, 1_000]) {
        near(quantile(p, a, 1), p ** (1 / a))
        near(quantile(p, 1, a), 1 - (1 - p) ** (1 / a))
      }
      // The arcsine law.
      near(quantile(p, 0.5, 0.5), Math.sin((Math.PI * p) / 2) ** 2)
    }
  })

  test("are what tables print", () => {
    // F distribution, 95 %: with d1 and d2 degrees of freedom, x = d1 F / (d1 F + d2) is Beta(d1/2, d2/2)'s quantile.
    for (const [d1, d2, f] of [
      [1, 10, 4.9646],
      [5, 10, 3.3258],
      [10, 20, 2.3479],
      [20, 60, 1.748],
      [3, 120, 2.6802]
    ] as const) {
      near(quantile(0.95, d1 / 2, d2 / 2), (d1 * f) / (d1 * f + d2), 2e-5)
    }
    // Student's t, 97.5 %: I_x(d/2, 1/2) = 0.05 at x = d / (d + t²).
    for (const [d, t] of [
      [1, 12.7062],
      [5, 2.5706],
      [10, 2.2281],
      [30, 2.0423],
      [120, 1.9799]
    ] as const) {
      near(cumulative(d / (d + t * t), d / 2, 0.5), 0.05, 1e-5)
    }
    // Clopper and Pearson's interval of 95 % for 10 of 20, and for 0 of 20: 3.7 / 20 is the rule of three's better half.
    near(quantile(0.025, 10, 11), 0.27196, 1e-5)
    near(quantile(0.975, 11, 10), 0.72804, 1e-5)
    near(quantile(0.975, 1, 20), 0.16843, 1e-5)
  })

  test("are these to the bit: statements are signed over them", () => {
    expect(interval(1, 1)).toEqual({ low: 0.05000000000000016, high: 0.9499999999999997 })
    expect(interval(2.5, 0.01)).toEqual({ low: 0.9983409352867291, high: 0.999999999999942 })
    expect(interval(1.7, 3.4)).toEqual({ low: 0.06292888205908195, high: 0.6831827196117706 })
    expect(interval(12, 4.25)).toEqual({ low: 0.5482743840670147, high: 0.8944099196941554 })
    expect(interval(300_000, 4_000)).toEqual({ low: 0.9865003505027301, high: 0.987180218264563 })
  })

  test("invert the distribution for any parameters, and mirror each other", () => {
    for (const a of [0.01, 0.3, 1, 2.5, 30, 4_000, 300_000]) {
      for (const b of [0.01, 0.3, 1, 2.5, 30, 4_000, 300_000]) {
        for (const p of shares) {
          const x = quantile(p, a, b)
          expect(x >= 0 && x <= 1).toBe(true)
          // Where the density is steep, what bisection leaves open moves the share.
          if (x > 1e-9 && x < 1 - 1e-9 && a + b < 100_000) near(cumulative(x, a, b), p, 1e-6)
          near(quantile(1 - p, b, a), 1 - x, 2e-12)
        }
        const { high, low } = interval(a, b)
        expect(low <= high).toBe(true)
        if (a > 1 && b > 1) expect(low < a / (a + b) && a / (a + b) < high).toBe(true)
      }
    }
    // A normal distribution, nearly: 1.6449 standard deviations.
    const { high, low } = interval(50_000, 50_000)
    near((high - low) / 2, 1.6449 * Math.sqrt(0.25 / 100_001), 1e-6)
  })
})

describe("elementary functions", () => {
  test("agree with the engine's to the last digits", () => {
    for (let i = -300; i <= 300; i++) {
      const x = 1.37 * 10 ** i
      expect(Math.abs(ln(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(Math.log(x))))
      const y = i * 2.3
      expect(Math.abs(exp(y) / Math.exp(y) - 1)).toBeLessThan(1e-15)
    }
    expect([twoTo(0), twoTo(10), twoTo(-10), twoTo(1_023)]).toEqual([1, 1_024, 1 / 1_024, 2 ** 1_023])
  })

  test("evidence halves with each half-life, and not before", () => {
    expect([left(-5), left(0), left(STEPS), left(3 * STEPS), left(2_000 * STEPS)]).toEqual([1, 1, 0.5, 0.125, 0])
    for (let step = 1; step < 4 * STEPS; step += 7) {
      near(left(step), 2 ** (-step / STEPS), 1e-14)
      near(left(step) * grown(step), 1, 1e-14)
      expect(left(step)).toBeLessThan(left(step - 1))
    }
  })
})
