"""Kernels of the TVM backend on this machine, judged by the bound."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import attnc
from attnc.errors import SpecError
from attnc.modules import function_of
from tests import examples
from tests.acceptance.judge import judge
from tests.agreement import NARROW
from tests.built import Built, built
from tests.oracle.cascades import cascade_from, tolerance
from tests.oracle.cascades import inputs_for as small_inputs
from tests.test_acceptance import DOUBTFUL, narrowed
from tests.test_gallery import facts
from tests.test_tiled_acceptance import VAGUE
from tests.test_triton import LAYOUTS, cases
from tests.tiled import outputs, written

ROOT = Path(__file__).parent.parent
KINDS = {"causal": "f64", "sigmoid": "bf16", "gqa": "f16", "alibi": "bf16", "entropy": "f64"}
"""The types in which some examples run, beside f32."""
PARTS = 2


def accepted(
    run: Built, name: str, kind: str, tile: int | None, *, few: bool | None = None
) -> None:
    """Asserts that the bound accepts a case of an example."""
    wanted = 1 if tile is None else 2
    for label, given, parameters in list(cases(name, wanted))[-1:]:
        inputs = narrowed(facts(name), dict(given), kind)
        limit = DOUBTFUL.get(name, 0.02)
        if kind != "f32":
            limit = max(limit, VAGUE.get((name, label), 0))
        found = run(inputs, parameters, tile=tile, few=few)
        verdict = judge(
            facts(name),
            inputs,
            parameters,
            found if len(found) > 1 else found[0],
            matrix_type=kind,
            tiles=None,
            undecided=limit,
        )
        assert verdict.ok, f"{label} {kind} {tile}: {verdict}"


@pytest.mark.parametrize("name", examples.NAMES)
def test_examples_are_accepted(name: str) -> None:
    """In f32, at factor 1, in small tiles, so that loops go round; half by kernels for few rows."""
    accepted(built(facts(name)), name, "f32", 4, few=examples.NAMES.index(name) % 2 == 1)


@pytest.mark.parametrize("name", KINDS)
def test_types(name: str) -> None:
    """In the tiles that a call chooses."""
    accepted(built(facts(name)), name, KINDS[name], None)


def test_stores_of_8_bits() -> None:
    """To the nearest, ties to even, as NumPy's: all numbers, halves between, and what is beyond."""
    kinds = {"f8e4m3": ml_dtypes.float8_e4m3fn, "f8e5m2": ml_dtypes.float8_e5m2}
    text = "cascade both(X[N]: f32) -> {}:\n    f8e4m3_[n] = X[n]\n    f8e5m2_[n] = X[n]\n"
    run = built(attnc.check(text.format(", ".join(f"{k}_[N]: {k}" for k in kinds))).select())
    every = [np.arange(256, dtype=np.uint8).view(k).astype(np.float32) for k in kinds.values()]
    ordered = np.unique(np.concatenate(every))
    rng = np.random.default_rng(0)
    drawn = 2.0 ** rng.uniform(-20, 18, 4000) * rng.choice([-1, 1], 4000)
    bits = rng.integers(0, 2**32, 4000, np.uint32).view(np.float32)
    between = (ordered[1:] + ordered[:-1]) / 2
    given = np.concatenate([*every, between, bits, drawn.astype(np.float32)])
    for found, kind in zip(run({"X": given}, {}), kinds.values(), strict=True):
        with np.errstate(all="ignore"):
            expected = given.astype(kind)
        number = ~np.isnan(expected.astype(np.float32))
        np.testing.assert_array_equal(np.isnan(found.astype(np.float32)), ~number)
        np.testing.assert_array_equal(found.view("u1")[number], expected.view("u1")[number])


RANDOM = """
cascade drawn(X[M], I[M]: i64, w: int = -3) -> Y[M], Z[M]:
    Y[m] = X[m] + random(m)
    Z[m] = X[m] + random(I[m], w, 1 - m * m)
"""


