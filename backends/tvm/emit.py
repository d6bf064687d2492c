"""A plan as a module of kernels in TVM's script dialect that stands alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from attnc.backends.library import helpers, needed, words
from attnc.backends.options import Options
from attnc.backends.triton.emit import title
from attnc.backends.tvm.calls import ReadyCaller
from attnc.backends.tvm.cpus import cpu
from attnc.backends.tvm.few import few_printed
from attnc.backends.tvm.kernel import Printed, printed
from attnc.backends.tvm.launch import rows_of_pieces, with_pieces
from attnc.ir.nodes import noted
from attnc.ir.tiles import Plan
from attnc.passes.tiling.counted import Counted

MODULES: Final = (
    "ast",
    "contextlib",
    "ctypes",
    "functools",
    "gc",
    "hashlib",
    "importlib.util",
    "linecache",
    "os",
    "platform",
    "shutil",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
)
"""What the helpers of a module import of Python's own."""


BUILDING: Final = (
    "processor.py",
    "tiles.py",
    "keeping.py",
    "threads.py",
    "repeated.py",
    "build.py",
)
"""The files of what builds kernels and chooses them."""


PAIRS: Final = "PAIRS = True  # products of bf16 by an instruction, if there is one; False: widened"
"""The switch of a module that has products of bf16."""


LATER: Final = "_FEW = lambda: None  # gives the function that takes calls with few rows, once told"
"""What a module begins with whose kernels for few rows are in another one."""


THREADS: Final = (
    "_CORES = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count() or 1))(0)",
    'os.environ.setdefault("TVM_NUM_THREADS", str(len(_CORES)))',
    'os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "1000")  # some 0.3 ms, and not 100',
)
"""What TVM is told before it starts threads; those that wait soon leave the cores to others."""


FORKED: Final = (
    'if hasattr(os, "register_at_fork"):',
    "    os.register_at_fork(after_in_child=_forked)",
)


@dataclass(frozen=True)
class Kernels:
    """The kernels of a plan, and those of the plan in pieces, for few rows, if it has any."""

    plan: Plan
    built: tuple[Printed, ...]
    pieces: Plan | None
    few: tuple[Printed, ...]
    rows: tuple[tuple[Printed, str], ...]
    """The kernels that `few` have in pieces, and the axis of each that then has few points."""
    one: tuple[Printed, ...] = ()
    """The kernels of the plan where each stream has one piece, so that there is nothing to merge:
    those of `rows` for few rows, the others as in `built`."""

    @property
    def all(self) -> tuple[Printed, ...]:
        """Each once."""
        return tuple({k.name: k for k in (*self.built, *self.one, *self.few)}.values())


def kernels_of(plan: Plan, pieces: Plan | None = None, *, one: bool = False) -> Kernels:
    """A plan, and the same in pieces, as kernels for CPUs; `one`: also where one piece is all."""
    built = _built(plan)
    if pieces is not None:
        rows = tuple(rows_of_pieces(plan, built, pieces))
        if rows:
            whole = tuple(_in_one(plan, built, [k for k, _ in rows])) if one else ()
            return Kernels(plan, built, pieces, tuple(_in_pieces(plan, pieces)), rows, whole)
    return Kernels(plan, built, None, (), ())


@noted
def _built(plan: Plan) -> tuple[Printed, ...]:
    """The kernels of a plan."""
    return tuple(printed(plan, kernel, f"_k{i}") for i, kernel in enumerate(plan.kernels))


def emit_plan(
    plan: Plan, options: Options, notes: str = "", pieces: Plan | frozenset[str] | None = None
) -> str:
    """The text of a module with one function named as the plan.

    It imports numpy and tvm. Tensors, of torch or NumPy, come in declared order, parameters by
    keyword, outputs go in order, as a tuple when there are several. `notes` are for its head.
    `pieces` is a plan of the same whose streams are in pieces, for calls with few rows; or the
    kernels that are in it, if it is for a module that is made later (`_FEW`).
    """
    if options.target not in (None, "llvm", "c"):
        from attnc.backends.tvm.device_emit import emit_device

        return emit_device(Counted()(plan), options, notes)
    if isinstance(pieces, frozenset):
        return emit_kernels(kernels_of(plan), options, notes, pieces)
    return emit_kernels(kernels_of(plan, pieces, one=True), options, notes)


