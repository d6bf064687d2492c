# mypy: ignore-errors
"""Helpers that emitted kernels carry; `backends/library.py` copies those that a kernel uses.

Each function stands alone with NumPy and the others named in it. All names begin with an
underscore, which no name of a spec does.
"""

import math

import numpy as np

_KERNEL = "kernel"
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _tensor(name, value, ranks, types, sizes):
    """`value` as an array, after its element type and its sizes are checked.

    `ranks` names its ranks or gives their sizes; `sizes` remembers each rank's size and tensor.
    """
    if not hasattr(value, "__array__"):
        raise TypeError(f"{_KERNEL}: {name} must be an array, not {type(value).__name__}")
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{_KERNEL}: {name} does not convert to a NumPy array: {error}") from None
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    shown = f"{name}[{','.join(map(str, ranks))}]"
    if array.ndim != len(ranks):
        raise ValueError(f"{_KERNEL}: {shown} has {len(ranks)} ranks, not {array.ndim}")
    if array.dtype.name not in types:
        wanted = " or ".join(types)
        raise TypeError(f"{_KERNEL}: {name} must be {wanted}, not {array.dtype.name}")
    for rank, size in zip(ranks, array.shape):
        if isinstance(rank, int):
            known, where = rank, "its declaration"
        else:
            known, where = sizes.setdefault(rank, (size, name))
        if size != known:
            place = f"rank {rank} of {shown}" if isinstance(rank, str) else f"a rank of {shown}"
            raise ValueError(f"{_KERNEL}: {place} has size {size}, but {known} in {where}")
    return array


def _common(**tensors):
    """The one element type of the tensors that declare none."""
    (first, array), *rest = tensors.items()
    for name, other in rest:
        if other.dtype != array.dtype:
            raise TypeError(
                f"{_KERNEL}: {first} is {array.dtype.name} and {name} is {other.dtype.name}; "
                "tensors without an element type share one"
            )
    return array.dtype


def _extension(name):
    """An element type that NumPy lacks."""
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


def _int(name, value):
    """An int parameter."""
    kind = type(value).__name__
    try:
        number = None if isinstance(value, (bool, np.bool_)) else value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None:
        raise TypeError(f"{_KERNEL}: {name} must be an int, not {kind}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{_KERNEL}: {name} = {number} does not fit 64 bits")
    return np.int64(number)


def _near(name, value):
    """An int parameter, or the nearest number of 40 bits: nothing tells the difference."""
    return np.int64(max(-(2**40), min(_int(name, value), 2**40)))


