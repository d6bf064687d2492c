"""Makes the data of a run: emits kernels, draws inputs, computes what is expected.

    python -m benchmarks.gpu.emitting [FOLDER]

This needs all of attnc and its tests, so a machine that lacks a parser gets the folder from
another one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.gpu.settings import ROOT
from benchmarks.gpu.store import Array, Case, Example, Index, write_arrays, write_index

SOURCES: Final = (
    "attnc",
    "grammar",
    "passes",
    "backends",
    "examples",
    "tests/acceptance",
    "tests/references",
)
HERE: Final = ("emitting.py", "store.py")
NEEDED: Final = ("lark", "ml_dtypes", "platformdirs", "pytest", "torch")
KINDS: Final = ("bf16", "f16", "f32")
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Wide:
    """Sizes of ranks by their names; `spare`: where those before were refused."""

    label: str
    sizes: Sizes
    kinds: tuple[str, ...]
    spare: bool = False


ROOMY: Final = {"B": 1, "H": 2, "J": 1, "M": 66, "N": 197, "T": 101, "E": 64, "F": 64}
ODD: Final = {"B": 1, "H": 2, "J": 1, "M": 33, "N": 131, "T": 67, "E": 72, "F": 40}
LARGE: Final = {"B": 1, "H": 1, "J": 1, "M": 65, "N": 133, "T": 65, "E": 128, "F": 128}
SQUARE: Final = {**ROOMY, "M": 133, "N": 133}
WIDE: Final = (
    Wide("head size 64", ROOMY, ("bf16", "f16")),
    Wide("head size 64, as many keys as queries", SQUARE, ("bf16", "f16"), spare=True),
    Wide("head sizes 72 and 40", ODD, ("bf16", "f32")),
    Wide("head size 128", LARGE, ("bf16",)),
)
DECIDED: Final = 0.1
"""The most that may be undecided at real sizes, where a case with bounds of no use is left out."""
OTHER: Final = 24
"""The size of a rank of another name."""
STEPS: Final = 2
"""The most steps of an iteration: the bound adds up what each of them loses."""


def able() -> bool:
    """Whether this Python has what is needed here."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def fingerprint() -> str:
    """Of all sources that the data depends on."""
    digest = hashlib.sha256()
    paths = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*"))]
    for path in (*paths, *(Path(__file__).with_name(name) for name in HERE)):
        if path.suffix in (".py", ".lark", ".attn", ".txt"):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def emit(
    folder: Path,
    names: Sequence[str] = (),
    wide: Sequence[Wide] = WIDE,
    cases: Sequence[str] | None = None,
) -> Index:
    """Fills the folder; without names, with the whole gallery.

    `cases` are those of which cases are made, if not of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").unlink(missing_ok=True)
    chosen = names or sorted(p.stem for p in (ROOT / "examples").glob("*.attn"))
    examples = {}
    for name in chosen:
        found = _emitted(folder, name)
        if not found.refused and (cases is None or name in cases):
            found = replace(found, cases=_stored(folder, name, wide))
        examples[name] = found
    index = Index(fingerprint(), examples)
    write_index(folder, index)
    return index


def _emitted(folder: Path, name: str) -> Example:
    import attnc
    from tests.test_gallery import facts

    text = (ROOT / "examples" / f"{name}.attn").read_text(encoding="utf-8")
    written = attnc.compile(text, name=f"{name}.attn")
    (folder / f"{name}_numpy.py").write_text(written, encoding="utf-8")
    try:
        kernel = attnc.compile(text, name=f"{name}.attn", backend="triton")
    except attnc.SpecError as error:
        return Example(refused=str(error))
    (folder / f"{name}.py").write_text(kernel, encoding="utf-8")
    cascade = facts(name).cascade
    return Example(tuple(i.name for i in cascade.inputs), tuple(o.name for o in cascade.outputs))


def _stored(folder: Path, name: str, wide: Sequence[Wide]) -> tuple[Case, ...]:
    """Writes the arrays of all cases."""
    arrays: dict[str, Array] = {}
    cases: list[Case] = []
    for case, found in _cases(name, wide):
        arrays |= {f"{len(cases)}/{key}": value for key, value in found.items()}
        cases.append(case)
    write_arrays(folder, name, arrays)
    return tuple(cases)


def _cases(name: str, wide: Sequence[Wide]) -> Iterator[tuple[Case, dict[str, Array]]]:
    """Real sizes first, then what comes first in the gallery, then its corners in one type each."""
    from tests.test_gallery import reference

    known = False
    for sizes in wide:
        drawn = {} if sizes.spare and known else _drawn(name, sizes.sizes)
        for kind in sizes.kinds if drawn else ():
            found = _judged(name, sizes.label, drawn, {}, kind, wide=True)
            if found:
                known = True
                yield found
    given = reference(name).cases(np.random.default_rng(7))
    for number, (label, inputs, parameters) in enumerate(given):
        if "steps" in parameters:
            parameters = {**parameters, "steps": min(parameters["steps"], STEPS)}
        for kind in KINDS if number == 0 else (KINDS[number % len(KINDS)],):
            found = _judged(name, label, inputs, parameters, kind)
            if found:
                yield found


def _drawn(name: str, sizes: Sizes) -> dict[str, Array]:
    """Normal inputs; none if the example has inputs with a type of their own."""
    from tests.test_gallery import facts

    rng = np.random.default_rng(11)
    found: dict[str, Array] = {}
    for item in facts(name).cascade.inputs:
        if item.element is not None:
            return {}
        shape = [s if isinstance(s, int) else sizes.get(s, OTHER) for s in item.sizes]
        found[item.name] = rng.standard_normal(shape)
    return found


def _judged(
    name: str,
    label: str,
    given: Mapping[str, Array],
    parameters: Mapping[str, Any],
    kind: str,
    *,
    wide: bool = False,
) -> tuple[Case, dict[str, Array]] | None:
    """A case with what is expected and its bounds; none where a kernel would refuse the call."""
    from tests.acceptance import formats
    from tests.acceptance.estimate import Budget
    from tests.acceptance.evaluator import evaluate
    from tests.acceptance.judge import VAGUE, kernel_type, largest, stored
    from tests.test_acceptance import DOUBTFUL, narrowed
    from tests.test_gallery import facts
    from tests.test_tiled_acceptance import VAGUE as SHARES

    found = facts(name)
    inputs = narrowed(found, dict(given), kind)
    budget = Budget("f32", kind, {})
    try:
        tensors = evaluate(found, inputs, parameters, budget)
    except ValueError:
        return None
    arrays: dict[str, Array] = dict(inputs)
    types = {k: formats.NAMES.get(v.dtype.name, v.dtype.name) for k, v in inputs.items()}
    scale = max(largest(tensors[o.name]) for o in found.cascade.outputs)
    undecided = 0.0
    for item in found.cascade.outputs:
        x = tensors[item.name]
        types[item.name] = item.element or kernel_type(found, inputs)
        value, bound = stored(x, types[item.name], item, budget)
        bound = np.where(np.isinf(bound) | (bound > VAGUE * scale), np.inf, bound)
        undecided = max(undecided, float(np.isinf(bound).mean()) if bound.size else 0.0)
        half = types[item.name] in ("f16", "bf16")
        with np.errstate(over="ignore"):
            kept = value.astype(np.float32 if half and np.all(bound > 0) else np.float64)
            upper = np.nextafter(bound.astype(np.float32), np.float32(np.inf))
        arrays[f"{item.name}/value"] = kept
        arrays[f"{item.name}/bound"] = np.where(bound == 0, np.float32(0), upper)
        arrays[f"{item.name}/wild"] = x.present & ~np.isfinite(value)
    limit = max(DOUBTFUL.get(name, 0.02), SHARES.get((name, label), 0) if kind != "f32" else 0)
    if wide:
        if undecided > DECIDED:
            return None
        limit = max(limit, DECIDED)
    return Case(label, kind, dict(parameters), types, wide, limit), arrays


def main() -> None:
    """Fills a folder, and says what is in it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "gpu" / "kernels"
    index = emit(folder)
    size = sum(p.stat().st_size for p in folder.iterdir()) / 2**20
    cases = sum(len(e.cases) for e in index.examples.values())
    print(f"{folder}: {len(index.examples)} examples, {cases} cases, {size:.1f} MiB")
    for name, example in index.examples.items():
        if example.refused:
            print(f"{name}: {example.refused}")


if __name__ == "__main__":
    main()
