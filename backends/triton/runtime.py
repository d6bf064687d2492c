# mypy: ignore-errors
"""Helpers that emitted modules carry, around kernels; those that a module uses are copied.

Each function stands alone with torch, triton and the others named in it.
"""

import contextlib
import math
import os

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

_KERNEL = "kernel"
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _tensor(name, value, ranks, types, sizes):
    """Checks a tensor's type, element type and sizes.

    `ranks` names its ranks or gives their sizes; `sizes` remembers each rank's size and tensor.
    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{_KERNEL}: {name} must be a torch tensor, not {type(value).__name__}")
    if value.layout != torch.strided:
        raise TypeError(f"{_KERNEL}: {name} must be a dense tensor, not {value.layout}")
    shown = f"{name}[{','.join(map(str, ranks))}]"
    if value.ndim != len(ranks):
        raise ValueError(f"{_KERNEL}: {shown} has {len(ranks)} ranks, not {value.ndim}")
    kind = str(value.dtype).removeprefix("torch.")
    if kind not in types:
        wanted = " or ".join(types)
        raise TypeError(f"{_KERNEL}: {name} must be {wanted}, not {kind}")
    for rank, size in zip(ranks, value.shape):
        if isinstance(rank, int):
            known, where = rank, "its declaration"
        else:
            known, where = sizes.setdefault(rank, (size, name))
        if size != known:
            place = f"rank {rank} of {shown}" if isinstance(rank, str) else f"a rank of {shown}"
            raise ValueError(f"{_KERNEL}: {place} has size {size}, but {known} in {where}")
        if size >= 2**29:
            raise ValueError(f"{_KERNEL}: rank {rank} of {shown} has size {size}, 2**29 or more")
    return value


def _common(**tensors):
    """The one element type of the tensors that declare none."""
    (first, tensor), *rest = tensors.items()
    for name, other in rest:
        if other.dtype != tensor.dtype:
            raise TypeError(
                f"{_KERNEL}: {first} is {_name(tensor.dtype)} and {name} is {_name(other.dtype)}; "
                "tensors without an element type share one"
            )
    return tensor.dtype


def _name(dtype):
    """What an element type is called."""
    return str(dtype).removeprefix("torch.")


def _device_of(kernel, /, **tensors):
    """The one device of all tensors, which must be a GPU unless kernels are interpreted."""
    (first, tensor), *rest = tensors.items()
    for name, other in rest:
        if other.device != tensor.device:
            raise ValueError(
                f"{_KERNEL}: {first} is on {tensor.device} and {name} is on {other.device}; "
                "all tensors must be on one device"
            )
    if tensor.device.type != ("cuda" if isinstance(kernel, triton.JITFunction) else "cpu"):
        hint = " (TRITON_INTERPRET=1 runs it on cpu)" if tensor.device.type == "cpu" else ""
        raise ValueError(f"{_KERNEL}: {first} is on {tensor.device}, not on a GPU{hint}")
    return tensor.device


def _int(name, value):
    """An int parameter."""
    kind = type(value).__name__
    try:
        number = None if isinstance(value, bool) else value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None:
        raise TypeError(f"{_KERNEL}: {name} must be an int, not {kind}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{_KERNEL}: {name} = {number} does not fit 64 bits")
    return number


def _near(name, value):
    """An int parameter, or the nearest number of 40 bits: nothing tells the difference."""
    return max(-(2**40), min(_int(name, value), 2**40))


def _real(name, value):
    """A float parameter."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{_KERNEL}: {name} must be a float, not {type(value).__name__}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{_KERNEL}: {name} is no float: {error}") from None


def _flag(name, value):
    """A bool parameter."""
    if not isinstance(value, bool):
        raise TypeError(f"{_KERNEL}: {name} must be a bool, not {type(value).__name__}")
    return value


def _named(name, value, others):
    """A parameter that goes by another name here; `**{name: value}` gives it too."""
    value = others.pop(name, value)
    if value is None:
        raise TypeError(f"{_KERNEL}: the parameter {name} is missing")
    return value


def _no_more(others):
    """Raises an error if a call names parameters that there are not."""
    for name in others:
        raise TypeError(f"{_KERNEL}: there is no parameter {name}")


def _size(name, value):
    """An extent, which is never negative."""
    if value < 0:
        raise ValueError(f"{_KERNEL}: the extent {name} = {value} is negative")
    if value >= 2**29:
        raise ValueError(f"{_KERNEL}: the extent {name} = {value} is 2**29 or more")
    return value


