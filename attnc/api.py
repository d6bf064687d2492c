"""What a program calls: check a spec, lay it out, compile it, explain it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attnc.backends import BACKENDS, DEVICES, LISTS, PIECES, TOLD, Pieces
from attnc.backends.options import DTYPES, TARGETS, Options
from attnc.collecting import uncollected
from attnc.errors import Diagnostic, Report, Source, Span, SpecError, UsageError
from attnc.grammar.check import check as check_report
from attnc.grammar.format import formatted
from attnc.grammar.scope import is_extent, suggestion
from attnc.grammar.syntax import MAX_TEXT
from attnc.ir import printer
from attnc.ir.cascade import Cascade, Constant
from attnc.ir.facts import Facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from attnc.planning import Plans

MAX_BYTES: Final = 4 * (MAX_TEXT + 1)
"""Enough bytes to tell that a text is too long."""


@dataclass(frozen=True)
class Checked:
    """A valid file: the facts of its cascades, and warnings."""

    source: Source
    facts: tuple[Facts, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def cascades(self) -> tuple[Cascade, ...]:
        """The cascades at level 1, in the order of the file."""
        return tuple(f.cascade for f in self.facts)

    def select(self, name: str | None = None) -> Facts:
        """The facts of the cascade of that name; without a name, of the only one.

        Raises `UsageError` if there is no such cascade, or several and no name.
        """
        names = [c.name for c in self.cascades]
        if name is None:
            if len(names) == 1:
                return self.facts[0]
            listed = ", ".join(names)
            raise UsageError(f"the file has {len(names)} cascades, name one: {listed}")
        if name not in names:
            hint = suggestion(name, names) or f"the file has {', '.join(names)}"
            raise UsageError(f"no cascade is called '{name}'; {hint}")
        return self.facts[names.index(name)]


def check(text: str, name: str = "<spec>") -> Checked:
    """Parses and checks the text of a `.attn` file, reported under `name`.

    Raises `SpecError` with everything that is wrong.
    """
    found, report = _checked(text, name)
    report.raise_errors()
    return found


def diagnose(text: str, name: str = "<spec>") -> tuple[Checked, tuple[Diagnostic, ...]]:
    """As `check`, for any text: its valid cascades, and all errors and warnings in order."""
    found, report = _checked(text, name)
    return found, tuple(sorted(report.found, key=lambda d: d.span))


def _checked(text: str, name: str) -> tuple[Checked, Report]:
    report = Report(Source(name, text))
    facts = check_report(report)
    return Checked(report.source, facts, tuple(report.warnings)), report


def format(text: str, *, name: str = "<spec>") -> str:  # noqa: A001
    """The text of a spec in its standard layout; see docs/formatting.md.

    It must parse, but need not be valid otherwise. Raises `SpecError` if it does not parse.
    """
    return formatted(Report(Source(name, text)))


def read(path: str | Path) -> tuple[str, str]:
    """The text of a spec file and the name it is reported under.

    Raises `SpecError` if it is not UTF-8, `OSError` if it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES)  # a file that never ends is refused as too long
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return text_of(data, str(path)), str(path)


def text_of(data: bytes, name: str) -> str:
    """Bytes as text, reported under `name`; raises `SpecError` if they are not UTF-8."""
    data = data[:MAX_BYTES]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) == MAX_BYTES:
            return data.decode("utf-8", "replace")
        good = data[: error.start].decode("utf-8")
        report = Report(Source(name, good + "\ufffd"))
        message = f"this is not UTF-8 text: byte 0x{data[error.start]:02x}"
        report.error(message, Span(len(good), len(good) + 1))
        raise SpecError(report.errors) from None


def compile(  # noqa: A001
    text: str,
    *,
    name: str = "<spec>",
    cascade: str | None = None,
    backend: str = "numpy",
    dtype: str | None = None,
    static: Mapping[str, Constant] | None = None,
    target: str | None = None,
    nonfinite: str = "fast",
    precision: str = "ieee",
    mcpu: str | None = None,
) -> str:
    """The text of a Python module that computes one cascade of a spec.

    `backend` is `numpy`, which follows the text, or `triton`, whose kernels are derived. `dtype`
    (f16, bf16, f32, f64) fixes the element type of tensors that declare none, else it is taken from
    each call. `static` fixes parameters. With `triton`, `target` (cuda:80, cuda:90, cuda:100,
    hip:gfx942) fixes the device, else each call tells (with `tvm` it is llvm, c, opencl, webgpu,
    metal or cuda, and `mcpu` the processor that llvm builds for, as LLVM calls it, else the one at
    hand), and `nonfinite="exact"` confines what is not finite to those results that read it;
    `precision="tf32"` multiplies f32 matrices with fewer digits, and faster. Raises `SpecError` for
    a spec that is not valid, or that the backend cannot print, and `UsageError` for a choice that
    does not fit it.
    """
    found = check(text, name)
    device = Device(target, nonfinite, precision, mcpu=mcpu)
    facts = found.select(cascade)
    return emit(
        facts,
        backend=backend,
        dtype=dtype,
        static=static or {},
        device=device,
        source=found.source,
    )


