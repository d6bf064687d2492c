"""Emitted kernels on devices that are not there: they build, fit, do not spill, use matrix units.

Seeded faults: tiles chosen without counting registers, larger tiles first, strides as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from attnc.backends.triton.disassembly import matrix, widths
from attnc.backends.triton.inspect import TARGETS, Launch, Report
from tests import compiled, examples
from tests.compiled import key, launches, meta, module, text_of, tiles
from tests.test_gallery import facts

pytestmark = compiled.COMPILED

MATRIX = {"cuda:80": "mma", "cuda:90": "wgmma", "cuda:100": "tcgen05", "hip:gfx942": "mfma"}
PLAIN = ("dense", "causal", "gqa_causal")
"""Of these a warp has 1,024 scores or more (heads up to 128), nothing is spilt, loads are wide."""
SPILT = {("causal", 128, "cuda:80"): 44, ("gqa_causal", 128, "cuda:80"): 68}
"""Bytes that are spilt none the less, around the two loops: never in them."""
SPILLS = ("STL", "LDL", "scratch_")
"""How the instructions begin that store registers and load them."""
SOME = [
    *(("causal", head, target) for head in (64, 128) for target in TARGETS),
    *(("dense", 128, "cuda:100"), ("gqa_causal", 128, "cuda:90"), ("gqa_causal", 128, "cuda:80")),
    *(("entropy", 64, "cuda:90"), ("differential", 64, "cuda:90"), ("rotary", 64, "cuda:100")),
    *(("packed_documents", 64, "cuda:90"), ("paged_decode", 64, "cuda:80")),
    ("quantised", 64, "cuda:90"),
]
SLOW = frozenset({"nystrom", "native_sparse", "cope"})
"""Examples whose kernels take minutes to compile, and are left to `make devices`."""
EVERY = [
    (name, head, target)
    for name in examples.NAMES
    if name not in SLOW
    for head in (64, 128)
    for target in TARGETS
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = EVERY if metafunc.config.getoption("--devices") == "all" else SOME
        metafunc.parametrize("case", cases, ids=lambda c: " ".join(map(str, c)))


def called(name: str, head: int, target: str, text: str | None = None) -> list[Launch]:
    cascade = facts(name).cascade
    required = {
        p.name: 4 if p.type == "int" else 0.5 for p in cascade.parameters if p.default is None
    }
    return launches(name, meta(name, head, "bfloat16"), target, text, **required)


def only(name: str, head: int, target: str, text: str | None = None) -> Launch:
    (launch,) = called(name, head, target, text)
    return launch


# What is compiled


def test_kernels(case: tuple[str, int, str]) -> None:
    name, _, target = case
    for launch in called(*case):
        report = launch.compiled(target)
        assert report.fits, report.shared
        if name in PLAIN:
            assert plain(case, launch, report) == []
        if case in SOME and "tl.dot(" in launch.kernel.src:
            assert matrix(report.inner), report.matrix


def plain(case: tuple[str, int, str], launch: Launch, report: Report) -> list[str]:
    """What is wrong with a kernel of plain attention."""
    _, _, target = case
    rows, others = (n for axis, n in tiles(launch).items() if axis not in "EF")
    wrong = {
        "small tiles": rows * others < 1024 * launch.warps or others < 64,
        "spills": report.spills > SPILT.get(case, 0),
        "spills in a loop": any(n.startswith(SPILLS) for loop in report.loops for n in loop),
        "one loop": len(report.loops) != 2,  # through partial tiles, and through full ones
        "no matrix unit": any(matrix(p).get(MATRIX[target], 0) == 0 for p in report.loops),
        "another matrix unit": set(report.matrix) != {MATRIX[target]},
        "narrow loads": set(report.loads) != {16},
    }
    return [what for what, is_so in wrong.items() if is_so]


def test_head_sizes_between() -> None:
    """Of 72: rows of 144 bytes are loaded 16 at once, too."""
    launch = only("causal", 72, "cuda:90")
    assert [launch.arguments[n] for n in ("Q_by", "K_by", "V_by", "O_by")] == [8, 8, 8, 8]
    assert plain(("causal", 72, "cuda:90"), launch, launch.compiled("cuda:90")) == []


def test_widths_of_loads() -> None:
    """A cache's hint is no width; what is stored is not loaded."""
    sass = """
        /*0000*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0010*/              @!P0 LDGSTS.E.BYPASS.LTC128B.64 [R2], desc[UR4][R2.64] ;
        /*0020*/                   LDG.E R4, desc[UR4][R2.64] ;
        /*0030*/                   LDG.E.U16.CONSTANT R4, desc[UR4][R2.64] ;
        /*0040*/                   STG.E.128 desc[UR4][R2.64], R4 ;
    """
    assert widths(sass) == {16: 1, 8: 1, 4: 1, 2: 1}
    amd = "\tglobal_load_dwordx4 v[0:3], v4, s[0:1]\n\tbuffer_load_ushort v1, off ; x4\n"
    assert widths(amd + "\tglobal_store_dwordx4 v[0:3]\n\ts_load_dwordx4 s[0:3]\n") == {16: 1, 2: 1}