def test_random_numbers() -> None:
    """Bit for bit those of NumPy, by way of LLVM and of C; integers overflow there."""
    numbers = np.array([0, 1, -1, 2**63 - 1, -(2**63), 40, 41], np.int64)
    arrays = np.zeros(len(numbers), np.float32), numbers
    expected = function_of(attnc.compile(RANDOM), "drawn numpy")(*arrays)
    assert len(np.unique(expected)) == 2 * len(numbers)
    for target in ("llvm", "c"):
        text = attnc.compile(RANDOM, backend="tvm", target=target)
        np.testing.assert_array_equal(function_of(text, f"drawn {target}")(*arrays), expected)


WRONG_ONCE = (
    "Y[n] = 1 + X[n,0] * 0 where (X[n,0] >= X[n,0]) < (X[n,1] > n)",
    "Y[n] = f64(sum[m](cumprod[m](I[n,m] % 3)))",
    "Y[n] = f64(argmax[f](f * n))",
    "Y[n] = min((n * N) * b, X[n,0])",
    "Y[n] = prod[m](X[n,m] + 1)",
    "Y[n] = f64(sum[m](2 | m))",
    "Y[n] = sum[m](cumprod[m](X[n,m] - 1))",
    "Y[n] = X[n,0] where ~(false | true)",
    "Y[-1] = 0.5\n    Y[n] = 0.5 * Y[n - 1] + X[n,n - n]",
    "Y[n] = f64(sum[m](i64(X[n,m] <= 0)))",
    "Y[n] = X[n,0] where not ((n < w) ^ flag) != (X[n,0] < 1)",
    "Y[n] = A[f,n] * X[I[n,0],f]",
)
"""Conditions that are ordered, or numbers; integers in vectors; places that cancel; rows of which
each row of the program has its own."""


def test_what_was_wrong_once() -> None:
    """Small cascades in tiles of two, so that loops go round: what they say."""
    rng = np.random.default_rng(0)
    inputs = {"X": rng.standard_normal((5, 6)), "I": rng.integers(-4, 5, (5, 6))}
    inputs["A"] = np.zeros((6, 5))
    head = "cascade c(X[N,M]: f64, I[N,M]: i64, A[F,N]: f64, w: int = 5, b: float = -0.5,"
    head += " flag: bool = true) -> Y[N]: f64 empty -1:"
    for body in WRONG_ONCE:
        text = f"{head}\n    {body}\n"
        (expected,) = outputs(written(attnc.check(text).select(), inputs, {}))
        (found,) = built(attnc.check(text).select())(inputs, {}, tile=2)
        np.testing.assert_allclose(found, expected, 1e-6, 1e-6, err_msg=body)


NAN = """
cascade odd(X[M,N], Y[M]) -> A[M]: bool, B[M,N]: bool, C[M]: i64, D[M]: i64, E[M]: i64 empty -1:
    A[m] = Y[m] != 1 or bool(X[m,0])
    B[m,n] = X[m,n] != X[m,n]
    C[m] = argmax[n](X[m,n])
    D[m] = argmin[n](X[m,n])
    E[m] = count[n](X[m,n] != Y[m] != X[m,0])
"""


