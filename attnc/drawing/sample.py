"""Values for the inputs of a picture: those that were given, and samples for the others.

A sample is the same in every run, and the picture says what it is. Integers have one only where
the conditions show what kind of number they are; else they have to be given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from attnc.errors import UsageError
from attnc.grammar.scope import suggestion
from attnc.ir.cascade import Constant, Einsum, Input
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Compare, Expr, Int, Read, Var
from attnc.ir.facts import Facts
from attnc.ir.types import Kind, read_type
from attnc.ir.walk import children, rebuild, subexpressions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

SEED: Final = 0
RUNS: Final = 3
"""How many groups a sample of labels has."""

Use = Literal["index", "label", "bound", "other"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """An array and, where its values matter, what they are."""

    array: Array
    note: str = ""


def given(facts: Facts, files: Mapping[str, str]) -> dict[str, Array]:
    """The arrays of `.npy` files for inputs.

    Raises `UsageError` for what is no input, no array or not of the input's type and ranks, and
    `OSError` for a file that cannot be read.
    """
    inputs = {i.name: i for i in facts.cascade.inputs}
    found: dict[str, Array] = {}
    for name, path in files.items():
        if name not in inputs:
            hint = suggestion(name, inputs) or f"inputs: {', '.join(inputs)}"
            raise UsageError(f"'{facts.cascade.name}' has no input '{name}'; {hint}")
        found[name] = _fitting(inputs[name], _load(name, path), path)
    return found


def _load(name: str, path: str) -> Array:
    import numpy as np

    found: Array | None
    with Path(path).open("rb") as file:
        try:
            found = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            found = None
    if found is None:
        raise UsageError(f"--data {name}={path}: this is no .npy file of numbers")
    return found


def _fitting(item: Input, array: Array, path: str) -> Array:
    import numpy as np

    if array.ndim != len(item.sizes):
        raise UsageError(
            f"--data {item.name}={path}: the array has {array.ndim} ranks, not {len(item.sizes)}"
        )
    wanted = _dtype(item)
    kinds = "biu" if np.dtype(wanted).kind in "biu" else "biuf"
    changed = array.astype(wanted) if array.dtype.kind in kinds else None
    exact = np.dtype(wanted).kind not in "biu"
    if changed is None or not (exact or np.array_equal(changed, array)):
        raise UsageError(
            f"--data {item.name}={path}: {array.dtype} values do not fit {item.element or 'f32'}"
        )
    return changed


def _dtype(item: Input) -> Any:
    """The NumPy type of an input; the floating type of a picture is f32."""
    import numpy as np

    names = {None: "float32", "f16": "float16", "f32": "float32", "f64": "float64", "i8": "int8"}
    names |= {"u8": "uint8", "i32": "int32", "i64": "int64", "bool": "bool"}
    if item.element in names:
        return np.dtype(names[item.element])
    try:
        import ml_dtypes
    except ImportError:
        raise UsageError(f"{item.element} values need ml_dtypes: pip install ml_dtypes") from None
    others = {"bf16": "bfloat16", "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2"}
    return np.dtype(getattr(ml_dtypes, others[item.element or ""]))


def sample(
    facts: Facts,
    item: Input,
    exprs: Iterable[Expr],
    values: Mapping[str, Constant],
    *,
    decides: bool,
) -> Sampled:
    """Values for an input that was not given; `exprs` are those that may read it.

    `values` holds every extent and parameter. Raises `UsageError` where an input whose values
    decide the picture has no honest sample.
    """
    import numpy as np

    shape = tuple(s if isinstance(s, int) else int(values[s]) for s in item.sizes)
    generator = np.random.default_rng([SEED, *item.name.encode()])
    dtype = _dtype(item)
    match read_type(item.element).kind:
        case Kind.BOOL:
            array = generator.random(shape) < 0.5
            return Sampled(array, "drawn at random, each true with probability 1/2")
        case Kind.I32 | Kind.I64:
            if not decides:
                return Sampled(np.zeros(shape, dtype))
            return _integers(facts, item, shape, dtype, list(exprs), values)
        case _:
            array = generator.standard_normal(shape).astype(dtype)
            return Sampled(array, "drawn at random from a normal distribution")


def _integers(
    facts: Facts,
    item: Input,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    exprs: list[Expr],
    values: Mapping[str, Constant],
) -> Sampled:
    import numpy as np

    uses = [u for expr in exprs for u in _uses(facts, expr, item.name, values)]
    limits = dict(reversed(uses))
    total = math.prod(shape)
    counted = np.arange(total).reshape(shape)
    top = int(np.iinfo(dtype).max)
    if limits.get("index"):
        limit = min(limits["index"] or 1, top)
        return Sampled((counted % limit).astype(dtype), f"0, 1, 2, ... modulo {limit}")
    if "label" in limits and shape:
        last = np.arange(shape[-1]) * RUNS // max(shape[-1], 1)
        array = np.broadcast_to(last, shape).astype(dtype)
        return Sampled(array, f"{RUNS} runs of equal numbers along {item.sizes[-1]}")
    if limits.get("bound") is not None:
        limit = min(limits["bound"] or 0, top)
        array = (limit * (3 * total - 2 * counted) // max(4 * total, 1)).astype(dtype)
        return Sampled(array, f"falling from {int(array.max(initial=0))} to {_least(array)}")
    raise UsageError(
        f"the picture depends on the integers in '{item.name}', of which no sample is known to "
        f"make sense: give them with --data {item.name}=FILE.npy"
    )


def _least(array: Array) -> int:
    return int(array.min()) if array.size else 0


def _uses(
    facts: Facts, expr: Expr, name: str, values: Mapping[str, Constant]
) -> Iterator[tuple[Use, int | None]]:
    """How an integer tensor is used: an index below a limit, a label, a bound of coordinates."""
    for node in subexpressions(expr):
        if isinstance(node, Read):
            for index, dimension in zip(
                node.index, facts.tensors[node.tensor].dimensions, strict=True
            ):
                if _reads(index, name):
                    size = evaluate(dimension.range, values)
                    yield "index", int(size) if size is not None else None
        if isinstance(node, Compare):
            for a, b in zip(node.operands, node.operands[1:], strict=False):
                yield from _compared(facts, a, b, name, values)


def _compared(
    facts: Facts, a: Expr, b: Expr, name: str, values: Mapping[str, Constant]
) -> Iterator[tuple[Use, int | None]]:
    if _reads(a, name) and _reads(b, name):
        yield "label", None
    elif _reads(a, name) or _reads(b, name):
        other = b if _reads(a, name) else a
        if any(isinstance(n, Var) for n in subexpressions(other)):
            highest = evaluate(_at_the_end(facts, other, values), values)
            yield "bound", int(highest) + 1 if highest is not None else None


def _reads(expr: Expr, name: str) -> bool:
    return any(isinstance(n, Read) and n.tensor == name for n in subexpressions(expr))


def _at_the_end(facts: Facts, expr: Expr, values: Mapping[str, Constant]) -> Expr:
    """An expression of coordinates with each at its last value."""
    if isinstance(expr, Var):
        size = evaluate(facts.variables[expr.name], values)
        return Int(max(int(size) - 1, 0)) if size is not None else expr
    return rebuild(expr, tuple(_at_the_end(facts, c, values) for c in children(expr)))


def expressions(einsums: Iterable[Einsum]) -> Iterator[Expr]:
    """The values and conditions of some statements."""
    for einsum in einsums:
        yield einsum.value
        yield from einsum.where
