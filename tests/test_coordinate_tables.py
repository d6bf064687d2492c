"""Functions of coordinates are computed once for all programs, and give the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnc
from attnc.errors import InternalError
from attnc.ir.facts import Facts
from attnc.ir.tiles import Load, Loop, Plan
from attnc.ir.tiles_verify import verify
from attnc.ir.tiles_walk import statements
from attnc.passes.tiling import tables
from attnc.passes.tiling.tables import Tables
from attnc.planning import planned, ranged
from tests.tiled import of_plan, outputs

ANGLES = (
    "cascade angles(Q[H,M,E], K[H,N,E], g: float = 0.25) -> L[H,M] empty -inf:\n"
    "    S[h,m,n] = sum[e](Q[h,m,e] * K[h,n,e] * cos(n * (e + 2) ** g)) where n <= m\n"
    "    L[h,m]   = logsumexp[n](S[h,m,n])\n"
)
BOTH = (
    "cascade both(X[H,N,E], g: float = 0.25) -> O[H,N], P[H,N]: f64:\n"
    "    O[h,n] = sum[e](X[h,n,e] * cos(n * (e + 2) ** g))\n"
    "    P[h,n] = sum[e](f64(X[h,n,e]) * f64(cos(n * (e + 2) ** g)))\n"
)
"""Read in the kernel's type, and in 64 bits."""


def facts_of(text: str) -> Facts:
    return attnc.check(text).select()


def plans(text: str) -> tuple[Plan, Plan]:
    """A plan before and after the pass."""
    before = ranged(planned(facts_of(text))[1].plan)
    after = Tables()(before)
    verify(after)
    return before, after


def tabled(text: str) -> list[str]:
    """The tables that a plan reads, and the kernels that write them."""
    _, after = plans(text)
    return [*(b.name for b in after.buffers), *(k.name for k in after.kernels)]


def inputs_of(text: str, seed: int, **sizes: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    found = facts_of(text).cascade.inputs
    shapes = {i.name: [sizes[str(s)] for s in i.sizes] for i in found}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def results(text: str, seed: int) -> list[tuple[Any, ...]]:
    """What both plans give in 32 bits."""
    facts, given = facts_of(text), inputs_of(text, seed, H=3, M=9, N=11, E=4)
    first, second = (of_plan(facts, plan, rounded=False) for plan in plans(text))
    sizes = first.sizes(seed, given, {})
    return [outputs(run(given, {}, sizes, seed)) for run in (first, second)]


def same(text: str, seeds: int = 4) -> bool:
    pairs = (zip(*results(text, seed), strict=True) for seed in range(seeds))
    return all(np.array_equal(a, b, equal_nan=True) for pair in pairs for a, b in pair)


def test_values_stay_to_the_bit() -> None:
    for text in (ANGLES, BOTH):
        before, after = plans(text)
        assert after is not before
        assert Tables()(after) is after
        assert same(text)


def test_a_table_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosines are those of the table, whatever heads and rows there are; powers one for each e."""
    facts = facts_of(ANGLES)
    counts: dict[str, list[int]] = {"cos": [], "power": []}

    def counting(name: str, function: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            found = function(*arguments, **options)
            counts[name].append(np.size(found))
            return found

        return called

    given = inputs_of(ANGLES, 0, H=3, M=16, N=16, E=4)
    runs = [of_plan(facts, plan, rounded=False) for plan in plans(ANGLES)]
    for name in counts:
        monkeypatch.setattr(np, name, counting(name, getattr(np, name)))
    found = []
    for run in runs:
        counts["cos"].clear()
        run(given, {}, {a.name: 8 for k in run.plan.kernels for a in k.axes} | {"h": 1}, 0)
        found.append(sum(counts["cos"]))
    assert found[1] == 16 * 8  # n, and e in a tile of 8
    assert found[0] > 4 * found[1]


def test_what_varies_less_is_computed_for_fewer_lanes() -> None:
    _, after = plans(ANGLES)
    (power,) = (s for s in after.kernels[0].body if getattr(s, "target", "") == "u")
    assert getattr(power, "axes", None) == ("e",)


def test_kinds() -> None:
    """A table has the type in which it is read."""
    assert [(b.name, str(b.kind)) for b in plans(ANGLES)[1].buffers] == [("n_table", "float")]
    kinds = {str(b.kind) for b in plans(BOTH)[1].buffers}
    assert "f64" in kinds


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("one program", "O[m] = sum[n](X[m,n]) + 0 * M\n    P[] = sum[m](cos(m * 0.5))"),
        ("two long axes", "O[m] = max[n](X[m,n] * cos(m - n))"),
        (
            "two wide axes",
            "var e in 4\n    var f in 8\n    O[m] = max[n](sum[e,f](W[m,e,f] * cos(n * e * f)))",
        ),
        ("data", "O[m] = max[n](X[m,n] * cos(n * Y[n]))"),
        ("no function", "O[m] = max[n](X[m,n] * (n * 0.5 + 1))"),
        ("a number of rows", "O[m] = cos(m * 0.5) * max[n](X[m,n])"),
        ("the square is no function", "O[m] = max[n](X[m,n] * n ** 2)"),
    ],
)
def test_no_table(why: str, body: str) -> None:
    outs = "O[M], P[]" if "P[" in body else "O[M]"
    text = f"cascade none(X[M,N], Y[N], W[M,4,8]) -> {outs}:\n    {body}\n"
    assert not [name for name in tabled(text) if "table" in name], why


def test_a_table_of_what_goes_by_tiles() -> None:
    """The same, were it computed in each round of several programs."""
    text = "cascade one(X[M,N], Y[N]) -> O[M]:\n    O[m] = max[n](X[m,n] * cos(n * 0.5))\n"
    assert tabled(text) == ["n_table", "k0_n", "k0"]
    _, after = plans(text)
    (loop,) = (s for s in after.kernels[1].body if isinstance(s, Loop))
    assert any(isinstance(s, Load) and s.tensor == "n_table" for s in statements(loop.body))


# Faults


def test_a_table_of_the_wrong_type_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_read_as_float", lambda *_: True)
    with pytest.raises(InternalError, match="it is float, and said to be f64"):
        plans(BOTH)


def test_what_is_loaded_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_of_coordinates", lambda *_: True)
    with pytest.raises(AssertionError):
        test_no_table("data", "O[m] = max[n](X[m,n] * cos(n * Y[n]))")
