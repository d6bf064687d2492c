"""Kernels for TVM are read as TVM reads them itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import attnc
from attnc.modules import module_of
from tests.support import ROOT

tvm = pytest.importorskip("tvm")
ffi = pytest.importorskip("tvm_ffi")

SIZES = {"TYPE": "bfloat16", "FLOAT": "float32", "LANES": 16, "PAIRS": True, "DENSE": True}
READ = "@_read"
APART = re.compile(r"_apart\((T\.serial\(.*?\)), native\)")
"""Loops that are functions apart, where kernels are built in parts."""


def _functions(text: str, name: str) -> Iterator[Any]:
    """The kernels of a module, as TVM has them, for some sizes."""
    module = module_of(text, f"reading_{name}")
    module._imported()
    for key, build in vars(module).items():
        if key.removeprefix("_k").removeprefix("_few").isdigit():
            given = list(inspect.signature(build).parameters)
            yield build(*(SIZES.get(n, 32) for n in given))


@pytest.mark.parametrize("name", ["sliding_window_sinks", "delta_rule"])
def test_what_is_read_is_what_tvm_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # TVM's places for numbers ask for memory, ours are registers.
    builder = pytest.importorskip("tvm.tirx.script.builder")
    monkeypatch.setattr(builder, "local_scalar", builder.alloc_scalar)
    path = ROOT / "examples" / f"{name}.attn"
    text = attnc.compile(path.read_text(encoding="utf-8"), backend="tvm")
    assert READ in text
    own = list(_functions(text, name))
    plain = APART.sub(r"\1", text).replace(READ, "@T.prim_func")
    theirs = list(_functions(plain, f"{name}_tvm"))
    assert len(own) == len(theirs) > 0
    assert all(map(ffi.structural_equal, own, theirs))
    wrong = list(_functions(text.replace("turn[0] < B", "turn[0] <= B", 1), f"{name}_wrong"))
    assert not all(map(ffi.structural_equal, wrong, theirs)), "a fault is not seen"


def test_what_kernels_do_not_say_is_refused() -> None:
    """A statement of another kind, and a name that is assigned without a place of its own."""
    path = ROOT / "examples" / "dense.attn"
    text = attnc.compile(path.read_text(encoding="utf-8"), backend="tvm")
    begin = "        turns = T.alloc_buffer("
    for line in ("assert B == 1", "place = B + 1"):
        wrong = text.replace(begin, f"        {line}\n{begin}", 1)
        with pytest.raises(TypeError, match=r"no such statement|no buffer"):
            list(_functions(wrong, line[:5]))
