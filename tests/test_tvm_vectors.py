"""Functions that LLVM's text computes by vectors: how exact they are, at any number of lanes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnc
from attnc.modules import function_of

WIDE = np.finfo(np.longdouble).precision > np.finfo(np.float64).precision
EXACT: dict[str, Callable[[Any], Any]] = {
    "sin": np.sin,
    "cos": np.cos,
    "log": np.log,
    "log2": np.log2,
    "exp2": np.exp2,
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept: functions are built from their text."""
    monkeypatch.setenv("ATTNC_CACHE", "off")


def built(value: str, kind: str, name: str) -> Any:
    """A function of each element."""
    mark = ": f64" if kind == "f8" else ""
    spec = f"cascade f(X[B,N]{mark}) -> O[B,N]{mark}:\n    O[b,n] = {value}\n"
    return function_of(attnc.compile(spec, backend="tvm"), f"tvm_vectors_{name}")


def off(function: Any, exact: Callable[[Any], Any], x: Any) -> float:
    """By how many units in the last place results are off at most."""
    want = exact(x.astype(np.longdouble))
    unit = np.spacing(np.abs(want).astype(x.dtype)).astype(np.longdouble)
    return float(np.max(np.abs(function(x).astype(np.longdouble) - want) / unit))


def numbers(name: str, kind: str) -> Any:
    """Numbers for a function, near to what is hard, and far."""
    rng = np.random.default_rng(3)
    if name in ("sin", "cos"):
        quarters = np.round(rng.uniform(-(2**19), 2**19, 2_000)) * (np.pi / 2)
        many = [rng.uniform(-r, r, 4_000) for r in (1.0, 1e3, 1e6, 1e9)]
    elif name == "exp2":
        quarters = rng.uniform(-126, 128, 2_000)
        many = [rng.uniform(-r, r, 4_000) for r in (1e-3, 1.0, 30.0)]
    else:
        quarters = 1 + rng.uniform(-1e-9, 1e-9, 2_000)
        many = [rng.uniform(0.5, 2, 4_000), rng.uniform(0.99, 1.01, 4_000)]
        many += [2.0 ** rng.uniform(-120, 120, 4_000)]
    return np.concatenate([quarters, *many])[:9_984].reshape(-1, 64).astype(kind)


@pytest.mark.skipif(not WIDE, reason="numbers of more than 64 bits are those of 64 here")
@pytest.mark.parametrize(
    ("name", "kind", "most"),
    [
        ("sin", "f8", 0.85),
        ("cos", "f8", 0.85),
        ("log", "f8", 0.85),
        ("log2", "f8", 0.85),
        ("sin", "f4", 0.51),
        ("cos", "f4", 0.51),
        ("exp2", "f4", 0.96),
    ],
)
def test_how_exact(name: str, kind: str, most: float) -> None:
    function = built(f"{name}(X[b,n])", kind, f"{name}_{kind}")
    assert off(function, EXACT[name], numbers(name, kind)) <= most


@pytest.mark.skipif(not WIDE, reason="numbers of more than 64 bits are those of 64 here")
@pytest.mark.parametrize(
    ("name", "kind", "where"),
    [("sin", "f8", "_SINE"), ("cos", "f8", "_COSINE"), ("log2", "f8", "_LOGARITHM")],
)
def test_a_wrong_digit_is_seen(name: str, kind: str, where: str) -> None:
    function = built(f"{name}(X[b,n])", kind, f"wrong_{name}")
    space = function.__globals__
    first, *others = space[where]
    space[where] = (first * 1.001, *others)
    assert off(function, EXACT[name], numbers(name, kind)) > 1


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("name", EXACT)
def test_what_is_no_usual_number(name: str, kind: str) -> None:
    """Zeros keep their sign; infinities, NaN, what is tiny or large, and numbers beside them."""
    tiny = np.finfo(kind).smallest_subnormal
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 1e30, -1e30, 2.0**20, -1.0, 0.5]
    x = np.array([[*odd, 0.25, -0.25, 3.0, 8.0]] * 5).astype(kind)
    with np.errstate(all="ignore"):
        want = EXACT[name](x)
    found = built(f"{name}(X[b,n])", kind, f"odd_{name}_{kind}")(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(want[known]))
    np.testing.assert_allclose(found, want, 4 * np.finfo(kind).eps, tiny)


