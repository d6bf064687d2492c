"""A plan as a module of Triton kernels that stands alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from attnc.backends.library import helpers, words
from attnc.backends.options import Options
from attnc.backends.triton.kernel import printed
from attnc.backends.triton.launch import Launcher
from attnc.backends.triton.layout import INDENT
from attnc.backends.triton.pieces import LATER, Chooser, printed_pieces, with_same_streams
from attnc.ir.printer import WIDTH
from attnc.ir.tiles import Plan


def emit_plan(
    plan: Plan, options: Options, notes: str = "", pieces: Plan | frozenset[str] | None = None
) -> str:
    """The text of a module with one function named as the plan.

    It imports torch and triton. Tensors come in declared order, parameters by keyword, outputs go
    in order, as a tuple when there are several. `notes` are for its head. `pieces` is a plan of the
    same whose streams are in pieces, for calls that would leave a device idle; or the kernels that
    are in it, if it is for a module that is made later (`_FEW`).
    """
    kernels = [
        printed(plan, kernel, f"_k{i}", options.precision) for i, kernel in enumerate(plan.kernels)
    ]
    launcher = Chooser(plan, options, kernels)
    if isinstance(pieces, frozenset):
        launcher.later = pieces
    elif pieces is not None and with_same_streams(plan, pieces):
        more = list(printed_pieces(pieces, kernels, options.precision))
        launcher.pieces = Launcher(pieces, options, more, launcher.names)
        kernels = [*kernels, *(k for k in more if k.lines)]
    wrapper = "\n".join(launcher.text())
    bodies = "\n\n\n".join("\n".join(k.lines) for k in kernels)
    on_device = helpers("attnc.backends.triton", "device.py", words(bodies))
    around = helpers("attnc.backends.triton", "runtime.py", words(wrapper))
    imports = ["import contextlib"]
    if "math." in wrapper or any("math." in h for h in around):
        imports.append("import math")
    if any("os.environ" in h for h in around):
        imports.append("import os")
    imports += ["", "import torch", "import triton", "import triton.language as tl"]
    if any("TensorDescriptor" in h for h in around):
        imports.append("from triton.tools.tensor_descriptor import TensorDescriptor")
    parts = [*title(plan, options, notes, "Triton"), "", *imports, "", f'_KERNEL = "{plan.name}"']
    if "_FEW(" in wrapper:
        parts += [LATER]
    parts += ["", f'__all__ = ["{launcher.function}"]', "", "", bodies, "", "", wrapper]
    for helper in (*on_device, *around):
        parts += ["", "", helper]
    return "\n".join(parts) + "\n"


def title(plan: Plan, options: Options, notes: str, backend: str) -> list[str]:
    """What the module is and where it comes from."""
    chosen = options.mcpu or options.target
    target = f" on {chosen}" if chosen else ""
    lines = [f'"""{plan.name}: emitted by attnc {options.version} for {backend}{target}.']
    if notes:
        lines += ["", *(INDENT + line if line else "" for line in _wrapped(notes))]
    return [*lines, '"""']


def _wrapped(notes: str) -> Iterator[str]:
    """Lines of at most the width, those that go on indented more."""
    for line in notes.splitlines():
        start = line[: len(line) - len(line.lstrip())]
        yield from textwrap.wrap(
            line,
            WIDTH - len(INDENT),
            subsequent_indent=start + INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
