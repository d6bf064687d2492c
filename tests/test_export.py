"""Kernels as libraries that programs in C call, for this machine and for others."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pytest

import attnc
import attnc.planning
from attnc import UsageError
from attnc.backends.tvm.export import entry
from attnc.backends.tvm.export.few import Rows, known_few
from attnc.cli import main
from attnc.ir.expr import Value
from attnc.ir.facts import Facts
from attnc.modules import function_of, module_of
from attnc.passes.tiling import merge
from tests.acceptance.judge import judge
from tests.exported import Program, missing, unit
from tests.support import ROOT
from tests.test_split import not_brought

SPEC: Final = ROOT / "examples" / "causal.attn"
CAUSAL: Final = SPEC.read_text()

SEVERAL: Final = """
cascade several(Q[B,H,M,E], K[B,H,N,E], V[B,H,N,F], cap: float = 30.0, window: int = 8,
                causal: bool = true) -> L[B,H,M], O[B,H,M,F], C[B,H,F]:
    require N >= M
    D = N - M
    S[b,h,m,n] = cap * tanh(sum[e](Q[b,h,m,e] * K[b,h,n,e]) / sqrt(E) / cap)
        where n > m + D - window, n <= m + D or not causal
    L[b,h,m] = max[n](S[b,h,m,n]) + log(sum[n](exp(S[b,h,m,n] - max[n](S[b,h,m,n]))))
    O[b,h,m,f] = exp(S[b,h,m,n] - L[b,h,m]) * V[b,h,n,f]
    C[b,h,f] = O[b,h,m,f] * L[b,h,m]
"""
"""Two kernels, with an output that the second one reads again; parameters and a requirement."""

SIZES: Final = {"B": 2, "H": 2, "M": 21}
"""Those that it is built for; rows are not few."""

POINTS: Final = 16
"""Keys of a piece in these tests."""

COMPILER: Final = missing("cc")
needs_c = pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))


def library(folder: Path, text: str, end: str, **choices: object) -> Program:
    """A program that calls what is exported of a spec, for a head size of 16."""
    sizes = {"E": 16, "F": 16, **choices.pop("sizes", {})}  # type: ignore[dict-item]
    name = attnc.check(text).select().cascade.name
    made, header = attnc.export(text, folder / f"lib{name}{end}", sizes=sizes, **choices)  # type: ignore[arg-type]
    assert header == made.with_suffix(".h")
    return Program(folder, name, made)


def arrays(m: int, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Queries, keys and values, two heads."""
    rng = np.random.default_rng(seed)
    shapes = {"Q": (2, 2, m, 16), "K": (2, 2, n, 16), "V": (2, 2, n, 16)}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def spread(array: np.ndarray, step: int = 1) -> np.ndarray:
    """The same elements, `step` apart: ranks 1 and 2 the other way round, and each row longer."""
    b, h, m, e = array.shape
    room = np.zeros((b, m, h, 2 * e), array.dtype)
    view = room.transpose(0, 2, 1, 3)[..., : step * e : step]
    view[...] = array
    return view


def checked(text: str) -> Facts:
    """The facts of a spec with one cascade."""
    return attnc.check(text).select()


def accepts(
    text: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, object], found: object
) -> bool:
    """Whether the bound accepts outputs."""
    verdict = judge(checked(text), inputs, parameters, found, matrix_type="f32", tiles=None)
    return verdict.ok


