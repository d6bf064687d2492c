# mypy: ignore-errors
"""Kernels run by WebGPU; helpers that emitted modules carry."""

import struct

import numpy as np
import wgpu

_KERNEL = "kernel"
_DEVICE = []


def _device():
    """A device, with as much memory for a buffer and as many buffers as it can have."""
    if not _DEVICE:
        adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        if adapter is None:
            raise RuntimeError(f"{_KERNEL}: WebGPU has no adapter here")
        asked = (
            "max-buffer-size",
            "max-storage-buffer-binding-size",
            "max-storage-buffers-per-shader-stage",
        )
        limits = {n: adapter.limits[n] for n in asked}
        _DEVICE.append(adapter.request_device_sync(required_limits=limits))
    return _DEVICE[0]


_USAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST


def _uploaded(array):
    """An array in the memory of the device."""
    if not array.size:
        return _allocated(array.shape, array.dtype)
    return _device().create_buffer_with_data(data=array, usage=_USAGE)


def _allocated(shape, dtype):
    """Room in the memory of the device."""
    size = max(1, int(np.prod(shape))) * dtype.itemsize
    return _device().create_buffer(size=size, usage=_USAGE)


def _downloaded(buffer, shape, dtype):
    """An array from the memory of the device."""
    size = int(np.prod(shape))
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer(_device().queue.read_buffer(buffer), dtype)[:size].reshape(shape).copy()


_PIPELINES = {}


def _launched(text, name, programs, arguments):
    """Runs a kernel: tensors are bound in order, behind them the numbers in one buffer."""
    device = _device()
    if text not in _PIPELINES:
        module = device.create_shader_module(code=text)
        _PIPELINES[text] = device.create_compute_pipeline(
            layout="auto", compute={"module": module, "entry_point": name}
        )
    pipeline = _PIPELINES[text]
    bound, numbers = [], b""
    for _, kind, value in arguments:
        if kind == "tensor":
            bound.append(value)
        else:
            numbers += np.dtype(kind).type(value).tobytes()
    numbers += struct.pack("<I", programs - 1)  # programs beyond this one end at once
    numbers += bytes(-len(numbers) % 16)
    usage = wgpu.BufferUsage.UNIFORM
    bound.append(device.create_buffer_with_data(data=numbers, usage=usage))
    entries = [
        {"binding": i, "resource": {"buffer": b, "offset": 0, "size": b.size}}
        for i, b in enumerate(bound)
    ]
    group = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = device.create_command_encoder()
    run = encoder.begin_compute_pass()
    run.set_pipeline(pipeline)
    run.set_bind_group(0, group)
    wide, deep = programs, 1
    while wide > 65535:  # the third dimension counts on where the first one ends
        wide, deep = (wide + 1) // 2, deep * 2
    run.dispatch_workgroups(wide, 1, deep)
    run.end()
    device.queue.submit([encoder.finish()])
