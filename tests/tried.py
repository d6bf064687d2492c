"""What the ranges of a condition must be, by looking at each point."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from attnc import api
from attnc.ir.facts import Facts
from attnc.ir.tiles import Plan
from attnc.passes.tiling.invariant import Invariant
from attnc.passes.tiling.ranges import Ranges
from attnc.passes.tiling.summary_every import told
from attnc.planning import planned
from tests.agreement import function
from tests.predicates import CLAIMS, PARAMETERS, spec
from tests.tallied import Tally, tally
from tests.visited import Array, Programs, Unsound

HUGE: Final = (2**31 - 1, 2**31, -(2**31), 2**40, -(2**40))


def facts(condition: str) -> Facts:
    """The checked cascade of a condition."""
    return api.check(spec(condition)).select()


def streaming(condition: str) -> Plan:
    """Its plan, whose loops go through all that there is."""
    return Invariant()(planned(facts(condition))[1].plan)


def presence(condition: str) -> Any:
    """The unoptimised function that gives 1 where a condition holds, by all coordinates."""
    body = "    Here[h,m,ALONG] = 1 + 0 * (A[h] + Q[m] + X[ALONG]) where CONDITION\n"
    return function(api.check(spec(condition, "Here[H,M,ALONG]", body)).select())


@dataclass(frozen=True)
class Trial:
    """Sizes, tiles, parameters and tensors, and where points are present."""

    values: Mapping[str, int]
    tiles: Mapping[str, int]
    tensors: Mapping[str, Array]
    here: Array


def trials(condition: str, seed: int, count: int) -> Iterator[Trial]:
    """So many of a condition."""
    rng, holds, inputs = random.Random(seed), presence(condition), facts(condition).cascade.inputs
    names = {s for i in inputs for s in i.sizes if isinstance(s, str)}
    for _ in range(count):
        sizes = {"H": rng.randint(1, 3), "M": _size(rng, 40), "N": _size(rng, 40)}
        sizes |= {"C": _size(rng, 5), "K": _size(rng, 12)}
        if "M == N" in condition:
            sizes["N"] = sizes["M"]
        sizes = {k: v for k, v in sizes.items() if k in names}
        claimed = any(claim in condition for some in CLAIMS.values() for claim in some)
        values = _values(rng, huge=not claimed)
        tensors = {i.name: _sorted(condition, i.name, _tensor(rng, i, sizes)) for i in inputs}
        tiles = {"h": rng.choice((1, 1, 1, 1, 2)), "m": rng.choice((1, 3, 4, 8, 16))}
        tiles |= {"n": rng.choice((1, 2, 4, 5, 8, 16)), "c": rng.choice((1, 1, 2))}
        tiles |= {"k": rng.choice((1, 2, 3, 4, 8))}
        with np.errstate(all="ignore"):
            here = np.asarray(holds(*tensors.values(), **values)) > 0
        yield Trial({**sizes, **values}, tiles, tensors, here)


def compared(plan: Plan, some: Iterable[Trial]) -> Tally:
    """What a plan goes to; raises `Unsound`."""
    found = Tally()
    (kernel,) = plan.kernels
    lists = told(plan, kernel)
    for one in some:
        try:
            with np.errstate(all="ignore"):
                known = one.tiles, one.tensors, one.values
                programs = Programs(plan, lists.kernel, *known, lists.full)
                found.add(tally(programs, one.here))
        except Unsound as error:
            raise Unsound(f"{error}, with {dict(one.values)}, {dict(one.tiles)}") from error
    return found


@dataclass(frozen=True)
class Tried:
    """A condition with what its programs have been seen to go to."""

    condition: str
    tally: Tally
    seconds: float
    """What the pass took."""


def tried(condition: str, seed: int, count: int) -> Tried:
    """A condition compared with its points so many times; raises `Unsound`."""
    plan = streaming(condition)
    start = time.perf_counter()
    plan = Ranges()(plan)
    seconds = time.perf_counter() - start
    try:
        return Tried(condition, compared(plan, trials(condition, seed, count)), seconds)
    except Unsound as error:
        raise Unsound(f"{condition}: {error}") from error


def _size(rng: random.Random, most: int) -> int:
    return rng.choice((0, 1)) if rng.random() < 0.08 else rng.randint(1, most)


def _values(rng: random.Random, *, huge: bool) -> dict[str, int]:
    """Parameters; those that do not fit 32 bits are no number to compare tensors of these with."""
    found = {"a": rng.randint(-5, 30), "b": rng.randint(-5, 30), "w": rng.randint(-3, 25)}
    found["r"] = rng.randint(1, 9)
    if rng.random() < 0.1 and huge:
        name = rng.choice(PARAMETERS)
        number = rng.choice(HUGE)
        found[name] = abs(number) if name == "r" else number
    return found


def _sorted(condition: str, name: str, found: Any) -> Any:
    """A tensor as it is said to be, if anything is said."""
    for place, claim in enumerate(CLAIMS.get(name, ())):
        if claim in condition:
            ascending = np.sort(found, axis=-1)
            return ascending[..., ::-1] if place else ascending
    return found


def _tensor(rng: random.Random, item: Any, sizes: dict[str, int]) -> Any:
    shape = [sizes[s] for s in item.sizes]
    draw = np.random.default_rng(rng.getrandbits(32))
    match item.element:
        case "bool":
            return draw.random(shape) < 0.5
        case "i32" | "i64" as element:
            found = draw.integers(-5, 35 if item.name != "D" else 4, shape)
            if item.name in ("P", "D") and rng.random() < 0.5:
                found = np.sort(found % 4)
            if found.size and rng.random() < 0.05:
                found.flat[0] = rng.choice((2**31 - 1, -(2**31)))
            return found.astype(element.replace("i", "int"))
        case _:
            return np.zeros(shape)
