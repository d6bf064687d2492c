"""Random nested sums of products, with conditions, quotients, absent reads and maps in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RANKS = "MNEFG"


@dataclass
class _Maker:
    """Definitions so far: tensors with their ranks, all of which may be read."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.inputs = {f"X{i}": self.ranks(1, 3) for i in range(4)}
        self.tensors = dict(self.inputs)
        self.lines: list[str] = []

    def one(self, items: list[str]) -> str:
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def ranks(self, least: int, most: int) -> list[str]:
        count = int(self.rng.integers(least, most + 1))
        return [str(r) for r in self.rng.permutation(list(RANKS))[:count]]

    def read(self, name: str) -> str:
        """A read at the ranks' own variables, at times beyond them, or of a function."""
        index = [r.lower() for r in self.tensors[name]]
        if index and self.chance(0.1):
            index[0] += " + 1"
        text = f"{name}[{', '.join(index)}]"
        return f"{self.one(['exp', 'tanh', 'abs', '-'])}({text})" if self.chance(0.15) else text

    def statement(self, name: str) -> None:
        """A product of two or three tensors, summed over some of its ranks."""
        latest = [t for t in self.tensors if t not in self.inputs]
        chosen = [self.one(latest)] if latest and self.chance(0.9) else []
        while len(chosen) < 2 or (len(chosen) < 4 and self.chance(0.3)):
            chosen.append(self.one([*self.tensors]))
        text = self.read(chosen[0])
        ranks = [r for t in chosen for r in self.tensors[t]]
        variables = list(dict.fromkeys(r.lower() for r in ranks))
        for tensor in chosen[1:]:
            text += f" {'/' if self.chance(0.1) else '*'} {self.read(tensor)}"
        if variables and self.chance(0.2):
            text = f"only({text}, {self.condition(variables)})"
        if self.chance(0.2):
            text = f"{text} / 4"
        left = [v for v in variables if self.chance(0.55)][:3]
        summed = [v for v in variables if v not in left]
        if self.chance(0.1):  # one that does not occur: as often as it has points
            summed += [r.lower() for r in RANKS if r.lower() not in variables][:1]
        value = f"sum[{','.join(summed)}]({text})" if summed else text
        where = f" where {self.condition(left)}" if left and self.chance(0.2) else ""
        self.tensors[name] = [v.upper() for v in left]
        self.lines.append(f"    {name}[{','.join(left)}] = {value}{where}\n")

    def condition(self, variables: list[str]) -> str:
        a, b = self.one(variables), self.one(variables)
        return self.one([f"{a} <= {b}", f"{a} < 2", f"X0[{self.zeros()}] > 0", f"{a} + {b} > 1"])

    def zeros(self) -> str:
        return ",".join("0" for _ in self.inputs["X0"])


def contraction(rng: np.random.Generator) -> str:
    """The text of a cascade with ranks `M N E F G` and inputs `X0` to `X3` of floats."""
    maker = _Maker(rng)
    count = int(rng.integers(2, 7))
    for i in range(count):
        maker.statement(f"T{i}")
    outputs = dict.fromkeys([f"T{count - 1}", maker.one([f"T{i}" for i in range(count)])])
    inputs = [f"X{i}[{','.join(r)}]" for i, r in enumerate(maker.inputs.values())]
    inputs.append("ranks[M,N,E,F,G]: i32")
    results = ", ".join(f"{t}[{','.join(maker.tensors[t])}]" for t in outputs)
    return f"cascade c({', '.join(inputs)}) -> {results}:\n{''.join(maker.lines)}"