def _real(name, value):
    """A float parameter."""
    kind = type(value).__name__
    scalar = hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0
    if not scalar or isinstance(value, (bool, np.bool_, np.complexfloating)):
        raise TypeError(f"{_KERNEL}: {name} must be a float, not {kind}")
    try:
        return np.float64(float(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{_KERNEL}: {name} is no float: {error}") from None


def _flag(name, value):
    """A bool parameter."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{_KERNEL}: {name} must be a bool, not {type(value).__name__}")
    return np.bool_(value)


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
    return np.int64(value)


def _value(name, value, present):
    """A binding, which must be present."""
    if not present:
        raise ValueError(
            f"{_KERNEL}: {name} is absent (a division by zero, or a cast out of range)"
        )
    return value


def _require(text, holds, /, **values):
    """Raises an error unless a requirement holds."""
    if not holds:
        shown = ", ".join(f"{name} = {value}" for name, value in values.items())
        raise ValueError(f"{_KERNEL}: `require {text}` does not hold" + (shown and f": {shown}"))


def _take(x, index, axis):
    """`x` at `index` along one axis; out of range is any value, for the caller to leave out."""
    size = x.shape[axis]
    if size == 0:
        return np.zeros(x.shape[:axis] + np.shape(index) + x.shape[axis + 1 :], x.dtype)
    return np.take(x, np.clip(index, 0, size - 1), axis=axis)


def _pick(x, *index):
    """`x` at one index per axis, broadcast together; out of range is any value."""
    if 0 in x.shape:
        return np.zeros(np.broadcast_shapes(*map(np.shape, index)), x.dtype)
    return x[tuple(np.clip(i, 0, size - 1) for i, size in zip(index, x.shape))]


def _einsum(subscripts, *operands, here, over):
    """np.einsum over the points where `here`, whose axes are `over`, holds.

    What lies at other points never enters, be it NaN or infinite.
    """
    inputs, output = subscripts.split("->")
    inputs = inputs.split(",")
    masked, covered = [], False
    for axes, x in zip(inputs, operands):
        away = tuple(i for i, a in enumerate(over) if a not in axes)
        shared = [a for a in over if a in axes]
        read = np.any(here, axis=away) if away else here
        read = np.transpose(read, sorted(range(len(shared)), key=lambda i: axes.index(shared[i])))
        shape = [n if a in shared else 1 for a, n in zip(axes, np.shape(x))]
        masked.append(np.where(np.reshape(read, shape), x, 0).astype(np.asarray(x).dtype))
        covered = covered or not away
    if all(np.all(np.isfinite(x)) for x in masked):
        if not covered:
            subscripts = f"{','.join(inputs)},{over}->{output}"
            masked.append(np.asarray(here, dtype=masked[0].dtype))
        return np.einsum(subscripts, *masked, optimize=True)
    return _exact_einsum(inputs, output, masked, here, over)


def _exact_einsum(inputs, output, operands, here, over):
    """The same product by product, in slices along the first axis of a large result."""
    sizes = {a: n for axes, x in zip(inputs, operands) for a, n in zip(axes, np.shape(x))}
    sizes |= {a: n for a, n in zip(over, np.shape(here)) if n != 1 or a not in sizes}
    if output and math.prod(sizes.values()) > 2**22:
        first, every = output[0], (*inputs, over)
        names = [axes.replace(first, "") for axes in every]
        slices = []
        for i in range(sizes[first]):
            parts = [
                np.take(x, i, axes.index(first)) if first in axes else x
                for axes, x in zip(every, (*operands, here))
            ]
            slices.append(_exact_einsum(names[:-1], output[1:], parts[:-1], parts[-1], names[-1]))
        return np.stack(slices)
    letters = output + "".join(a for a in sizes if a not in output)

    def spread(axes, x):
        x = np.transpose(x, sorted(range(len(axes)), key=lambda i: letters.index(axes[i])))
        return np.expand_dims(x, [i for i, a in enumerate(letters) if a not in axes])

    product = operands[0].dtype.type(1)
    for axes, x in zip(inputs, operands):
        product = product * spread(axes, x)
    product = np.where(spread(over, here), product, 0)
    return np.sum(product, axis=tuple(range(len(output), product.ndim)), dtype=operands[0].dtype)


def _mean(x, here, axis):
    """The mean over the points where `here` holds."""
    x, here = np.broadcast_arrays(x, here)
    return np.sum(np.where(here, x, 0), axis=axis) / np.sum(here, axis=axis).astype(x.dtype)


def _scan(combine, x, axis, reverse):
    """Running combination along an axis, from the end if `reverse`."""
    x = np.flip(x, axis) if reverse else x
    x = combine.accumulate(x, axis=axis)
    return np.flip(x, axis) if reverse else x


def _first(extreme, x, here, axis):
    """The first index along an axis where `x`, present where `here` holds, is extreme."""
    x, here = np.broadcast_arrays(x, here)
    if x.shape[axis] == 0:
        return np.zeros(np.delete(x.shape, axis), np.int64)
    start = np.argmax(here, axis=axis, keepdims=True)
    start = np.take_along_axis(x, start, axis)
    best = extreme.reduce(np.where(here, x, start), axis=axis, keepdims=True)
    hit = here & ((x == best) | ((x != x) & (best != best)))
    return np.argmax(hit, axis=axis)


def _argtopk(x, here, axis, count):
    """Indices along an axis, largest first, ties to the lowest, NaN largest; and which exist."""
    x, here = (np.moveaxis(a, axis, -1) for a in np.broadcast_arrays(x, here))
    size = x.shape[-1]
    index = size - 1 - np.flip(np.argsort(np.flip(x, -1), axis=-1, kind="stable"), -1)
    present = np.take_along_axis(here, index, -1)
    order = np.argsort(~present, axis=-1, kind="stable")
    index, present = (np.take_along_axis(a, order, -1)[..., :count] for a in (index, present))
    missing = [(0, 0)] * (x.ndim - 1) + [(0, max(0, int(count) - size))]
    return tuple(np.moveaxis(np.pad(a, missing), -1, axis) for a in (index, present))


def _bfloat16(x):
    """f32 values rounded to the nearest bf16, half to even."""
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, bits.view(np.float32))


def _erf(x):
    """The error function, by the C library."""
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.asarray(x).dtype)


def _fits(x, kind):
    """Whether a number, cut off, lies in the range of an integer type."""
    low, high = float(np.iinfo(kind).min), -float(np.iinfo(kind).min)
    if np.asarray(x).dtype.kind == "f":
        return (np.trunc(x) >= low) & (np.trunc(x) < high)
    return (x >= np.iinfo(kind).min) & (x <= np.iinfo(kind).max)


def _integer(x, kind):
    """Numbers cut off to integers; those that do not fit become any value."""
    return np.where(_fits(x, kind), x, 0).astype(kind)


def _random(*arguments):
    """Uniform in [0, 1), from a chain of splitmix64 steps over 64-bit arguments; 24 bits."""
    state = np.uint64(0x9E3779B97F4A7C15)
    for x in arguments:
        z = (state ^ np.asarray(x, np.int64).view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = z ^ (z >> np.uint64(31))
    return (state >> np.uint64(40)).astype(np.float64) / 2.0**24


def _store(x, shape, dtype, empty, here=True):
    """An output: absent points filled, broadcast to its shape, rounded to its element type."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and np.asarray(x).dtype != dtype:
        here = here & (x >= np.iinfo(dtype).min) & (x <= np.iinfo(dtype).max)
    out = np.empty(tuple(int(n) for n in shape), dtype)
    out[...] = np.where(here, x, empty).astype(dtype)
    return out


# What kernels of tiles use


def _tile(tiles, name, size, default):
    """The size of the tiles of an axis: as given, else the default, else the whole axis."""
    found = (tiles or {}).get(name, default)
    return max(1, int(size if found is None else found))


def _unset(shape, dtype):
    """A tensor that nothing was stored to: rubbish, NaN or the least integer."""
    kind = np.dtype(dtype).kind
    rubbish = np.nan if kind == "f" else True if kind == "b" else np.iinfo(dtype).min
    return np.full(shape, rubbish, dtype)


def _load(tensor, index, where, shape, fill=None):
    """A tile of a tensor where that holds; elsewhere the fill, or rubbish: NaN, least integers."""
    kind = tensor.dtype.kind
    rubbish = np.nan if kind == "f" else True if kind == "b" else np.iinfo(tensor.dtype).min
    rubbish = rubbish if fill is None else fill
    if tensor.size == 0:
        return np.full(shape, rubbish, tensor.dtype)
    places = tuple(np.clip(i, 0, n - 1) for i, n in zip(index, tensor.shape))
    found = np.where(where, tensor[places], rubbish).astype(tensor.dtype)
    return np.broadcast_to(found, shape)


def _find(tensor, index, rank, op, value, where, shape):
    """Where in a sorted rank a comparison begins to hold, by halves; rubbish elsewhere."""
    holds = {">=": np.greater_equal, ">": np.greater, "<=": np.less_equal, "<": np.less}[op]
    found = np.full(shape, np.iinfo(np.int64).min)
    rows = np.moveaxis(tensor, rank, -1)
    parts = [np.broadcast_to(x, shape) for x in (where, value, *index)]
    for lane in np.ndindex(shape):
        here, sought, *places = (part[lane] for part in parts)
        if here:
            row, low, high = rows[tuple(places)], 0, rows.shape[-1]
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if holds(row[middle], sought) else (middle + 1, high)
            found[lane] = low
    return found


def _dot(subscripts, left, right, where, dtype):
    """Sums of products where that holds; each operand counts only where some product does."""
    inputs, output = subscripts.split("->")
    first, second, over = inputs.split(",")
    operands = []
    for axes, x in ((first, left), (second, right)):
        sizes = dict(zip(axes, x.shape))
        away = tuple(i for i, a in enumerate(over) if a not in axes)
        seen = np.any(where, axis=away) if away else np.asarray(where)
        kept = [a for a in over if a in axes]
        seen = np.transpose(seen, sorted(range(len(kept)), key=lambda i: axes.index(kept[i])))
        shape = [sizes[a] if a in kept else 1 for a in axes]
        operands.append(np.where(np.reshape(seen, shape), x, 0).astype(dtype))
    if set(over) <= set(first) or set(over) <= set(second):
        return np.einsum(f"{first},{second}->{output}", *operands)
    weights = np.asarray(where, dtype)
    return np.einsum(f"{first},{second},{over}->{output}", *operands, weights)


def _fold(op, x, where, shape, axis, dtype):
    """A reduction of the lanes where that holds; of none, what changes nothing."""
    least, most = (-np.inf, np.inf)
    if np.dtype(dtype).kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    start = {"sum": 0, "prod": 1, "max": least, "min": most, "any": False, "all": True}[op]
    lanes = np.broadcast_to(np.where(where, x, start).astype(dtype), shape)
    if op in ("max", "min"):
        extreme = np.max if op == "max" else np.min
        return extreme(lanes, axis=axis, initial=start).astype(dtype)
    functions = {"sum": np.sum, "prod": np.prod, "any": np.any, "all": np.all}
    return functions[op](lanes, axis=axis).astype(dtype)


def _put(out, here, index, value, where, guard, shape, combine="set"):
    """Stores the lanes that the guard lets through, and which of them are present: else rubbish.

    What combines with what is there leaves absent lanes out; it starts from what changes nothing.
    """
    out, here, index = np.atleast_1d(out), np.atleast_1d(here), index or (0,)
    shape = shape or (1,)
    lanes = np.broadcast_to(guard, shape)
    present = np.broadcast_to(where, shape)
    if combine != "set":
        lanes = lanes & present
    places = tuple(np.broadcast_to(i, shape)[lanes] for i in index)
    values = np.broadcast_to(value, shape)[lanes]
    if combine == "set":
        out[places] = np.where(present[lanes], values, _unset((), out.dtype))
        here[places] = present[lanes]
        return
    ufunc = {"sum": np.add, "max": np.maximum, "min": np.minimum}[combine]
    least, most = -np.inf, np.inf
    if out.dtype.kind in "iu":
        least, most = np.iinfo(out.dtype).min, np.iinfo(out.dtype).max
    start = {"sum": 0, "max": least, "min": most}[combine]
    out[~here] = start  # what nothing was stored to has no value yet
    ufunc.at(out, places, values)
    here[places] = True


def _low(x, inside):
    """The least of the coordinates that are inside."""
    x, inside = np.broadcast_arrays(x, inside)
    return np.min(x[inside]) if inside.any() else np.int64(0)


def _high(x, inside):
    """The greatest of the coordinates that are inside."""
    x, inside = np.broadcast_arrays(x, inside)
    return np.max(x[inside]) if inside.any() else np.int64(-1)


def _programs(seed, *starts):
    """The first coordinates of every tile of the parallel axes, in a random order if seeded."""
    places = list(np.ndindex(*map(len, starts)))
    if seed is not None:
        np.random.default_rng((int(seed), len(places))).shuffle(places)
    return [tuple(s[i] for s, i in zip(starts, place)) for place in places]


def _starts(tile, full, *ranges):
    """Where the tiles of all ranges begin; those of full ones are whole tiles."""
    assert not full or all((high - low) % tile == 0 for low, high in ranges if low < high)
    return [start for low, high in ranges for start in range(low, high, tile)]


def _listed(row, low, high, tile):
    """Where tiles begin whose numbers lie at some places of a list."""
    numbers = np.atleast_1d(row)[int(low) : int(high)].astype(np.int64)
    assert np.all((numbers >= 0) & (numbers < np.size(row)))
    assert np.unique(numbers).size == numbers.size
    return list(numbers * tile)


def _any_order(starts, seed):
    """The tiles of an axis, in a random order if there is a seed."""
    if seed is None:
        return starts
    return np.random.default_rng((int(seed), len(starts))).permutation(np.asarray(starts, np.int64))


def _at(coordinates, place):
    """The coordinates of some lanes of an axis."""
    return coordinates[place] if coordinates.size else np.zeros_like(place)


def _scan_tile(op, x, where, shape, axis, dtype, reverse):
    """A running combination of the lanes where that holds."""
    least, most = (-np.inf, np.inf)
    if np.dtype(dtype).kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    start = {"sum": 0, "prod": 1, "max": least, "min": most, "any": False}[op]
    lanes = np.broadcast_to(np.where(where, x, start).astype(dtype), shape)
    combine = {
        "sum": np.add,
        "prod": np.multiply,
        "max": np.maximum,
        "min": np.minimum,
        "any": np.logical_or,
    }
    return _scan(combine[op], lanes, axis, reverse)


def _rounded(x, dtype):
    """Numbers rounded to an element type, held as they were."""
    return x.astype(dtype).astype(x.dtype)