def _value(name, formula):
    """A binding, which must be present."""
    try:
        return formula()
    except (ZeroDivisionError, OverflowError):
        raise ValueError(
            f"{_KERNEL}: {name} is absent (a division by zero, or a cast out of range)"
        ) from None


def _holds(formula):
    """Whether a condition on sizes and parameters holds; one that is absent does not."""
    try:
        return bool(formula())
    except (ZeroDivisionError, OverflowError):
        return False


def _require(text, formula, /, **values):
    """Raises an error unless a requirement holds."""
    if not _holds(formula):
        shown = ", ".join(f"{name} = {value}" for name, value in values.items())
        raise ValueError(f"{_KERNEL}: `require {text}` does not hold" + (shown and f": {shown}"))


def _claim(text, *parts):
    """Raises an error if a tensor is not sorted as it is said to be; looks only if told to.

    Each part is a tensor, a rank, and how each element along it compares with the next one.
    """
    if os.environ.get("ATTNC_CHECK", "0") in ("", "0"):
        return
    compare = {"<=": torch.le, "<": torch.lt, ">=": torch.ge, ">": torch.gt}
    for tensor, rank, op in parts:
        pairs = max(tensor.shape[rank] - 1, 0)
        first, second = tensor.narrow(rank, 0, pairs), tensor[_behind(rank)]
        if not compare[op](first, second).all():
            raise ValueError(f"{_KERNEL}: `require {text}` does not hold")


def _behind(rank):
    """The index of all but the first along a rank."""
    return (*[slice(None)] * rank, slice(1, None))


def _real_number(formula):
    """A floating number of sizes and parameters; NaN where it is none."""
    try:
        return float(formula())
    except (ZeroDivisionError, OverflowError, ValueError):
        return math.nan