@pytest.mark.parametrize("target", ["llvm", "c"])
def test_nan_differs(target: str) -> None:
    """From all numbers, and from itself; it is the extreme, and the first one is."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(-4, 5, (9, 40)) / 4, np.ones(9)
    x[rng.random(x.shape) < 0.1] = np.nan
    y[::2] = np.nan
    x[:4, 0], x[:2, 1] = 0, np.nan
    expected = function_of(attnc.compile(NAN), "odd numpy")(x, y)
    text = attnc.compile(NAN, backend="tvm", target=target)
    for found, wanted in zip(function_of(text, f"odd {target}")(x, y), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_functions_of_functions() -> None:
    """Each is read from a place: TVM would write one out at each step of the other, and take
    minutes for three."""
    text = "cascade c(X[N]: f32) -> Y[N]: f32:\n    Y[n] = log(2 - log(3 + log(X[n] + 4)))\n"
    run = built(attnc.check(text).select())
    assert "] = _log2(" in run.text
    assert "T.let = _log2(" not in run.text
    given = np.linspace(-1, 50, 70, dtype=np.float32)
    (found,) = run({"X": given}, {})
    with np.errstate(invalid="ignore"):
        expected = np.log(2 - np.log(3 + np.log(given.astype(np.float64) + 4)))
    np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("types", ["f32 - -", "f64 - -", "- f32 f32", "- f64 f32", "f32 f32 f32"])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_products_of_two_types(types: str, kind: str) -> None:
    """Tensors that declare their type beside others, in a kernel of either; few rows, too."""
    q, k, v = ("" if t == "-" else f": {t}" for t in types.split())
    text = f"""cascade c(Q[M,E]{q}, K[N,E]{k}, V[N,F]{v}) -> O[M,F]: f64:
    S[m,n] = Q[m,e] * K[n,e] where n <= m + 30
    O[m,f] = softmax[n](S[m,n]) * V[n,f]
"""
    facts_ = attnc.check(text).select()
    rng = np.random.default_rng(0)
    shapes = {"Q": (37, 8), "K": (70, 8), "V": (70, 6)}
    inputs = {
        i.name: rng.standard_normal(shapes[i.name]).astype(
            (i.element or kind).replace("f", "float")
        )
        for i in facts_.cascade.inputs
    }
    (expected,) = outputs(written(facts_, inputs, {}))
    for few in (False, True):
        (found,) = built(facts_)(inputs, {}, few=few)
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def test_softplus() -> None:
    """Within 3 units in the last place, and soon built: it was written out as a logarithm of an
    exponential, for which TVM took 3 seconds."""
    text = "cascade c(X[N]) -> Y[N], Z[N]:\n    Y[n] = {}(X[n])\n    Z[n] = 2 * Y[n]\n"
    beside, run = (built(attnc.check(text.format(f)).select()) for f in ("tanh", "softplus"))
    for kind in (np.float32, np.float64):
        given = np.concatenate([np.linspace(-85, 90, 9001), [0, np.inf, -np.inf]]).astype(kind)
        beside({"X": given}, {})  # what is done once
        before = time.process_time()
        found, _ = run({"X": given}, {})
        assert time.process_time() - before < 1
        wide = given.astype(np.longdouble)
        with np.errstate(over="ignore"):
            expected = np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide)))
        finite = np.isfinite(wide)
        np.testing.assert_array_equal(found[~finite], [np.inf, 0])
        unit = np.spacing(expected[finite].astype(kind))
        assert np.max(np.abs(found[finite] - expected[finite]) / unit) < 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    """Any strides: the results are those of the same elements in order, bit for bit."""
    run = built(facts("causal"))
    (_, given, parameters), *_ = cases("causal", 1)
    inputs = narrowed(facts("causal"), dict(given), "f32")
    (plain,) = run(inputs, parameters)
    (found,) = run({n: LAYOUTS[layout](a) for n, a in inputs.items()}, parameters)
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_cascades(part: int, request: pytest.FixtureRequest) -> None:
    """A random cascade computes what the text says; few are refused."""
    found: Counter[str] = Counter()
    for seed in range(part, int(request.config.getoption("--kernels")), PARTS):
        text = cascade_from(np.random.default_rng(seed))
        cascade = attnc.check(text).select()
        found["all"] += 1
        try:
            run = built(cascade)
        except SpecError as error:
            found["refused" if "cannot do this yet" in str(error) else "wrong"] += 1
            continue
        inputs, parameters = small_inputs(cascade, np.random.default_rng(seed), nonfinite=False)
        for item in cascade.cascade.inputs:
            if item.element in NARROW:
                inputs[item.name] = inputs[item.name].astype(NARROW[item.element])
        try:
            expected = outputs(written(cascade, inputs, parameters))
        except ValueError:
            continue
        if not all(np.all(np.isfinite(x.astype(np.float64))) for x in expected):
            continue
        allowed = tolerance(cascade)
        got = run(inputs, parameters, tile=(None, 2, 4)[seed % 3])
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(
                a.astype(np.float64),
                b.astype(np.float64),
                allowed,
                allowed,
                err_msg=f"{seed}\n{text}",
            )
        found["same"] += 1
    assert found["wrong"] == 0
    assert found["same"] > 0.5 * found["all"]
    assert found["refused"] < 0.1 * found["all"] + 2


THREADS = """
import os, signal, sys, threading, time, numpy as np
folder, count, library = sys.argv[1:]
os.environ["TVM_NUM_THREADS"] = count
sys.path.insert(0, folder)
rng = np.random.default_rng(3)
tensors = [rng.standard_normal((2, 3, n, 16), np.float32) for n in (70, 90, 90)]
if library == "torch":
    import torch, tvm
    torch.set_num_threads(int(count))
    tensors = list(map(torch.from_numpy, tensors))
