"""How many tiles the ranges of random conditions go to, for each that has a point.

    python -m benchmarks.predicates [--conditions 10000] [--first 0] [--trials 4] [--worst 5]

Every point is looked at: what loses one, goes to a tile twice, or calls one full that is not is
printed, and the run fails. `visited` are tiles for each that has a point, `exact` the share of
conditions that go to no other, `full` the tiles without a test for each that needs none, `ms` what
the pass takes, `late` the share that takes more than 100 ms.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from tests.predicates import FAMILIES, conditions
from tests.tallied import Tally
from tests.tried import Tried, tried
from tests.visited import Unsound

SLOW = 0.1
AFFINE = 2
"""So many times as many affine conditions as others of a family."""


@dataclass
class Share:
    """What has been found of the conditions of one family."""

    total: Tally = field(default_factory=Tally)
    seconds: list[float] = field(default_factory=list[float])
    exact: int = 0
    loose: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    slow: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def add(self, one: Tried, worst: int) -> None:
        """Counts one condition; the `worst` ones are kept."""
        self.total.add(one.tally)
        self.seconds.append(one.seconds)
        self.exact += one.tally.exact
        self.loose.append((one.tally.visited - one.tally.minimum, one.condition))
        self.slow.append((one.seconds, one.condition))
        for found in (self.loose, self.slow):
            found.sort(reverse=True)
            del found[worst:]

    def row(self, name: str) -> str:
        """A line of the table."""
        count, times = len(self.seconds), sorted(self.seconds)
        full = self.total.full / max(self.total.full_possible, 1)
        visited = self.total.visited / max(self.total.minimum, 1)
        late = sum(t > SLOW for t in times) / count
        numbers = f"{count:10}  {visited:8.4f}  {self.exact / count:7.2%}  {full:7.2%}"
        ms = f"{sum(times) / count * 1e3:6.1f}  {times[count // 2] * 1e3:6.1f}"
        return f"{name:<9}{numbers}  {ms}  {times[-1] * 1e3:7.0f}  {late:6.2%}"


def main() -> None:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--conditions", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--trials", type=int, default=4, help="sizes, tiles and parameters of each")
    parser.add_argument("--worst", type=int, default=5, help="conditions to show")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=[*FAMILIES])
    options = parser.parse_args()
    weights = {f: AFFINE if f == "affine" else 1 for f in options.families}
    shares: dict[str, Share] = {}
    unsound = 0
    head = "conditions   visited    exact     full      ms  median      most    late"
    print(f"{'family':<9}{head}", flush=True)
    for family, weight in weights.items():
        count = options.conditions * weight // sum(weights.values())
        share = shares[family] = Share()
        for seed, condition in conditions(family, range(options.first, options.first + count)):
            try:
                share.add(tried(condition, seed, options.trials), options.worst)
            except Unsound as error:
                unsound += 1
                print(f"{family} {seed}: {error}", flush=True)
        print(share.row(family), flush=True)
    for family, share in shares.items():
        if share.total.around:
            around = share.total.around / share.total.around_minimum
            print(f"\n{family}: {around:.2f} rounds of loops around others, for each with a point")
        print(f"\n{family}: tiles in vain, then seconds")
        for number, condition in (*share.loose, *share.slow):
            print(f"  {number:8.3f}  {condition}")
    raise SystemExit(bool(unsound))


if __name__ == "__main__":
    main()
