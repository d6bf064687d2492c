"""Wrong calls of Triton modules: refused before anything is launched, with the argument's name."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.ir.facts import Facts
from tests import examples
from tests.interpreted import INTERPRETER, Failed, interpreted
from tests.test_acceptance import narrowed
from tests.test_gallery import facts
from tests.test_triton import cases, kernel
from tests.wrong_calls import Outcome, Signature

PARAMETERS = """cascade choose(A[N], T[3,N]: i32, R: int, k: int, x: float, flag: bool = false)
    -> O[N,R]:
    require k < 5
    require R > 0
    O[n,r] = (A[n] + x * T[0,n] if flag else k * r)
"""


def signature(found: Facts) -> Signature:
    cascade = found.cascade
    return Signature(
        cascade.name,
        tuple((i.name, tuple(i.sizes), i.element) for i in cascade.inputs),
        tuple((p.name, p.type, p.default is not None) for p in cascade.parameters),
    )


def made(found: Facts, text: str, arrays: Any, parameters: Any) -> list[Outcome]:
    result: list[Outcome] = INTERPRETER.ask(
        "tests.wrong_calls", "outcomes", text, signature(found), arrays, parameters
    )
    return result


@cache
def of_example(name: str) -> list[Outcome]:
    _, given, parameters = next(cases(name))
    inputs = narrowed(facts(name), given, "f32")
    arrays = [inputs[i.name] for i in facts(name).cascade.inputs]
    return made(facts(name), kernel(name).text, arrays, parameters)


def is_refused(name: str, item: Outcome) -> bool:
    """Whether a call was refused before a launch, in words, with the argument's name."""
    own = item.message.startswith(f"{name}: ")
    python = re.match(rf"{name}\(\) (missing|takes|got) ", item.message) is not None
    named = re.search(rf"\b{re.escape(item.argument)}\b", item.message) is not None
    kind = item.kind in ("TypeError", "ValueError")
    return kind and named and (own or python) and not item.launched


def refused(name: str, found: list[Outcome]) -> int:
    """How many wrong calls there were; fails unless each was refused as it should be."""
    right, *wrong = found
    assert (right.kind, right.launched) == ("", True)
    assert [item for item in wrong if not is_refused(name, item)] == []
    return len(wrong)


@pytest.mark.parametrize("name", examples.NAMES)
def test_wrong_calls_of_examples(name: str) -> None:
    assert refused(name, of_example(name)) >= 20


def test_wrong_calls_of_parameters() -> None:
    found = attnc.check(PARAMETERS).select()
    arrays = [np.ones(4, np.float32), np.ones((3, 4), np.int32)]
    text = interpreted(found).text
    assert refused("choose", made(found, text, arrays, {"R": 2, "k": 1, "x": 0.5})) >= 60


def test_requirements_are_refused() -> None:
    shapes = {"Q": (1, 3, 4, 2), "K": (1, 2, 5, 2), "V": (1, 2, 5, 2)}
    inputs = {n: np.ones(s, np.float32) for n, s in shapes.items()}
    for name in ("gqa", "gqa_causal"):
        with pytest.raises(Failed) as caught:
            kernel(name)(inputs)
        assert caught.value.kind == "ValueError"
        assert caught.value.message == f"{name}: `require H % J == 0` does not hold: H = 3, J = 2"
    found = attnc.check(PARAMETERS).select()
    run = interpreted(found)
    arrays = [np.ones(4, np.float32), np.ones((3, 4), np.int32)]
    for wrong, message in (
        ({"k": 5}, "choose: `require k < 5` does not hold: k = 5"),
        ({"R": 0}, "choose: `require R > 0` does not hold: R = 0"),
    ):
        with pytest.raises(Failed) as caught:
            run(arrays, {"R": 2, "k": 1, "x": 0.5, **wrong})
        assert caught.value.message == message


def test_a_gpu_is_asked_for() -> None:
    """Where kernels are not interpreted, tensors in main memory are refused in words."""
    import torch

    from attnc.modules import function_of

    run = function_of(kernel("dense").text, "dense")
    x = torch.ones(1, 1, 2, 2)
    with pytest.raises(ValueError, match=r"dense: Q is on cpu, not on a GPU \(TRITON_INTERPRET=1"):
        run(x, x, x)
    with pytest.raises(ValueError, match="dense: Q is on meta, not on a GPU"):
        run(*(x.to("meta") for _ in range(3)))
