"""Faults seeded into emitted kernels: each is noticed by what the other tests check.

A fault of the emitter is a wrong node in the text that it makes. One is put there for it, in each
place where that is possible, and the calls of `test_triton.py` are made, with their bound and with
memory watched.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import attnc
from tests.acceptance.judge import judge
from tests.interpreted import Failed, Interpreted, interpreted
from tests.kernel_text import faulty
from tests.test_gallery import facts
from tests.test_triton import kernel
from tests.tiled import written

MOST = 2
"""Places for each kind of fault in each text."""

# Kinds of faults: what becomes of a node, or None


def without(call: ast.Call, names: set[str]) -> ast.Call | None:
    """A call without some keywords."""
    kept = [k for k in call.keywords if k.arg not in names]
    if len(kept) == len(call.keywords):
        return None
    call.keywords = kept
    return call


def is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == name


def load_without_mask(node: ast.AST) -> ast.AST | None:
    """A load of all lanes."""
    return without(node, {"mask", "other"}) if is_call(node, "tl.load") else None  # type: ignore[arg-type]


def load_without_other(node: ast.AST) -> ast.AST | None:
    """A load that leaves the lanes open that do not count."""
    return without(node, {"other"}) if is_call(node, "tl.load") else None  # type: ignore[arg-type]


def store_without_mask(node: ast.AST) -> ast.AST | None:
    """A store of all lanes."""
    return without(node, {"mask"}) if is_call(node, "tl.store") else None  # type: ignore[arg-type]


def part_of_a_mask(node: ast.AST) -> ast.AST | None:
    """A mask without one of its conditions."""
    if is_call(node, "tl.load") or is_call(node, "tl.store"):
        for keyword in node.keywords:  # type: ignore[attr-defined]
            if keyword.arg == "mask" and isinstance(keyword.value, ast.BinOp):
                keyword.value = keyword.value.left
                return node
    return None


def without_identity(node: ast.AST) -> ast.AST | None:
    """Lanes that do not count, and are not filled."""
    match node:
        case ast.Call(args=[_, ast.Name() as then, ast.UnaryOp(op=ast.USub())]) if is_call(
            node, "tl.where"
        ):
            return then
        case _:
            return None


def other_stride(node: ast.AST) -> ast.AST | None:
    """The distance of another rank of the tensor."""
    match node:
        case ast.BinOp(op=ast.Mult(), right=ast.Name(id=name)) if name in STRIDES:
            assert isinstance(node, ast.BinOp)
            node.right = ast.Name(STRIDES[name], ast.Load())
            return node
        case _:
            return None


STRIDES = {
    "Q_h": "Q_m",
    "Q_m": "Q_h",
    "Q_e": "Q_m",
    "K_n": "K_e",
    "K_e": "K_n",
    "K_j": "K_n",
    "V_n": "V_f",
    "V_f": "V_n",
    "V_j": "V_b",
    "O_h": "O_m",
    "O_m": "O_h",
    "O_f": "O_m",
}


def quotient_for_rest(node: ast.AST) -> ast.AST | None:
    """What is packed into rows taken apart the wrong way round."""
    match node:
        case ast.BinOp(op=ast.FloorDiv(), left=left, right=ast.Name() as right):
            return ast.BinOp(left, ast.Mod(), right)
        case ast.BinOp(op=ast.Mod(), left=left, right=ast.Name() as right):
            return ast.BinOp(left, ast.FloorDiv(), right)
        case _:
            return None


def halves(node: ast.AST) -> ast.AST | None:
    """Sums of products in half precision."""
    if not is_call(node, "tl.dot"):
        return None
    shown = f"({ast.unparse(node)}).to(tl.float16).to(FLOAT)"
    return ast.parse(shown, mode="eval").body


def rounds(node: ast.AST, number: int, text: str) -> ast.AST | None:
    """A loop whose range is another one."""
    match node:
        case ast.For(iter=ast.Call(args=[_, _, *_] as arguments)) if len(arguments) >= 2:
            shown = text.format(*map(ast.unparse, arguments))
            arguments[number] = ast.parse(shown, mode="eval").body
            return node
        case _:
            return None


def last_tile_lost(node: ast.AST) -> ast.AST | None:
    """A loop that ends before its last tile."""
    return rounds(node, 1, "{1} - N_TILE")


def first_tile_lost(node: ast.AST) -> ast.AST | None:
    """A loop that begins with the second tile."""
    return rounds(node, 0, "{0} + N_TILE")


def carried_early(node: ast.AST) -> ast.AST | None:
    """What is carried brought along before what was before it has been read."""
    match node:
        case ast.For(body=[*body]) if isinstance(body[-1], ast.Assign):
            last = body[-1]
            assert isinstance(node, ast.For)
            read = {n.id for n in ast.walk(last.value) if isinstance(n, ast.Name)}
            for place, item in enumerate(body[:-1]):
                match item:
                    case ast.Assign(targets=[ast.Name(id=name)]) if name in read:
                        node.body = [*body[: place + 1], last, *body[place + 1 : -1]]
                        return node
                    case _:
                        pass
            return None
        case _:
            return None


def never_carried(node: ast.AST) -> ast.AST | None:
    """What is carried left as it was."""
    match node:
        case ast.For(body=[*body]) if isinstance(body[-1], ast.Assign):
            assert isinstance(node, ast.For)
            node.body = body[:-1]
            return node
        case _:
            return None


def without_factor(node: ast.AST) -> ast.AST | None:
    """A sum that is not brought to the new maximum, or scores that are not scaled."""
    match node:
        case ast.BinOp(op=ast.Mult(), left=ast.Name(), right=ast.Name(id=right)) if (
            right.startswith("o_") or right == "c"
        ):
            assert isinstance(node, ast.BinOp)
            return node.left if right == "c" else node.right
        case _:
            return None


def one_less(node: ast.AST) -> ast.AST | None:
    """`<` for `<=`: the last key of each query left out."""
    match node:
        case ast.Compare(ops=[ast.LtE()], left=ast.Subscript()):
            assert isinstance(node, ast.Compare)
            node.ops = [ast.Lt()]
            return node
        case _:
            return None


def first_of_two(node: ast.AST) -> ast.AST | None:
    """A maximum of what was before alone."""
    match node:
        case ast.Call(func=ast.Name(id="_larger"), args=[left, _]):
            return left
        case _:
            return None


FAULTS = (
    load_without_mask,
    load_without_other,
    store_without_mask,
    part_of_a_mask,
    without_identity,
    other_stride,
    quotient_for_rest,
    halves,
    last_tile_lost,
    first_tile_lost,
    carried_early,
    never_carried,
    without_factor,
    one_less,
    first_of_two,
)

NAMES = ("gqa_causal", "sliding_window_sinks")


def calls(name: str) -> Iterator[tuple[Any, str, dict[str, int]]]:
    """More queries than keys, and more keys than queries, so that programs go through two partial
    tiles and two full ones; in half precision, many of one sign."""
    rng = np.random.default_rng(5)
    sinks = name == "sliding_window_sinks"
    heads = 5 if sinks else 4  # one that is of no group
    for m, n, window in ((13, 6, (7, 2)), (6, 27, (18, 9))):
        shapes = {"Q": (2, heads, m, 6), "K": (2, 2, n, 6), "V": (2, 2, n, 5)}
        arrays = {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
        yield arrays, "f32", dict(zip(("window", "sinks"), window, strict=True)) if sinks else {}
    shapes = {"Q": (2, 2, 2, 24), "K": (2, 1, 120, 24), "V": (2, 1, 120, 3)}
    arrays = {k: (1 + rng.random(s)).astype(np.float16) for k, s in shapes.items()}
    arrays["K"][1, :, :100] *= 3  # far above the scores of partial tiles
    yield arrays, "f16", {"window": 200, "sinks": 2} if sinks else {}


def noticed(name: str, text: str) -> str:
    """How a module is found to be wrong; nothing where it is not."""
    run = Interpreted(facts(name), text)
    for inputs, kind, parameters in calls(name):
        try:
            found = run(inputs, parameters, tile=8)
        except Failed as error:
            return f"{error.kind}: {error.message}"
        found_ = found if len(found) > 1 else found[0]
        verdict = judge(facts(name), inputs, parameters, found_, matrix_type=kind)
        if not verdict.ok:
            return f"the bound: {verdict.ratio:.3g}"
    return ""


@cache
def outcomes(fault: Any) -> list[tuple[str, str]]:
    """Each place of a fault, and how it was noticed."""
    return [
        (f"{name}: {place}", noticed(name, text))
        for name in NAMES
        for place, text in faulty(kernel(name).text, fault, MOST)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_fault_nothing_is_noticed(name: str) -> None:
    assert noticed(name, kernel(name).text) == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_faults_are_noticed(fault: Any) -> None:
    found = outcomes(fault)
    assert found, "it is possible nowhere"
    missed = [place for place, how in found if not how]
    assert not missed


# Quotients of what may be negative

SHIFTED = """cascade shifted(A[N], by: int = 3) -> O[N]:
    O[n] = A[n] * ((n - by) // 2) + (n - by) % 4
"""


def truncated(node: ast.AST) -> ast.AST | None:
    """A quotient rounded to zero."""
    match node:
        case ast.Call(func=ast.Name(id="_floordiv"), args=[left, right]):
            return ast.BinOp(left, ast.FloorDiv(), right)
        case _:
            return None


def test_truncated_quotients_are_noticed() -> None:
    found = attnc.check(SHIFTED).select()
    run = interpreted(found)
    inputs = {"A": np.ones(9, np.float32)}
    expected = written(found, inputs, {})
    np.testing.assert_array_equal(run(inputs)[0], expected)
    ((_, text),) = faulty(run.text, truncated)
    assert not np.array_equal(Interpreted(found, text)(inputs)[0], expected)


def test_there_are_many_faults() -> None:
    """Places in which one is put."""
    assert sum(1 for f in FAULTS for n in NAMES for _ in faulty(kernel(n).text, f, MOST)) >= 40