import kernel
run = lambda: np.asarray(kernel.causal(*tensors))
threads = lambda: len(os.listdir("/proc/self/task"))
before = threads()
def more(most):
    # threads more than before, once those are gone that built kernels, which take a moment
    end = time.monotonic() + 5
    while library == "torch" and threads() - before > most and time.monotonic() < end:
        time.sleep(0.01)
    return threads() - before
kernel.causal(tensors[0][:, :, :4], *tensors[1:])
alone = more(0)  # for there was little to do
found = run()
assert np.array_equal(run(), found), "a second call"
grown = more(int(count) - 1)
sys.stdout.buffer.write(found.tobytes())
assert "launcher" in kernel._KNOWN
assert (kernel._launcher() is not None) == (library == "torch"), "whose threads"
assert kernel._workers() == int(count)
if library == "numpy":
    begin = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - begin < 0.02, "threads that wait take a core"
else:
    assert (alone, grown) == (0, int(count) - 1), f"{alone}, {grown} threads more"
    same = []
    each = [threading.Thread(target=lambda: same.append(np.array_equal(run(), found)))
            for _ in range(3)]
    [one.start() for one in each]
    [one.join() for one in each]
    assert same == [True] * 3, "several threads that call"
child = os.fork()
if not child:
    signal.alarm(60)  # a process that waits for threads of another one would wait forever
    same = np.array_equal(run(), found)
    os._exit(0 if same else 1)
assert os.waitpid(child, 0)[1] == 0, "a process that was forked"
"""


def test_any_number_of_threads_gives_the_same_bits(tmp_path: Path) -> None:
    """In a process that was forked, too; threads that wait are asleep, or are those of torch."""
    (tmp_path / "kernel.py").write_text(built(facts("causal")).text)
    kept = {"PATH": os.environ["PATH"], "ATTNC_CACHE": str(tmp_path / "kept")}

    def bits(count: str, library: str) -> bytes:
        command = [sys.executable, "-c", THREADS, str(tmp_path), count, library]
        return subprocess.run(command, env=kept, stdout=subprocess.PIPE, check=True).stdout

    found = {bits(count, "numpy") for count in "12"}
    found |= {bits(count, "torch") for count in "14"}
    assert len(found) == 1
    assert all(len(bits) == 2 * 3 * 70 * 16 * 4 for bits in found)


def test_names_that_c_has() -> None:
    """Values and parameters may be called as types and words of C are, or as macros."""
    words = ("half", "signed", "linux", "int32_t", "M_PI")
    for word in words:
        where = "K * 2" if word.isupper() else "K * 0.5"
        text = f"cascade c(X[M], K: int) -> Y[M]:\n    {word} = {where}\n    Y[m] = X[m] * {word}\n"
        function = function_of(attnc.compile(text, backend="tvm", target="c"), f"c {word}")
        found = function(np.arange(3, dtype=np.float32), K=6)
        np.testing.assert_array_equal(found, np.arange(3) * (12 if word.isupper() else 3))
