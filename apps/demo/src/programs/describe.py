"""Describes the columns that columns.ts prints, with sums that are exact and rounded once (math.fsum)."""

import json
import math
import sys


def summary(name, missing, values):
    n = len(values)
    first = values[0]
    deviations = [value - first for value in values]
    offset = math.fsum(deviations) / n
    squares = math.fsum((deviation - offset) ** 2 for deviation in deviations)
    values.sort()
    mean = first + offset
    if abs(mean) < 1e-8 * max(-values[0], values[-1]):
        mean = 0.0
    half = n // 2
    return {
        "name": name,
        "n": n,
        "missing": missing,
        "mean": mean,
        "sd": None if n == 1 else math.sqrt(squares / (n - 1)),
        "min": values[0],
        "median": values[half] if n % 2 else (values[half - 1] + values[half]) / 2,
        "max": values[-1],
    }


def main():
    lines = sys.stdin.buffer.read().decode("utf-8").split("\n")
    if len(lines) < 2 or lines[-2] != "end":
        sys.exit("the table is not complete")
    columns = []
    at = 1
    while lines[at] != "end":
        _, name, missing, n = lines[at].split("\t")
        values = [float(line) for line in lines[at + 1 : at + 1 + int(n)]]
        columns.append(summary(json.loads(name), int(missing), values))
        at += 1 + int(n)
    json.dump({"rows": int(lines[0].split("\t")[1]), "columns": columns}, sys.stdout)


main()
