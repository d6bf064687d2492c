"""Random attentions: what tiles compute is what the written text means, at any tiles and orders."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

import attnc
from attnc.ir.tiles import Loop
from attnc.ir.tiles_walk import statements
from tests.acceptance.judge import judge
from tests.attentions import attention, inputs_for, sizes_for
from tests.test_acceptance import TYPES
from tests.tiled import Tiled, tiled

PARTS = 8
SHARE = 3
"""One attention for so many of `--cascades`."""


def judged(run: Tiled, seed: int, rng: np.random.Generator, kind: str, found: Counter[str]) -> None:
    """Fails unless one call is within its bounds."""
    inputs = inputs_for(run.facts.cascade.inputs, rng, sizes_for(rng), TYPES[kind])
    sizes = run.sizes(seed, inputs)
    wide = "f64" if kind == "f64" else "f32"
    verdict = judge(
        run.facts,
        inputs,
        {},
        run(inputs, {}, sizes, seed),
        matrix_type=kind,
        accumulate=wide,
        tiles=run.streamed(sizes),
        undecided=1.0,
    )
    assert verdict.ok, f"{kind} {sizes}: {verdict}"
    found["elements"] += sum(o.ratio.size for o in verdict.outputs)
    found["undecided"] += sum(int(o.undecided.sum()) for o in verdict.outputs)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_attentions(part: int, request: pytest.FixtureRequest) -> None:
    """In f64, and in a type drawn by chance; each is tiled, and many are one kernel."""
    count = int(request.config.getoption("--cascades")) // SHARE
    found: Counter[str] = Counter()
    for seed in range(part, count, PARTS):
        rng = np.random.default_rng(seed)
        text = attention(rng)
        found["all"] += 1
        run = tiled(attnc.check(text).select())
        found["one kernel"] += len(run.plan.kernels) == 1
        found["carried"] += any(
            isinstance(s, Loop) and s.carries for k in run.plan.kernels for s in statements(k.body)
        )
        drawn = str(rng.choice(["f32", "f16", "bf16"]))
        for kind in ("f64", drawn):
            try:
                judged(run, seed, rng, kind, found)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}\n{text}") from error
    if found["all"] >= 20:
        assert found["carried"] > 0.9 * found["all"]
        assert found["one kernel"] > 0.3 * found["all"]
        assert found["undecided"] < 0.1 * found["elements"]


DRAWN = (
    *("softmax[n]", "softmax[n,l]", "3 **", "exp2(", "sqrt(D", " + 1)", "h//G", "** 2", "** 1.5"),
    *(
        "min[n",
        "mean[n",
        "l2norm[e]",
        "rmsnorm[f]",
        "log_softmax",
        "where",
        "empty",
        ": bool",
        "doc[",
    ),
)
"""What some of the first attentions hold."""


def test_what_is_drawn() -> None:
    texts = [attention(np.random.default_rng(seed)) for seed in range(200)]
    for part in DRAWN:
        assert sum(part in text for text in texts) >= 4, part
    both = [re.search(r"O\d.*S1\[.*S2\[", text) for text in texts]
    assert sum(found is not None for found in both) >= 10  # products of two kinds of weights