def _quotient(a, b):
    """A floating quotient, as IEEE 754 has it."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _inverse(a):
    """The bits of an integer turned, or a truth."""
    return not a if isinstance(a, bool) else ~a


def _strides(tensor, factors=(16, 8, 4, 2)):
    """A common factor of a tensor's strides, 16 at most; strides by it, and the last one as is."""
    steps = [s if n > 1 else 0 for s, n in zip(tensor.stride(), tensor.shape)]
    if not steps:
        return 1, ()
    outer, last = steps[:-1], tensor.stride(-1) if tensor.shape[-1] > 1 else 1
    factor = next((f for f in factors if all(s % f == 0 for s in outer)), 1)
    if any(s >= 2**31 for s in outer):
        factor = 1
    return factor, (*(s // factor for s in outer), last)


def _long_strides(tensor):
    """The same of a tensor whose rows have any length: 16 or none, or each length had its own."""
    return _strides(tensor, (16,))


def _factor(size):
    """A factor of a size, so that it is known whether rows of that length end aligned."""
    return 16 if size % 16 == 0 else 1


def _box(tensor, factor, tile, target, warps):
    """A descriptor of a tensor's tiles, or None where they are loaded through pointers.

    Strides but the last have a factor. On an H200, for 4,096 keys in bf16, programs of 4 warps, of
    which several share a multiprocessor, took up to 15 % less time with it, those of 8 some 10 %
    more.
    """
    if warps != 4 or not target.startswith("cuda:") or int(target[5:]) < 90:
        return None
    sizes, width = [*tensor.shape], tensor.element_size()
    if width not in (2, 4) or factor * width % 16 or tensor.data_ptr() % 16:
        return None
    if tile[-1] * width < 16 or max(tile) > 256 or not all(0 < n < 2**31 for n in sizes):
        return None
    beyond = -(-tensor.numel() // 16) * 16  # of a rank of one position, any step will do
    *steps, last = (s if n > 1 else beyond for s, n in zip(tensor.stride(), sizes))
    if (last != 1 and sizes[-1] > 1) or not all(0 < s * width < 2**40 for s in steps):
        return None
    return TensorDescriptor(tensor, sizes, [*steps, 1], [*tile])


def _index(spans, *numbers):
    """The type of coordinates: 64 bits where offsets within a program, or numbers, need them.

    `spans` are tensors with the ranks along which lanes vary.
    """
    for tensor, ranks in spans:
        reach = sum((tensor.shape[r] - 1) * abs(tensor.stride(r)) for r in ranks)
        if reach >= 2**31:
            return tl.int64
    return tl.int64 if any(abs(n) >= 2**29 for n in numbers) else tl.int32


def _power(size, least=1, most=2**20):
    """The least power of two that is a size or more."""
    return max(least, min(most, 1 << max(0, int(size) - 1).bit_length()))


def _type_of(dtype):
    """The type of elements as a kernel knows it."""
    names = {"float16": "float16", "bfloat16": "bfloat16", "float64": "float64"}
    return getattr(tl, names.get(_name(dtype), "float32"))


def _target_of(device):
    """The kind of a device: its maker and architecture."""
    if device.type != "cuda":
        return "cuda:90"  # interpreted
    if torch.version.hip:
        return f"hip:{torch.cuda.get_device_properties(device).gcnArchName.split(':')[0]}"
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda:{major}{minor}"


def _multiprocessors(device):
    """How many programs a device runs side by side, at least."""
    if device.type != "cuda":
        return 132  # interpreted
    return torch.cuda.get_device_properties(device).multi_processor_count


def _points(device, programs, results, points, tile, beside=1):
    """How many points of a stream a piece of it has; 0 where it had better be gone through whole.

    That is where merging costs as much as is saved. A second kernel takes about as long as 400
    points, and 20 more for each result that a multiprocessor merges. Tiles divide `tile`; `beside`
    is how much there is at each point.
    """
    side_by_side = _multiprocessors(device)
    if not 0 < programs < side_by_side or not points * beside > 512:
        return 0
    found = max(-(-points * programs // (4 * side_by_side)), -(-256 // beside))
    found = -(-found // tile) * tile
    left = max(found, points * programs // side_by_side)
    cost = 400 + 20 * results // side_by_side
    return found if (points - left) * beside > cost else 0


def _only(target, device):
    """The kind of device for which kernels were printed; it must be that of the call."""
    if device.type == "cuda" and _target_of(device) != target:
        raise ValueError(f"{_KERNEL}: printed for {target}, and {device} is {_target_of(device)}")
    return target


def _on(device):
    """Within it, kernels are launched on a device."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


_SHARED = {"cuda:75": 64, "cuda:80": 163, "cuda:87": 163, "cuda:90": 227, "cuda:100": 227}
"""Kilobytes of shared memory that a program may have; elsewhere on cuda 99, on hip 64."""


def _fitting(target, dtype, rows, tile, warps, beside, live, once, rounds):
    """Stages of the pipeline with which tiles fit into registers and shared memory; 0 if none.

    `live` are the lanes of tiles that live at once, `once` and `rounds` those of operands that are
    loaded before a loop and in each of its rounds; of `rows` there are no more than a `tile`.
    `beside`: so many programs must fit on one multiprocessor, where products of matrices run beside
    everything else. The smallest tiles need not fit into registers: what does not is kept in
    memory, slowly.
    """
    hip = target.startswith("hip")
    threads = (64 if hip else 32) * warps
    wide = 2 if dtype == torch.float64 else 1
    lanes = live
    if dtype in (torch.float32, torch.float64):  # without matrix units, operands are in registers
        lanes += once + rounds
    if live > 2**20:  # more than Triton allows in one tile
        return 0
    most = 200 if hip else 144
    room = _SHARED.get(target, 64 if hip else 99)
    least = 1
    if target == "cuda:90" and rounds and dtype.itemsize <= 2:
        if warps > 4 and tile < 16 * warps:  # a matrix instruction has 16 rows of each warp
            return 0
        most = 3 * min(64, 512 // (beside * warps))  # three quarters of a thread's registers
        room = (room + 1) // beside - 1
        least = min(beside, 2)
    if rows > 16 and lanes * wide > threads * most:
        return 0
    if hip:  # what is loaded ahead is in registers, and 8 KB are for what is exchanged
        return 2 if dtype.itemsize * rounds + 8192 <= 1024 * room else 0
    for stages in range(3, least - 1, -1):
        if dtype.itemsize * (once + stages * rounds) <= 1024 * room:
            return stages
    return 0


def _limited(target, dtype, warps, beside):
    """The registers of a thread, where so many programs are to run side by side."""
    if target != "cuda:90" or dtype.itemsize > 2 or beside * warps <= 8:
        return {}
    return {"maxnreg": 2048 // (beside * warps)}


def _too_large(target, **extents):
    """What is raised where no tile fits, however small."""
    shown = ", ".join(f"{axis} of {size}" for axis, size in extents.items())
    return ValueError(f"{_KERNEL}: ranks that are held whole do not fit on {target}: {shown}")
