# mypy: ignore-errors
"""Kernels for devices that this machine's libraries do not run; helpers of emitted modules."""

_KERNEL = "kernel"
_KIND = "metal"


def _no_device():
    """Raises an error: there is the text alone."""
    raise RuntimeError(f"{_KERNEL}: printed as text for {_KIND}, which `source` gives")


def _uploaded(array):
    """An array in the memory of the device."""
    _no_device()


def _allocated(shape, dtype):
    """Room in the memory of the device."""
    _no_device()


def _downloaded(buffer, shape, dtype):
    """An array from the memory of the device."""
    _no_device()


def _launched(text, name, programs, arguments):
    """Runs a kernel."""
    _no_device()