@needs_c
def test_c_calls_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query, some, and many; any strides, of outputs too; what is wrong is told."""
    monkeypatch.setattr(attnc.planning, "POINTS", POINTS)
    run = library(tmp_path, CAUSAL, ".so")
    for m, n in ((1, 40), (7, 9), (67, 67)):
        inputs = arrays(m, n)
        found = spread(np.zeros((2, 2, m, 16), np.float32))
        given = {**inputs, "K": spread(inputs["K"])}
        assert run(given, {"O": found}, (2, 2, m, 16, n, 16)) == 0
        assert accepts(CAUSAL, inputs, {}, found), (m, n)
        if m == 1:  # values are not read where they lie
            again = np.zeros((2, 2, m, 16), np.float32)
            far = {**given, "V": spread(inputs["V"], 2)}
            assert run(far, {"O": again}, (2, 2, m, 16, n, 16)) == 0
            np.testing.assert_array_equal(again, found)
    assert not accepts(CAUSAL, inputs, {}, 1.001 * found)
    out = {"O": np.zeros((2, 2, 67, 16), np.float32)}
    assert run({**inputs, "K": None}, out, (2, 2, 67, 16, 67, 16)) == 1
    assert run(inputs, out, (2, -2, 67, 16, 67, 16)) == 2
    assert run(inputs, out, (2, 2, 67, 8, 67, 16)) == 3
    for m in (67, 1):
        out = {"O": np.ones((2, 2, m, 16), np.float32)}
        given = {"Q": arrays(m, 0)["Q"], "K": None, "V": None}
        assert run(given, out, (2, 2, m, 16, 0, 16)) == 0
        assert not out["O"].any()


@needs_c
def test_a_call_chooses_kernels_by_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in how pieces are merged is seen where rows are few, and nowhere else."""
    monkeypatch.setattr(attnc.planning, "POINTS", POINTS)
    monkeypatch.setattr(merge.MergeBuilder, "_brought", not_brought)
    run = library(tmp_path, CAUSAL, ".so", sizes={"M": 12})
    for batches, right in ((1, False), (2, True)):
        inputs = {name: array[:batches] for name, array in arrays(12, 40).items()}
        found = np.zeros((batches, 2, 12, 16), np.float32)
        assert run(inputs, {"O": found}, (batches, 2, 12, 16, 40, 16)) == 0
        assert accepts(CAUSAL, inputs, {}, found) is right


def test_sizes_that_are_known_choose_kernels() -> None:
    """As a call would, by the rule of modules; what a call has to tell is left to it."""
    one = Rows(Value("M"), (Value("B"), Value("H")))
    two = Rows(Value("N"), ())
    for known, wanted in (
        ({}, None),
        ({"M": 8}, True),
        ({"M": 9, "B": 2}, None),
        ({"M": 9, "B": 2, "H": 1}, True),
        ({"M": 9, "B": 2, "H": 2}, False),
        ({"M": 65}, False),
    ):
        assert known_few((one,), known, 16) is wanted
    assert known_few((one, two), {"M": 8}, 16) is None
    assert known_few((one, two), {"N": 65}, 16) is False
    assert known_few((), {}, 16) is False


def several(run: Program) -> tuple[int, bool]:
    """What a call returns, and whether the results are right."""
    inputs = arrays(21, 37)
    shapes = {"L": (2, 2, 21), "O": (2, 2, 21, 16), "C": (2, 2, 16)}
    outputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    code = run(inputs, outputs, (2, 2, 21, 16, 37, 16, 2.5, 5, 0))
    parameters = {"cap": 2.5, "window": 5, "causal": False}
    return code, code == 0 and accepts(SEVERAL, inputs, parameters, tuple(outputs.values()))


@needs_c
def test_several_kernels_and_parameters(tmp_path: Path) -> None:
    run = library(tmp_path, SEVERAL, ".so", sizes=SIZES)
    assert several(run) == (0, True)
    header = run.library.with_suffix(".h").read_text()
    assert "#define SEVERAL_NO_REQUIRE_11 11 /* `require N >= M` does not hold */" in header
    inputs = arrays(21, 20)
    outputs = {n: np.zeros(1, np.float32) for n in "LOC"}
    assert run(inputs, outputs, (2, 2, 21, 16, 20, 16, 2.5, 5, 0)) == 11


@needs_c
def test_a_text_in_c(tmp_path: Path) -> None:
    """It compiles without a warning, and computes the same; floats are there with all digits."""
    run = library(tmp_path, SEVERAL, ".c", sizes=SIZES)
    assert several(run) == (0, True)


