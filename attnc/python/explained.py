"""What a kernel can say of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Explain = Callable[[Mapping[str, int], str, str | None], Mapping[str, object]]
"""Of sizes, the floating type, and the device, if any."""


class Explanation(Mapping[str, object]):
    """What a cascade costs, as plain data; `print` shows it as `attnc explain` does.

    Calling it evaluates the formulas: `kernel.explain(M=4096, N=4096, dtype="f16")`. With a
    device, `target="cuda:90"`, it compiles the kernels for it.
    """

    def __init__(
        self, explain: Explain, sizes: Mapping[str, int], dtype: str, target: str | None = None
    ) -> None:
        self._explain = explain
        self._found = explain(sizes, dtype, target)

    def __call__(
        self, *, dtype: str = "f32", target: str | None = None, **sizes: int
    ) -> Explanation:
        """The same at these sizes; raises `UsageError` for one that the cascade does not have."""
        return Explanation(self._explain, sizes, dtype, target)

    def __getitem__(self, key: str) -> object:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        from attnc.terminal import explanation_text

        return explanation_text(self._found)

    __repr__ = __str__