# Nothing is compiled anew


def keys(name: str, target: str, *calls: tuple[dict[str, int], dict[str, Any]]) -> set[str]:
    """The kernels that calls need, with such sizes and parameters."""
    return {
        key(launch, target)
        for sizes, parameters in calls
        for launch in launches(name, meta(name, 64, "bfloat16", **sizes), target, **parameters)
    }


@pytest.mark.parametrize("target", TARGETS)
def test_lengths_compile_nothing(target: str) -> None:
    """From a tile on, all lengths, batches and heads share a kernel, 1 and multiples of 16 too.

    AMD devices take tensors of 2 GiB for others.
    """
    lengths = [(128, 64), (1000, 1003), (1024, 4096), (4097, 65), (1 << 19, 1 << 18)]
    calls = [({"M": m, "N": n}, {}) for m, n in lengths]
    calls += [({"B": b, "H": h}, {}) for b, h in ((1, 1), (16, 3), (1, 64))]
    assert len(keys("causal", target, *calls)) == 1
    larger = len(keys("causal", target, *calls, ({"M": 1 << 21}, {})))
    assert larger == (2 if target.startswith("hip") else 1)


def test_parameters_compile_nothing() -> None:
    calls = [({"M": m}, {"window": w, "sinks": s}) for m in (128, 999) for w in (1, 16, 4095)
             for s in (0, 1, 16)]  # fmt: skip
    assert len(keys("sliding_window_sinks", "cuda:90", *calls)) == 1
    pages = [({"C": c, "P": p}, {}) for c, p in ((64, 128), (100, 1), (1024, 4096))]
    assert len(keys("paged_decode", "cuda:90", *pages)) == 1
    bases = [({}, {"base": base}) for base in (1.0, 1e4, 5e5)]
    assert keys("rotary", "cuda:90", *bases) == keys("rotary", "cuda:90", bases[0])


