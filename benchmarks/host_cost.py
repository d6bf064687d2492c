"""What a call costs before a kernel runs: time of the host, and memory, as sequences get longer.

    python -m benchmarks.host_cost [NAME ...] [--lengths 1024 ...] [--calls 200] [--masks 4096]

Modules are those of the Triton backend; their kernels are replaced by something that does nothing,
so that neither a GPU nor Triton's launcher takes part. For each example and length:

`us`         microseconds of a call, the median: checks, sizes, strides, the choice of tiles
`empty`      of these, what the CPU needs to give the outputs their memory
`beyond`     bytes of tensors that a call makes, without its outputs
`python`     the most bytes of Python's own objects during a call
`arguments`  of all launches together
`kernels`    what Triton would have compiled, of the lengths up to this one

`--masks` adds the time in which FlexAttention, on this CPU, builds its mask of blocks for a causal
window, up to that length.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import re
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from attnc.ir.facts import Facts

ROOT: Final = Path(__file__).resolve().parents[1]
EXAMPLES: Final = (
    "sliding_window sliding_window_sinks causal longformer moa_heads packed_documents "
    "neighbourhood_2d_flat dense"
).split()
LENGTHS: Final = (1 << 10, 1 << 14, 1 << 18, 1 << 20)
SIZES: Final = {"B": 1, "H": 2, "J": 1, "E": 64, "F": 64}
"""Of ranks that are not lengths."""


@dataclass
class Launches:
    """Takes the place of kernels: it keeps what they are launched with, and does nothing."""

    count: int = 0
    compiled: set[Any] = field(default_factory=set[Any])
    """What kernels are compiled for: constants, and the types of arguments."""

    def of(self, name: str) -> Any:
        """What stands for one kernel."""

        class Kernel:
            def __getitem__(_, grid: object) -> Any:  # noqa: N805
                return lambda *args, **kwargs: self._launched(name, args, kwargs)

        return Kernel()

    def _launched(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.count += len(args)
        types = tuple(str(getattr(a, "dtype", type(a).__name__)) for a in args)
        self.compiled.add((name, types, tuple((k, str(v)) for k, v in kwargs.items())))


@dataclass(frozen=True)
class Cost:
    """A call at one length."""

    example: str
    length: int
    us: float
    empty: float
    beyond: int
    python: int
    arguments: int
    kernels: int


def costs(
    spec: str, emitted: str, lengths: Sequence[int], calls: int, sizes: Mapping[str, int] = SIZES
) -> list[Cost]:
    """Calls an emitted module at some lengths; Triton has to have been imported as interpreter."""
    from torch.utils._pytree import tree_leaves

    import attnc

    facts = attnc.check(spec).select()
    name = facts.cascade.name
    module, launches = _loaded(emitted, name), Launches()
    for kernel in [k for k in vars(module) if re.fullmatch(r"_k\d+", k)]:
        setattr(module, kernel, launches.of(kernel))
    call = getattr(module, name)
    costs: list[Cost] = []
    for length in lengths:
        tensors = list(_tensors(facts, length, sizes))
        launches.count = 0
        outputs = [(o.shape, o.dtype) for o in tree_leaves(call(*tensors))]
        arguments = launches.count

        us = _median(partial(call, *tensors), calls)
        beyond = _beyond(call, tensors)
        tracemalloc.start()
        call(*tensors)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        compiled = len(launches.compiled)
        costs.append(
            Cost(
                name,
                length,
                us,
                _median(partial(_empty, outputs), calls),
                beyond,
                most,
                arguments,
                compiled,
            )
        )
    return costs


def _empty(outputs: Sequence[tuple[torch.Size, torch.dtype]]) -> None:
    import torch

    for shape, dtype in outputs:
        torch.empty(shape, dtype=dtype)


def _median(call: Callable[[], object], calls: int) -> float:
    spent = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1e6)
    return statistics.median(spent)


def _tensors(facts: Facts, length: int, sizes: Mapping[str, int]) -> Iterator[torch.Tensor]:
    """Inputs whose memory nothing touches."""
    import torch

    types = {None: torch.float16, "i32": torch.int32, "bool": torch.bool}
    for item in facts.cascade.inputs:
        shape = [sizes.get(str(s), length) for s in item.sizes]
        yield torch.empty(shape, dtype=types[item.element])


def _beyond(call: Any, tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of what a call allocates, each time, without what it gives back."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    made: dict[int, int] = {}

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            found = func(*args, **(kwargs or {}))
            for item in tree_leaves(found):
                if isinstance(item, torch.Tensor):
                    storage = item.untyped_storage()
                    made[storage.data_ptr()] = storage.nbytes()
            return found

    with Watch():
        found = call(*tensors)
    known = {t.untyped_storage().data_ptr() for t in (*tensors, *tree_leaves(found))}
    return sum(n for place, n in made.items() if place not in known)


def _loaded(text: str, name: str) -> ModuleType:
    """A module, from a file: Triton reads the source of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"_host_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def masks(most: int, window: int = 4096) -> Iterator[tuple[int, float]]:
    """Lengths, and the milliseconds in which a mask of blocks is built for a causal window."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(b: Any, h: Any, m: Any, n: Any) -> Any:
        return (n <= m) & (m - n < window)

    with torch.no_grad():
        for exponent in range(10, int(math.log2(max(most, 1))) + 1, 2):
            length = 1 << exponent
            start = time.perf_counter()
            create_block_mask(seen, None, None, length, length, device="cpu")
            yield length, (time.perf_counter() - start) * 1e3


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.host_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("examples", nargs="*", default=EXAMPLES, metavar="NAME")
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--masks", type=int, default=0, metavar="LENGTH")
    options = parser.parse_args()
    os.environ["TRITON_INTERPRET"] = "1"  # so that tensors may be on the CPU

    import attnc

    head = ("length", "us", "empty", "beyond", "python", "arguments", "kernels")
    print(f"{'example':<24}{''.join(f'{h:>11}' for h in head)}")
    for example in options.examples:
        text = (ROOT / "examples" / f"{example}.attn").read_text(encoding="utf-8")
        emitted = attnc.compile(text, name=f"{example}.attn", backend="triton")
        for cost in costs(text, emitted, options.lengths, options.calls):
            _, *numbers = asdict(cost).values()
            shown = (f"{n:>11,.0f}" for n in numbers)
            print(f"{cost.example:<24}{''.join(shown)}", flush=True)
    if options.masks:
        print("\na mask of blocks on this CPU, ms")
    for length, spent in masks(options.masks):
        print(f"{length:>11,}{spent:>11,.1f}", flush=True)


if __name__ == "__main__":
    main()