def emit_kernels(
    found: Kernels, options: Options, notes: str = "", later: frozenset[str] = frozenset()
) -> str:
    """The text of such a module; of the kernels `later`, another one has ones for few rows."""
    plan, kernels = found.plan, found.all
    caller = ReadyCaller(plan, options, [], built=found.built, later=later)
    if found.pieces is not None:
        few = frozenset(kernel.scope.axis(axis).size for kernel, axis in found.rows)
        caller.few = ReadyCaller(
            found.pieces, options, [], names=caller.names, built=found.few, sizes=few
        )
        if found.one:
            caller.one = ReadyCaller(
                plan, options, [], names=caller.names, built=found.one, sizes=few
            )
    wrapper = "\n".join(caller.text())
    bodies = "\n\n\n".join("\n".join(k.lines) for k in kernels)
    said, called = words(bodies), words(wrapper)
    reading = helpers("attnc.backends.tvm", "reading.py", said)
    by_c = options.target == "c"
    inside = _helpers(("vector_script.py", "script.py"), by_c, said | words(*reading))
    building = _helpers(BUILDING, by_c, called | words(*inside, *reading, *FORKED))
    own = helpers("attnc.backends.tvm", "runtime.py", said | called | words(*building))
    own += building
    defined = {h.partition("(")[0] for h in own}
    shared = helpers("attnc.backends.triton", "runtime.py", called | words(*own))
    around = [*own, *(h for h in shared if not _is_defined(h, defined))]
    if options.mcpu is not None:
        chosen = "\n".join(cpu(options.mcpu).lines())
        around = [chosen if h.startswith("_CPU = ") else h for h in around]
    lines = [f"import {name}" for name in MODULES]
    if "math." in wrapper or any("math." in h for h in around):
        lines.insert(MODULES.index("os"), "import math")
    lines += ["from pathlib import Path"]
    if options.target == "c":
        lines.insert(lines.index("import shutil"), "import re")
        lines.append("from types import SimpleNamespace")
    lines += ["", "import numpy as np"]
    lines += ["", *THREADS]
    lines += [
        "tvm = T = None  # the compiler, which `_imported` imports when a kernel is to be built"
    ]
    parts = [
        *title(plan, options, notes, "TVM"),
        "",
        *lines,
        "",
        f'_KERNEL = "{plan.name}"',
        'INDEX = "int64"',
    ]
    if "_FEW(" in wrapper:
        parts += [LATER]
    if any(k.scope.pairs for k in kernels):
        parts += [PAIRS]
    parts += ["", f'__all__ = ["{caller.function}"]', "", "", bodies, "", "", wrapper]
    for helper in (*inside, *reading, *around):
        parts += ["", "", helper]
    parts += ["", "", *FORKED]
    return "\n".join(parts) + "\n"


def _in_pieces(plan: Plan, pieces: Plan) -> Iterator[Printed]:
    """The kernels of a plan in pieces; those that leave pieces, and merge them, for few rows."""
    used = with_pieces(plan, pieces, stores=True)
    for i, kernel in enumerate(pieces.kernels):
        yield (few_printed if kernel.name in used else printed)(pieces, kernel, f"_few{i}")


def _in_one(plan: Plan, built: Sequence[Printed], rows: Sequence[Printed]) -> Iterator[Printed]:
    """The kernels of a plan whose streams have one piece; of `rows`, there are few."""
    for i, (kernel, other) in enumerate(zip(plan.kernels, built, strict=True)):
        yield few_printed(plan, kernel, f"_one{i}") if other in rows else other


def _helpers(files: tuple[str, ...], by_c: bool, said: frozenset[str]) -> tuple[str, ...]:
    """The helpers of files that are among some words, with those that they use; for C, some have
    others with the same names, which are in a file beside the last one."""
    package = "attnc.backends.tvm"
    found = helpers(package, files, said)
    if not by_c:
        return found
    own = helpers(package, f"c_{files[-1]}", said | words(*found))
    taken = {h.partition("(")[0] for h in own}
    found = helpers(package, files, said | words(*own))
    return needed((*own, *(h for h in found if h.partition("(")[0] not in taken)), said)


def _is_defined(helper: str, names: set[str]) -> bool:
    head = helper.partition("(")[0]
    return head in names or not head.startswith("def ")