def test_strides_compile_nothing() -> None:
    """Rows of other tensors, heads inside and outside; another alignment is another kernel."""

    def found(*views: Callable[[torch.Tensor], torch.Tensor]) -> set[str]:
        inputs = [[v(x) for x in meta("causal", 64, "bfloat16")] for v in views]
        return {key(x, "cuda:90") for given in inputs for x in launches("causal", given, "cuda:90")}

    def inside(x: torch.Tensor) -> torch.Tensor:
        b, h, n, e = x.shape
        return torch.empty(b, n, h, e, dtype=x.dtype, device="meta").transpose(1, 2)

    def part(columns: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: torch.empty(*x.shape[:-1], columns, dtype=x.dtype, device="meta")[..., :64]

    assert len(found(lambda x: x, inside, part(192), part(80), part(16 * 1001))) == 1
    assert len(found(lambda x: x, part(72))) == 2
    assert len(found(part(72), part(88))) == 1


def test_short_lengths_share_kernels() -> None:
    """Below a tile, lengths share kernels by powers of two."""
    calls = [({"M": m, "N": n}, {}) for m in range(1, 130, 3) for n in range(1, 70, 3)]
    assert len(keys("causal", "cuda:90", *calls)) <= 4 * 3


# Everything fits

HEADS = (1, 3, 16, 64, 72, 80, 96, 128, 192, 256, 257, 512, 576)
TYPES = ("float16", "bfloat16", "float32", "float64")


def refusal(name: str, head: int, dtype: str, target: str) -> str | None:
    """Why a call is refused; fails if it is launched with tiles that do not fit."""
    own = module(text_of(name))
    asked: list[int] = []
    real = own._fitting

    def fitting(target: str, dtype: torch.dtype, *counts: int) -> int:
        found: int = real(target, dtype, *counts)
        once, rounds = counts[-2:]
        if found:  # on AMD devices a round of operands at a time
            held = rounds if target.startswith("hip") else once + found * rounds
            asked.append(dtype.itemsize * held)
        return found

    own._fitting = fitting
    try:
        found = launches(name, meta(name, head, dtype), target)
    except ValueError as error:
        return str(error)
    finally:
        own._fitting = real
    assert len(asked) == len(found) == 1
    assert asked[0] <= TARGETS[target]
    assert np.prod(sorted(tiles(found[0]).values())[-2:]) <= 1 << 20
    return None


@pytest.mark.parametrize("name", ["dense", "entropy", "differential"])
def test_what_is_chosen_fits(name: str) -> None:
    """Or it is refused before a launch, by name; never up to 128, nor in 16 bits up to 512."""
    for head in HEADS:
        for dtype in TYPES:
            for target in TARGETS:
                found = refusal(name, head, dtype, target)
                if found is not None:
                    rank = "e of" if f"e of {head}" in found else "f of"
                    assert f"{rank} {head}" in found
                    assert f"do not fit on {target}" in found
                    wide = dtype in ("float32", "float64")
                    assert head > (128 if wide else 512), (head, dtype, target)
                    assert target.startswith("hip") or head > 256


@pytest.mark.parametrize(
    ("name", "head", "dtype", "target"),
    [
        ("dense", 3, "float32", "cuda:80"),
        ("dense", 192, "bfloat16", "hip:gfx942"),
        ("dense", 256, "float32", "cuda:80"),
        ("differential", 256, "bfloat16", "cuda:90"),
        ("entropy", 512, "float16", "cuda:80"),
        ("dense", 576, "float16", "cuda:90"),
    ],
)
def test_what_is_compiled_fits(name: str, head: int, dtype: str, target: str) -> None:
    (launch,) = launches(name, meta(name, head, dtype), target)
    report = launch.compiled(target)
    assert report.fits, report.shared


# Faults


def without_registers(text: str) -> str:
    """A module that does not count registers."""
    changed = text.replace("    if rows > 16 and lanes * wide >", "    if False and lanes * wide >")
    assert changed != text
    return changed


def larger_first(text: str) -> str:
    """A module that tries tiles first which are too large for so few warps."""
    changed = text.replace("in (\n        (128, 64, 4, 4),", "in (\n        (128, 128, 4, 1),")
    assert changed != text
    return changed


def undivided(text: str) -> str:
    """A module that passes strides as they are."""
    changed = re.sub(r"    factor = next\(.*", "    factor = 1", text)
    assert changed != text
    return changed


@cache
def faults(change: Callable[[str], str], head: int) -> list[str]:
    launch = only("causal", head, "cuda:90", change(text_of("causal")))
    return plain(("causal", head, "cuda:90"), launch, launch.compiled("cuda:90"))


def test_fault_of_registers() -> None:
    """What is counted refuses such tiles; without, they spill."""
    launch = only("causal", 64, "cuda:90", larger_first(text_of("causal")))
    assert tiles(launch) == tiles(only("causal", 64, "cuda:90"))
    wrong = faults(lambda t: without_registers(larger_first(t)), 128)
    assert wrong == ["spills", "spills in a loop"]


def test_fault_of_strides() -> None:
    assert "narrow loads" in faults(undivided, 64)


def test_fault_of_factors() -> None:
    """Rows that are not held whole are loaded by single elements, unless they end evenly."""
    text = text_of("sigmoid")
    changed = text.replace("return 16 if size % 16 == 0 else 1", "return 1")
    assert changed != text
    found = [
        {*only("sigmoid", 64, "cuda:90", t).compiled("cuda:90").loads} for t in (text, changed)
    ]
    assert found == [{16}, {2, 16}]


def test_fault_of_specialisation() -> None:
    """An argument that is looked at makes a kernel for each kind of length."""
    text, count = re.subn(r'"M",\s+"N", "H",', '"H",', text_of("causal"), count=1)
    assert count == 1
    inputs = [meta("causal", 64, "bfloat16", M=m, N=n) for m, n in ((1000, 1003), (1024, 4096))]
    found = {key(x, "cuda:90") for i in inputs for x in launches("causal", i, "cuda:90", text)}
    assert len(found) == 2


def test_fault_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is seen."""
    monkeypatch.setattr(module(text_of("dense")), "_SHARED", dict.fromkeys(TARGETS, 1 << 20))
    with pytest.raises(AssertionError):
        refusal("dense", 576, "float64", "cuda:80")
