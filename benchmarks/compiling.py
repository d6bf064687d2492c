"""Compiles kernels one by one: a process that answers lines of JSON. Not run by hand.

Its folder holds what it needs: the modules, and `attnc/backends/triton/inspect.py` with
`disassembly.py`. So it runs on any Python that has torch and triton; see `devices.py`.
"""

import importlib.util
import json
import os
import sys
from functools import cache
from types import SimpleNamespace

import torch
import triton
from triton import language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from attnc.backends.triton.disassembly import matrix
from attnc.backends.triton.inspect import TARGETS, Launch, recorded

CUDA = GPUTarget("cuda", 90, 32)
STRIDES = [n.split() for n in ("qz qh qm qk", "kz kh kn kk", "vz vh vk vn", "oz oh om on")]


@cache
def module(path):
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(f"compiled_{len(sys.modules)}", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def tensor(shape, dtype):
    """A tensor that holds nothing."""
    return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")


def launches(job):
    """What an emitted module launches."""
    tensors = [tensor(*each) for each in job["tensors"]]
    called = module(job["path"])
    call = getattr(called, job["function"])
    return recorded(called, lambda _: call(*tensors, **job["parameters"]), job["target"])


def tutorial(job):
    """The forward kernels of a tutorial, their arguments found by their names."""
    rows, others, warps, stages = job["tiles"]
    head, length, dtype = job["head"], 1024, job["dtype"]
    q = tensor((4 * 32 * length, head), dtype)

    def described(lanes):
        return TensorDescriptor(q, q.shape, q.stride(), [lanes, head])

    given = {
        **dict.fromkeys(("Q", "K", "V", "Out"), q),
        **{f"desc_{n}": described(rows if n in "qo" else others) for n in "qkvo"},
        "sm_scale": 0.125,
        "M": tensor((4, 32, length), "float32"),
        "Z": 4,
        "H": 32,
        "N_CTX": length,
        "HEAD_DIM": head,
        "BLOCK_M": rows,
        "BLOCK_N": others,
        "CAUSAL": job["causal"],
        "STAGE": 3 if job["causal"] else 1,
        "dtype": getattr(tl, dtype),
        "FP8_OUTPUT": False,
        "warp_specialize": False,
        "IS_HOPPER": job["target"] == "cuda:90",
    }
    steps = (32 * length * head, length * head, head, 1)
    given |= {f"stride_{n}": s for names in STRIDES for n, s in zip(names, steps, strict=True)}
    kernels = [k for k in map(unwrapped, vars(module(job["path"])).values()) if is_forward(k)]
    newer = [k for k in kernels if "desc_q" in k.arg_names]
    return [
        Launch(k, {n: given[n] for n in k.arg_names}, (1,), warps, stages, {})
        for k in newer or kernels
    ]


def unwrapped(value):
    """What triton.jit made, without autotuning."""
    while not isinstance(value, JITFunction) and hasattr(value, "fn"):
        value = value.fn
    return value


def is_forward(kernel):
    """Whether it is a kernel of forward attention."""
    named = {"HEAD_DIM", "N_CTX", "sm_scale"}
    return isinstance(kernel, JITFunction) and named <= {*kernel.arg_names}


def answer(job):
    """One kernel, measured; without a number, how many there are."""
    found = tutorial(job) if job["kind"] == "tutorial" else launches(job)
    if "number" not in job:
        return {"count": len(found)}
    launch = found[job["number"]]
    report = launch.compiled(job["target"])
    values = {n: v for n, v in launch.arguments.items() if isinstance(v, (int, float))}
    constants = {p.name for p in launch.kernel.params if p.is_constexpr}
    return {
        "kernel": launch.kernel.__name__,
        "computes": (launch.kernel.__doc__ or "").strip().partition("\n")[0],
        "tiles": {n[:-5]: v for n, v in values.items() if n.endswith("_TILE")},
        "whole": sorted(n for n in values if f"{n}_TILE" in values and n in constants),
        "warps": launch.warps,
        "stages": launch.stages,
        "registers": report.registers,
        "spills": report.spills,
        "shared": report.shared,
        "most_shared": TARGETS[job["target"]],
        "matrix": dict(report.matrix),
        "inner": sum(report.inner.values()),
        "inner_matrix": dict(matrix(report.inner)),
        "instructions": sum(report.instructions.values()),
        "seconds": round(report.seconds, 2),
    }


def main():
    """Answers each line of standard input; what compilers print is left out."""
    out = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    # Modules may ask for a device while they are imported.
    triton.runtime.driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: CUDA,
            get_active_torch_device=lambda: torch.device("meta"),
        )
    )
    print(json.dumps({"triton": triton.__version__, "torch": torch.__version__}), file=out)
    out.flush()
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        # One kernel that cannot be made is a row of the table, whatever the compiler raised.
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {str(error)[-400:]}"}
        print(json.dumps(found), file=out)
        out.flush()


if __name__ == "__main__":
    main()