@dataclass(frozen=True)
class Device:
    """What is asked of a kernel for a device; see `compile`."""

    target: str | None = None
    nonfinite: str = "fast"
    precision: str = "ieee"
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Those at which passes compare costs."""
    mcpu: str | None = None

    def __post_init__(self) -> None:
        if self.nonfinite not in ("fast", "exact"):
            raise UsageError(f"nonfinite is fast or exact, not '{self.nonfinite}'")
        if self.precision not in ("ieee", "tf32"):
            raise UsageError(f"precision is ieee or tf32, not '{self.precision}'")

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self != Device()


@uncollected()
def emit(
    facts: Facts,
    *,
    backend: str,
    dtype: str | None,
    static: Mapping[str, Constant | str],
    device: Device | None = None,
    source: Source | None = None,
    later: bool = False,
    plans: Plans | None = None,
) -> str:
    """The module of a checked cascade; `static` values may be texts, as from a command line.

    With `source`, the text that was checked, what a backend cannot print is named at its place.
    `later` leaves out what only calls with few rows need: such a module is sooner made, and asks
    for the whole one when it needs it, if it was told how (`attnc.modules.function_of`). `plans` of
    the cascade may be kept between the two.
    """
    device = device or Device()
    if backend not in BACKENDS and backend not in DEVICES:
        listed = ", ".join((*BACKENDS, *DEVICES))
        raise UsageError(f"no backend is called '{backend}'; there is {listed}")
    if dtype is not None:
        check_dtype(dtype)
    options = Options(
        dtype,
        fixed(facts, static),
        target=device.target,
        precision=device.precision,
        mcpu=None if device.mcpu == "native" else device.mcpu,
    )
    if backend in BACKENDS:
        if device.asked:
            raise UsageError(f"the backend {backend} follows the text; it has no devices")
        return BACKENDS[backend](facts, options)
    check_target(device.target, backend)
    check_processor(device, backend)
    return _for_device(facts, backend, options, device, source, plans, later=later)


def _for_device(
    facts: Facts,
    backend: str,
    options: Options,
    device: Device,
    source: Source | None,
    plans: Plans | None,
    *,
    later: bool,
) -> str:
    from attnc.backends.refused import NotPrinted
    from attnc.passes.tiling.lower import NotLowered
    from attnc.planning import Plans, refused, unprinted

    source = source or Source("cascade", printer.cascade(facts.cascade))
    try:
        exact, lists = device.nonfinite == "exact", backend in LISTS
        if plans is None:
            plans = Plans(facts, device.sizes, exact, lists, backend in TOLD)
        plan, notes, cut = plans.explained
        pieces: Pieces = None
        if (backend, options.target) in PIECES:
            pieces = cut if later else plans.in_pieces
        return DEVICES[backend](plan, options, notes, pieces)
    except NotLowered as error:
        raise refused(error, source) from None
    except NotPrinted as error:
        raise unprinted(error, backend, source) from None


def check_target(target: str | None, backend: str) -> None:
    """Raises `UsageError` unless a backend prints for a device."""
    if target is not None and target not in TARGETS[backend]:
        listed = ", ".join(TARGETS[backend])
        raise UsageError(f"no target is called '{target}'; there are {listed}")


def check_processor(device: Device, backend: str) -> None:
    """Raises `UsageError` if a processor is asked for that there is not, or of another device."""
    if device.mcpu is None:
        return
    if backend != "tvm" or device.target not in (None, "llvm"):
        raise UsageError("mcpu is of the backend tvm and its target llvm, which builds for CPUs")
    if device.mcpu != "native":
        from attnc.backends.tvm.cpus import cpu

        cpu(device.mcpu)


def check_dtype(dtype: str) -> None:
    """Raises `UsageError` unless this is a floating type a kernel can have."""
    if dtype not in DTYPES:
        raise UsageError(f"no floating type is called '{dtype}'; there are {', '.join(DTYPES)}")


def fixed(facts: Facts, static: Mapping[str, Constant | str]) -> dict[str, Constant]:
    """Values for parameters that are fixed when compiling, each of its parameter's type."""
    known = {p.name: p.type for p in facts.cascade.parameters}
    result: dict[str, Constant] = {}
    for name, value in static.items():
        if name not in known:
            hint = suggestion(name, known) or f"parameters: {', '.join(known) or 'none'}"
            raise UsageError(f"no parameter is called '{name}'; {hint}")
        found = _constant(name, known[name], value)
        if is_extent(name) and found < 0:
            raise UsageError(f"the extent {name} = {found} is negative")
        result[name] = found
    return result