def test_powers_of_two_are_exact() -> None:
    powers = np.arange(-1022, 1023)[:2044].reshape(-1, 28)
    function = built("log2(X[b,n])", "f8", "powers")
    np.testing.assert_array_equal(function(2.0**powers), powers)


def test_what_exp2_gives_is_exact_where_it_is_tiny() -> None:
    x = np.arange(-151, 129, dtype="f4").reshape(-1, 28)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            built("exp2(X[b,n])", "f4", "tiny")(x)[1:], np.exp2(x.astype("f8")).astype("f4")[1:]
        )


@pytest.mark.parametrize("lanes", [1, 2, 5, 8, 17, 40, 64, 100])
def test_any_number_of_lanes(lanes: int) -> None:
    """Rows that fill no vector, and more than one."""
    x = np.random.default_rng(lanes).normal(size=(lanes, 3)).astype("f4")
    value = "exp2(X[b,n]) + sin(3 * X[b,n]) + random(5, b, n)"
    spec = f"cascade f(X[B,N]) -> O[B,N]:\n    O[b,n] = {value}\n"
    want = function_of(attnc.compile(spec), f"vectors_numpy_{lanes}")
    found = function_of(attnc.compile(spec, backend="tvm"), f"vectors_lanes_{lanes}")
    for given in (x, np.ascontiguousarray(x.T)):
        np.testing.assert_allclose(found(given), want(given), 1e-5, 1e-6)


def test_random_bits_are_those_of_all_backends() -> None:
    spec = "cascade f(X[B,N], seed: int = 3) -> O[B,N]:\n    O[b,n] = X[b,n] + random(seed, b, n)\n"
    x = np.zeros((70, 33), "f4")
    want = function_of(attnc.compile(spec), "vectors_random")(x)
    found = function_of(attnc.compile(spec, backend="tvm"), "vectors_random_tvm")(x)
    np.testing.assert_array_equal(found, want)


def test_lanes_go_by_vectors() -> None:
    """The loop is one over vectors, and LLVM's function is called for vectors."""
    text = attnc.compile(
        "cascade f(X[B,N]) -> O[B]:\n    O[b] = sum[n](cos(X[b,n]))\n", backend="tvm"
    )
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if "_cos(" in line)
    assert any("_each(" in line for line in lines[at - 3 : at])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="words of x86")
def test_machines_without_the_instructions(tmp_path: Any) -> None:
    """What is built for them has none of these, and kernels are the same otherwise."""
    spec = "cascade f(X[B,N]) -> O[B]:\n    O[b] = logsumexp[n](X[b,n])\n"
    for mcpu, known in (("x86-64-v3", False), ("x86-64-v4", True)):
        text = attnc.compile(spec, backend="tvm", mcpu=mcpu)
        function = function_of(text, f"vectors_{mcpu.replace('-', '_')}")
        assert function.__globals__["_scales"]() is known
        assert ("scalef" in function.__globals__["_native_powers"]()) is known


def test_angles_and_logarithms_in_one_kernel() -> None:
    spec = "cascade f(X[B,N]) -> O[B,N]:\n    O[b,n] = log2(X[b,n]) + cos(X[b,n]) * log(X[b,n])\n"
    x = np.random.default_rng(1).uniform(0.1, 9, (70, 3)).astype("f4")
    want = function_of(attnc.compile(spec), "vectors_both")(x)
    np.testing.assert_allclose(
        function_of(attnc.compile(spec, backend="tvm"), "vectors_both_tvm")(x), want, 1e-5, 1e-6
    )
