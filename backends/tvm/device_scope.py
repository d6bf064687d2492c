"""What the text of a kernel for a device knows: names that are safe there, and what is touched."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnc.backends.names import Names
from attnc.backends.triton.schedule import tiled
from attnc.backends.triton.terms import Term
from attnc.backends.tvm.device_expressions import DeviceExpressions
from attnc.backends.tvm.scope import RESERVED, LaneScope
from attnc.ir.tiles import Kernel, Plan
from attnc.passes.tiling.context import Context


@dataclass
class SafeNames(Names):
    """Names that are words of no device's language: letters, and names that end with `_`."""

    def fresh(self, name: str) -> str:
        """The first free name that is safe."""
        return Names.fresh(self, name if len(name) == 1 else f"{name}_")


@dataclass
class DeviceScope(LaneScope):
    """Names and terms of one kernel of a device, lane by lane."""

    def __post_init__(self) -> None:
        LaneScope.__post_init__(self)
        self.text: DeviceExpressions = DeviceExpressions(self)
        self.vector: str | None = None

    touched: dict[str, None] = field(default_factory=dict[str, None])
    """Tiles, and the kernel's own values, that have been asked for since this was emptied."""

    def element(self, name: str) -> str:
        """A lane of a tile's buffer."""
        self.touched[name] = None
        return LaneScope.element(self, name)

    def value(self, name: str) -> Term:
        """A number that all programs, or all threads of one, share."""
        self.touched[name] = None
        return LaneScope.value(self, name)


def device_scope(plan: Plan, kernel: Kernel) -> DeviceScope:
    """What is known of a kernel before it is printed."""
    context = Context(plan, kernel)
    names = SafeNames(set(RESERVED) | {"thread", "THREADS", "NINF", "NOT"})
    return DeviceScope(plan, kernel, context, tiled(context), names=names)