@needs_c
def test_numbers_of_a_range_in_c(tmp_path: Path) -> None:
    """What minima are of is read when they are computed, not when the same was read before."""
    text = (ROOT / "examples" / "neighbourhood_2d.attn").read_text()
    run = library(tmp_path, text, ".c", sizes={"B": 1, "H": 1, "Y": 4, "X": 5})
    rng = np.random.default_rng(1)
    inputs = {name: rng.standard_normal((1, 1, 4, 5, 16), np.float32) for name in "QKV"}
    found = np.zeros((1, 1, 4, 5, 16), np.float32)
    assert run(inputs, {"O": found}, (1, 1, 4, 5, 16, 16, 4, 2)) == 0
    assert accepts(text, inputs, {"rows": 4, "columns": 2}, found)


@needs_c
def test_kernels_by_way_of_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--target c`: a module as others are, which a compiler of C builds, for few rows, too.

    A fault in how the lanes of a vector are added up is seen there.
    """
    monkeypatch.setenv("ATTNC_CACHE", str(tmp_path))
    monkeypatch.setattr(attnc.planning, "POINTS", POINTS)
    text = attnc.compile(CAUSAL, backend="tvm", target="c")
    run = function_of(text, "causal in C")
    for m, built in ((37, 1), (2, 3)):
        inputs = arrays(m, 41)
        assert accepts(CAUSAL, inputs, {}, run(*inputs.values()))
        assert [path.suffix for path in tmp_path.iterdir()] == [".so"] * built
    fault = text.replace("row[lane] + row[lane + width]", "row[lane]")
    run = function_of(fault, "causal in C with a fault")
    assert not accepts(CAUSAL, inputs, {}, run(*inputs.values()))


def test_a_processor_is_chosen() -> None:
    """Its vectors and registers decide about kernels, not those of this machine."""
    for name, bits, sums in (("x86-64", 128, 8), ("x86-64-v3", 256, 8), ("x86-64-v4", 512, 16)):
        module = module_of(attnc.compile(CAUSAL, backend="tvm", mcpu=name), name)
        assert (module._vector("float32") * 32, module._sums()) == (bits, sums)
        assert f'"target": {{"mcpu": "{name}"}}' in attnc.compile(CAUSAL, backend="tvm", mcpu=name)
    with pytest.raises(UsageError, match="no processor of x86_64 is called 'znver9'; did you mean"):
        attnc.compile(CAUSAL, backend="tvm", mcpu="znver9")
    for choices in ({"backend": "triton"}, {"backend": "tvm", "target": "opencl"}):
        with pytest.raises(UsageError, match="mcpu is of the backend tvm and its target llvm"):
            attnc.compile(CAUSAL, mcpu="znver4", **choices)


@needs_c
def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers between kernels that lie upon each other."""
    monkeypatch.setattr(entry, "BYTES", {**entry.BYTES, "float32": 1})
    run = library(tmp_path, SEVERAL, ".so", sizes=SIZES)
    try:
        code, right = several(run)
    except AssertionError:  # the two threads differ
        return
    assert code or not right


OTHERS: Final = {
    "aarch64": (183, {"free", "memset", "posix_memalign", "pthread_create", "pthread_join"}),
    "riscv64": (243, {"free", "memset", "posix_memalign", "pthread_create", "pthread_join"}),
    "wasm32": ("wasm", {"free", "malloc"}),
}
"""The machines, as objects name them, and what they may lack."""


def test_objects_for_other_machines(tmp_path: Path) -> None:
    """Each has one function that others see, and lacks nothing but what is known."""
    for triple, (machine, lacking) in OTHERS.items():
        made, _ = attnc.export(
            CAUSAL, tmp_path / f"{triple}.o", triple=triple, sizes={"E": 16, "F": 16, "M": 1}
        )
        found = unit(made)
        assert found.machine == machine
        assert found.defined == {"causal"}
        assert found.undefined <= lacking | {"sysconf", "__tls_get_addr"}, triple


@needs_c
@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_other_machines_run(machine: str, tmp_path: Path) -> None:
    tools = f"{machine}-linux-gnu-gcc", f"qemu-{machine}"
    lacking = missing(*tools)
    if lacking is not None:
        pytest.skip(lacking)
    run = library(tmp_path, SEVERAL, ".o", triple=machine, sizes=SIZES)
    run = Program(tmp_path, run.function, run.library, (tools[0], "-static"), tools[1:])
    assert several(run) == (0, True)


NODE: Final = """
const fs = require("fs");
const folder = process.argv[2];
let memory, top;
const malloc = (size) => {
  const place = (top + 63) & ~63;
  top = place + size;
  while (memory.buffer.byteLength < top) memory.grow(1);
  return place;
};
const env = {malloc, free: () => {}};
WebAssembly.instantiate(fs.readFileSync(folder + "/it.wasm"), {env}).then(({instance}) => {
  const found = instance.exports;
  memory = found.memory;
  top = found.__heap_base.value;
  const data = fs.readFileSync(folder + "/in");
  const [q, k, v, o] = [0, 1, 2, 3].map(() => malloc(data.length / 3));
  new Uint8Array(memory.buffer, q, data.length).set(data);
  const sizes = [2n, 2n, 37n, 16n, 37n, 16n];
  const code = found.causal(q, 0, k, 0, v, 0, o, 0, ...sizes, 1);
  fs.writeFileSync(folder + "/out", new Uint8Array(memory.buffer, o, data.length / 3));
  process.exit(code);
});
"""


def test_webassembly_runs(tmp_path: Path) -> None:
    lacking = missing("wasm-ld", "node")
    if lacking is not None:
        pytest.skip(lacking)
    sizes = {"E": 16, "F": 16, "M": 37}
    attnc.export(CAUSAL, tmp_path / "it.wasm", triple="wasm32", sizes=sizes)
    inputs = arrays(37, 37)
    (tmp_path / "in").write_bytes(b"".join(a.tobytes() for a in inputs.values()))
    (tmp_path / "run.js").write_text(NODE)
    subprocess.run(["node", str(tmp_path / "run.js"), str(tmp_path)], check=True)
    found = np.frombuffer((tmp_path / "out").read_bytes(), np.float32).reshape(2, 2, 37, 16)
    assert accepts(CAUSAL, inputs, {}, found)


def test_choices_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told before anything is built, and nothing is written."""
    spec = str(SPEC)
    for options, told in {
        "": "kernels are built for one size of F, E, which is missing: --size E=... --size F=...",
        "--size E=8,F=8 --mcpu znver9": "no processor of x86_64 is called 'znver9'; did you mean",
        "--size E=8,F=8 --triple sparc": "not for the triple 'sparc'",
        "--size E=8,F=8 --triple aarch64 --mattr=+avx2": "no feature of aarch64 is called 'avx2'",
        "--size E=8,F=8 --symbol int": "'int' is no name of a function in C",
        "--size Z=8": "Z",
    }.items():
        assert main(["export", spec, "-o", str(tmp_path / "a.o"), *options.split()]) == 2
        assert told in capsys.readouterr().err
    assert main(["export", spec, "-o", str(tmp_path / "a.x"), "--size", "E=8,F=8"]) == 2
    assert "does not tell what to write: .so, .dylib" in capsys.readouterr().err
    away = ["--size", "E=8,F=8", "--triple", "arm64-apple-macos"]
    assert main(["export", spec, "-o", str(tmp_path / "a.dylib"), *away]) == 2
    assert "arm64-apple-macos cannot be linked here; -o FILE.o" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_missing_linker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs a linker: none of cc or gcc or clang or ld is"):
        library(tmp_path, CAUSAL, ".so", sizes={"M": 32})