def _constant(name: str, kind: str, value: Constant | str) -> Constant:
    readers: dict[str, Callable[[Constant | str], Constant]] = {
        "bool": _bool,
        "float": _float,
        "int": _int,
    }
    try:
        return readers[kind](value)
    except (LookupError, TypeError, ValueError, OverflowError):
        raise UsageError(f"the parameter '{name}' is {kind}, and '{value}' is none") from None


def _bool(value: Constant | str) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _float(value: Constant | str) -> float:
    if isinstance(value, bool):
        raise TypeError
    found = float(value)
    if math.isinf(found) and "inf" not in str(value).lower():
        raise OverflowError
    return found


def _int(value: Constant | str) -> int:
    if isinstance(value, bool):
        raise TypeError
    number = int(str(value), 0)
    if not -(2**63) <= number < 2**63:
        raise OverflowError
    return number


def explain(
    facts: Facts,
    sizes: Mapping[str, int] | None = None,
    dtype: str = "f32",
    source: Source | None = None,
    target: str | None = None,
    tiles: Mapping[str, int] | None = None,
    data: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, object]:
    """What a cascade costs as written, and its kernels, as plain data; see `attnc.explanation`.

    With `source`, the text that was checked, refusals name their lines. With `target`, what its
    Triton kernels become there; see `attnc.device_data`. `tiles` are sizes of tiles by axis, at
    which those are counted that kernels visit; `data` are arrays of inputs that decide on it.
    """
    from attnc.explanation import explanation
    from attnc.plan_data import Asked
    from attnc.tile_data import sizes_of

    check_dtype(dtype)
    check_target(target, "triton")
    given = sizes_of(facts, data or {}, sizes or {})
    device = Device(target, sizes=given)
    found = explanation(facts, given, dtype, source, Asked(tiles or {}, data or {}))
    if target is None:
        return found
    from attnc.device_data import on_device

    text = emit(facts, backend="triton", dtype=None, static={}, device=device, source=source)
    return {**found, "device": on_device(facts, text, given, dtype, target)}


def emit_tiled(
    checked: Checked,
    cascade: str | None = None,
    *,
    dtype: str | None,
    static: Mapping[str, Constant | str],
    sizes: Mapping[str, int] | None = None,
    pieces: Mapping[str, int] | None = None,
) -> str:
    """A NumPy module that runs the kernels derived from a cascade, at any sizes of tiles.

    `sizes` are those at which passes compare costs. `pieces` maps streamed variables to numbers:
    the kernels that stream one go through it in so many pieces, which others merge. Raises
    `SpecError`, with its place, for what tiles cannot do, `UsageError` for a variable in `pieces`
    that no kernel streams in pieces.
    """
    from attnc.backends.numpy.tiled import emit_tiled as emitted
    from attnc.passes.tiling.lower import NotLowered
    from attnc.planning import planned, ranged, refused

    if dtype is not None:
        check_dtype(dtype)
    facts = checked.select(cascade)
    options = Options(dtype, fixed(facts, static))
    try:
        _, fused = planned(facts, sizes, pieces)
    except NotLowered as error:
        raise refused(error, checked.source) from None
    for variable in pieces or {}:
        if variable not in fused.split:
            listed = ", ".join(fused.can_split) or "none"
            raise UsageError(
                f"no kernel goes through '{variable}' in pieces; what can be split: {listed}"
            )
    return emitted(ranged(fused.plan), options)


__all__: Sequence[str] = [
    "Checked",
    "check",
    "compile",
    "diagnose",
    "emit",
    "explain",
    "format",
    "read",
]
