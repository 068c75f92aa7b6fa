"""How often the intervals of `pid_interval` hold the truth: by hand, python -m tests.pid_coverage.

Prints a Markdown row for each distribution of docs/spec/verification.md 3.2 and number of examples: mean
estimates, the share of trials whose 95 % interval holds the true part, and of trials in which a part that
is zero was taken for evidence.
"""

import argparse
import time

import numpy as np

from synjax.evaluators.estimators import pid_interval
from tests.evaluators.estimators.pid_interval_test import CASES


def independent(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
  """Draws two variables of eight values and a label that neither tells anything about."""
  return (*rng.integers(8, size=(2, n)), rng.integers(2, size=n))


def main() -> None:
  """Runs the trials."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--examples", type=int, nargs="+", default=[500, 5000, 50_000])
  parser.add_argument("--trials", type=int, default=40)
  arguments = parser.parse_args()
  cases = CASES | {"independent, 8 x 8": (independent, (0, 0, 0, 0))}
  print("| case | n | truth R, U1, U2, S | mean estimate | covered | false evidence | s a trial |")
  print("|---|---|---|---|---|---|---|")
  for n in arguments.examples:
    for name, (sample, truth) in cases.items():
      start = time.perf_counter()
      found = []
      for trial in range(arguments.trials):
        codes = sample(np.random.default_rng(1000 + trial), n)
        whole = pid_interval.decompose(*codes, num_bootstraps=100, seed=trial)
        found.append([getattr(whole, part) for part in pid_interval.PARTS])
      estimates = np.mean([[part.estimate for part in row] for row in found], 0)
      covered = np.mean(
        [
          [
            part.low - 1e-6 <= value <= part.high + 1e-6
            for part, value in zip(row, truth, strict=True)
          ]
          for row in found
        ],
        0,
      )
      false = np.mean([[part.distinguishable for part in row] for row in found], 0)
      zero = np.array(truth) == 0
      seconds = (time.perf_counter() - start) / arguments.trials
      say = lambda values, digits: ", ".join(f"{value:.{digits}f}" for value in values)  # noqa: E731
      wrong = f"{false[zero].max():.2f}" if zero.any() else ""
      print(
        f"| {name} | {n} | {say(truth, 3)} | {say(estimates, 3)} | {say(covered, 2)} | {wrong}"
        f" | {seconds:.2f} |",
        flush=True,
      )


if __name__ == "__main__":
  main()
