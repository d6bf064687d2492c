"""Seeded faults: each turns the value tests red, or those tests could not fail.

A fault is a piece of the compiler's text and what is put in its place, in a copy of the tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("attnc", "grammar", "passes", "backends", "examples", "tests/oracle", "tests/reader")
FILES = (
    "tests/probe.py",
    "tests/agreement.py",
    "tests/remembered.py",
    "tests/support.py",
    "tests/examples.py",
)


@dataclass(frozen=True)
class Fault:
    """`old` becomes `new` in `file`."""

    name: str
    file: str
    old: str
    new: str


RUNTIME, CORE, OPERATORS, FUNCTIONS, READS, REDUCTIONS, LOOPS = (
    f"backends/numpy/{name}.py"
    for name in ("runtime", "core", "operators", "functions", "reads", "reductions", "loops")
)

FAULTS = [
    Fault(
        "a product forgets that a factor is absent",
        REDUCTIONS,
        "product = with_presence(product, *self.presence(*terms))",
        "pass",
    ),
    Fault(
        "a map is present where one operand is",
        CORE,
        "here = both(self.order, *(t.here for t in terms))",
        "here = terms[-1].here",
    ),
    Fault(
        "a reduction over nothing is present",
        REDUCTIONS,
        "merge(term.when, tuple(self.around.nonempty(v) for v in empty))",
        "term.when",
    ),
    Fault(
        "a reduction takes absent points in",
        REDUCTIONS,
        "extra=(identity,))",
        "extra=(canonical(term.value, self.order).text,))",
    ),
    Fault(
        "max starts from 0",
        REDUCTIONS,
        'return "-np.inf" if op == "max" else "np.inf"',
        'return "0.0"',
    ),
    Fault("any counts absent points", REDUCTIONS, "found = both(self.order, x, here)", "found = x"),
    Fault(
        "all fails at absent points",
        REDUCTIONS,
        'if here is not None:\n                x = infix("|"',
        'if here is None:\n                x = infix("|"',
    ),
    Fault(
        "a condition that is absent holds",
        CORE,
        "found = both(self.order, term.value, self.whole(term))",
        "found = term.value",
    ),
    Fault(
        "default is present only where its first argument is",
        FUNCTIONS,
        "present: Code | None = None\n",
        "present: Code | None = here\n",
    ),
    Fault(
        "a ternary needs both branches",
        OPERATORS,
        'function("np.where", self.order, test, *branches)',
        "both(self.order, *branches)",
    ),
    Fault(
        "and is absent where one side is",
        OPERATORS,
        'here = f"{p} & {q} | {p} & ~{a} | {q} & ~{b}"',
        'here = f"{p} & {q}"',
    ),
    Fault(
        "or is absent where one side is",
        OPERATORS,
        'f"{p} & {q} | {p} & {a} | {q} & {b}"',
        'f"{p} & {q}"',
    ),
    Fault(
        "a read below its tensor is present",
        READS,
        'infix("&", least, most, BIT_AND, self.order)\n        return _Place',
        "most\n        return _Place",
    ),
    Fault(
        "a read one beyond its tensor is present",
        READS,
        'most = infix("<", bound_term.value, limit',
        'most = infix("<=", bound_term.value, limit',
    ),
    Fault(
        "integer division by 0 is present",
        OPERATORS,
        'if op in ("//", "%") and kind.integral else term',
        'if op == "%" and kind.integral else term',
    ),
    Fault("a shift by 64 is present", OPERATORS, 'Code("63")', 'Code("64")'),
    Fault(
        "a recurrence is written one step late",
        LOOPS,
        "coordinate = step.slots[at].offset - f.tensors[step.tensor].dimensions[at].low",
        "coordinate = step.slots[at].offset",
    ),
    Fault(
        "a recurrence is read one step off",
        READS,
        "shown = self._offset(term.value, -dimension.low)",
        "shown = term.value",
    ),
    Fault(
        "the whole of a recurrence begins at its initial value",
        READS,
        '(-1, 1): "1:"',
        '(-1, 1): ":-1"',
    ),
    Fault("rows not yet computed are present", READS, "raise NeedsPresence(expr.tensor)", "pass"),
    Fault(
        "an output keeps what stood at absent points",
        RUNTIME,
        "np.where(here, x, empty)",
        "np.where(np.broadcast_to(True, np.shape(here)), x, empty)",
    ),
    Fault(
        "0 times NaN leaks into a sum of products",
        RUNTIME,
        "if all(np.all(np.isfinite(x)) for x in masked):",
        "if True:",
    ),
    Fault(
        "the mean counts absent points",
        RUNTIME,
        "/ np.sum(here, axis=axis).astype(x.dtype)",
        "/ np.sum(np.ones_like(here), axis=axis).astype(x.dtype)",
    ),
    Fault(
        "argtopk breaks ties to the highest index",
        RUNTIME,
        'index = size - 1 - np.flip(np.argsort(np.flip(x, -1), axis=-1, kind="stable"), -1)',
        'index = np.flip(np.argsort(x, axis=-1, kind="stable"), -1)',
    ),
    Fault(
        "argtopk lets absent points win",
        RUNTIME,
        'order = np.argsort(~present, axis=-1, kind="stable")',
        'order = np.argsort(present * 0, axis=-1, kind="stable")',
    ),
    Fault("argmax may point at an absent point", RUNTIME, "hit = here & (", "hit = np.True_ & ("),
    Fault(
        "a reverse scan runs forward",
        RUNTIME,
        "return np.flip(x, axis) if reverse else x\n",
        "return x\n",
    ),
    Fault(
        "a cast out of range is present",
        RUNTIME,
        "return (np.trunc(x) >= low) & (np.trunc(x) < high)",
        "return x == x",
    ),
    Fault(
        "random forgets its last argument",
        RUNTIME,
        "    for x in arguments:\n        z =",
        "    for x in arguments[:-1]:\n        z =",
    ),
    Fault(
        "bf16 is cut off, not rounded",
        RUNTIME,
        "bits = (bits + 0x7FFF + ((bits >> 16) & 1))",
        "bits = bits",
    ),
    Fault(
        "a sum enters only one operand of +",
        "grammar/sums.py",
        "return (0,) * first + (1,) * second",
        "return (0,) if first else (1,)",
    ),
    Fault(
        "a sum stands at the top",
        "grammar/sums.py",
        "return (0,) if first else (1,)",
        "return None",
    ),
    Fault("a condition on a sum is dropped", "grammar/sums.py", "if complete:\n", "if False:\n"),
    Fault(
        "integers mixed with a literal float stay integers",
        "attnc/ir/types.py",
        "(Kind.FLOAT if origin is Origin.TENSOR else Kind.F64, origin)\n    if weak.origin",
        "(strong.kind, origin)\n    if weak.origin",
    ),
    Fault(
        "a macro sees its first variable only",
        "grammar/resolve.py",
        "names[-1]: variables[last:],",
        "names[-1]: variables[last : last + 1],",
    ),
    Fault(
        "a replaced variable is captured",
        "attnc/ir/walk.py",
        "clash = sorted(bound(node) & brought)",
        "clash = []",
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the probe needs, with the links that make it importable.

    What is compiled comes along; Python compiles anew the file that a fault changes, whose time is
    then another one.
    """
    copy = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True)
    for file in FILES:
        shutil.copy(ROOT / file, copy / file)
    return copy


def probe(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(tree / "tests" / "probe.py"), str(tree)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_no_fault(tree: Path) -> None:
    found = probe(tree)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.name) for f in FAULTS])
def test_fault_is_seen(tree: Path, fault: Fault) -> None:
    path = tree / fault.file
    text = path.read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, "the text that this fault changes has moved"
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        found = probe(tree)
    finally:
        path.write_text(text, encoding="utf-8")
    assert found.returncode == 1, f"not seen: {found.stdout}{found.stderr}"
    assert "Error" in found.stdout
