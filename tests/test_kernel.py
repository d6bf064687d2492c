"""`attnc.kernel`: the ways to make one, what it shows, how it is called, copied and kept."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import pytest
import torch

import attnc
from attnc import digest
from attnc.python import build
from tests.support import EXAMPLES, ROOT, only

Tensor = torch.Tensor
Keys = Annotated[Tensor, "B J N E"]

SPEC = """
cascade scaled(X[B,N], factor: float = 2.0, shift: int = 0) -> O[B,N]:
    O[b,n] = factor * X[b,n] + shift
"""


@attnc.kernel
def sliding_window(Q: "B H M E", K: "B J N E", V: "B J N F", *, window: int = 4096) -> "B H M F":
    """
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < window
    return softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    """


@attnc.kernel
def annotated(
    Q: Annotated[Tensor, "B H M E"], K: Keys, V: Annotated[Tensor, "B J N F"], *, window: int = 4096
) -> Annotated[Tensor, "B H M F"]:
    """
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < window
    return softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    """


WINDOW = """
cascade sliding_window(
    Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], window: int = 4096
) -> O[B,H,M,F]:
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) where n <= m, m - n < window
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
"""


class Layer:
    """A class with kernels of every kind."""

    scale = 3.0

    @attnc.kernel
    def shifted(self, X: "B N", by: int = 1) -> "B N":
        """return X[b,n] + by"""

    @staticmethod
    @attnc.kernel
    def doubled(X: "B N") -> "B N":
        """return 2 * X[b,n]"""

    tripled = attnc.kernel("cascade tripled(X[N]) -> O[N]:\n    O[n] = 3 * X[n]\n")


def qkv(dtype: Any = np.float32, seed: int = 0) -> tuple[np.ndarray[Any, Any], ...]:
    """Queries of 4 heads, keys and values of 2."""
    rng = np.random.default_rng(seed)
    shapes = (2, 4, 7, 8), (2, 2, 9, 8), (2, 2, 9, 5)
    return tuple(rng.normal(size=s).astype(dtype) for s in shapes)


# The ways to make one


def test_all_ways_are_one_kernel(tmp_path: Path) -> None:
    """A function, annotations of either kind, a text and a file emit the same text."""
    path = tmp_path / "spec.attn"
    path.write_text(WINDOW, encoding="utf-8")
    made = [attnc.kernel(WINDOW), attnc.kernel(path), attnc.kernel(str(path)), sliding_window]
    *same, other = (k.with_backend("numpy").source for k in (*made, annotated))
    assert {*same, other.replace("annotated", "sliding_window")} == {same[0]}


def test_the_spec_is_a_file() -> None:
    """What runs in model code can be pasted into a file."""
    checked = attnc.check(sliding_window.spec)
    assert [c.name for c in checked.cascades] == ["sliding_window"]
    assert attnc.compile(sliding_window.spec, backend="tvm") == sliding_window.source
    assert attnc.kernel(sliding_window.spec).source == sliding_window.source


def test_docstring_with_macros_and_comments() -> None:
    @attnc.kernel(backend="numpy")
    def gated(X: "B N", *, sharp: float = 1.5) -> ("B N", "B empty -inf"):
        """
        # softer than a step
        def gate(x) = sigmoid(sharpness(x, 2))
        def sharpness(x, y) = x * y   # twice

        # the body
        Y[b,n] = gate(X[b,n]) * sharp  # a tensor
            where n > 0

        return Y[b,n], sum[n](Y[b,n])
        """

    lines = gated.spec.splitlines()
    assert lines[0] == "# softer than a step"
    assert lines[1] == "def gate(x) = sigmoid(sharpness(x, 2))"
    assert "-> Y[B,N], O2[B] empty -inf:" in lines[3]
    assert "    # the body" in lines
    assert "        where n > 0" in lines
    assert lines[-1] == "    O2[b] = sum[n](Y[b,n])"
    x = np.random.default_rng(0).normal(size=(2, 5))
    y, total = gated(x)
    expected = 1.5 / (1 + np.exp(-2 * x))
    np.testing.assert_allclose(y[:, 1:], expected[:, 1:])
    assert (y[:, 0] == 0).all()
    np.testing.assert_allclose(total, expected[:, 1:].sum(1))
    assert gated(x[:, :1])[1].tolist() == [-np.inf, -np.inf]


def test_types_and_fills_stand_in_annotations() -> None:
    @attnc.kernel
    def last(doc: "B N: i32") -> "B: i32 empty -1":
        """return max[n](only(n, doc[b,n] > 0))"""

    given = np.array([[1, 2, 0], [0, 0, 0]], np.int32)
    assert last(given).tolist() == [1, -1]
    assert last(given).dtype == np.int32


def test_names_of_results_avoid_others() -> None:
    @attnc.kernel
    def two(O: "N", O2: "N") -> ("N", "N"):  # noqa: E741
        """return O[n] + O2[n], O[n] - O2[n]"""

    assert [o.name for o in two.signature.outputs] == ["O3", "O4"]
    a, b = two(np.ones(2), np.full(2, 3.0))
    assert (a.tolist(), b.tolist()) == ([4.0, 4.0], [-2.0, -2.0])


def test_a_name_no_cascade_can_have() -> None:
    def _hidden(X: "N") -> "N":
        """return X[n]"""

    def where(X: "N") -> "N":
        """return X[n]"""

    assert attnc.kernel(_hidden).name == "hidden"
    assert attnc.kernel(where).name == "kernel"
    assert attnc.kernel(where).__name__ == "where"


def test_one_cascade_of_several() -> None:
    text = SPEC + "cascade other(X[N]) -> O[N]:\n    O[n] = X[n]\n"
    with pytest.raises(attnc.UsageError, match="the file has 2 cascades, name one: scaled, other"):
        attnc.kernel(text)
    assert attnc.kernel(text, cascade="other").name == "other"


def test_parameters_fixed_when_compiling() -> None:
    kernel = attnc.kernel(SPEC, static={"factor": 0.5})
    x = np.ones((1, 2))
    assert kernel(x, shift=1).tolist() == [[1.5, 1.5]]
    assert kernel.signature.arguments == ("X", "shift")
    with pytest.raises(TypeError, match=r"scaled: factor was fixed as 0\.5 by the compilation"):
        kernel(x, factor=1.0)
    assert attnc.kernel(SPEC, static={"shift": np.int64(2)}) == attnc.kernel(
        SPEC, static={"shift": 2}
    )
    with pytest.raises(attnc.UsageError, match="the parameter 'shift' cannot be '2': it is no num"):
        attnc.kernel(SPEC, static={"shift": "2"})  # type: ignore[dict-item]
    with pytest.raises(attnc.UsageError, match="no parameter is called 'fator'; did you mean"):
        attnc.kernel(SPEC, static={"fator": 1.0})

    @attnc.kernel(static={"by": 4})
    def shifted(X: "N", by: int, other: int = 0) -> "N":
        """return X[n] + by + other"""

    assert shifted(np.zeros(1), 1).tolist() == [5.0]
    assert shifted(torch.zeros(1), 1).tolist() == [5.0]


def test_a_fixed_floating_type() -> None:
    kernel = attnc.kernel(SPEC, dtype="f64")
    with pytest.raises(TypeError, match="scaled: X must be float64, not float32"):
        kernel(np.ones((1, 1), np.float32))


@pytest.mark.parametrize("value", [3, None, [], staticmethod(len)])
def test_what_is_no_spec(value: Any) -> None:
    if value is None:
        assert callable(attnc.kernel(value))  # as a decorator with arguments
        return
    with pytest.raises(attnc.UsageError, match="takes a function, a text or a path"):
        attnc.kernel(value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.attn"):
        attnc.kernel("nowhere.attn")


def test_warnings_are_python_warnings() -> None:
    text = "cascade a(X[N]) -> O[N]:\n    Y[n] = X[n]\n    O[n] = X[n]\n"
    for _ in range(2):  # each time, whatever the caches hold
        with pytest.warns(attnc.SpecWarning, match=r"<spec>:2:5: warning: 'Y' is never read"):
            attnc.kernel(text)


# What it shows


def test_attributes() -> None:
    assert sliding_window.name == sliding_window.__name__ == "sliding_window"
    assert sliding_window.__module__ == __name__
    assert sliding_window.__doc__ is not None
    assert "G = H // J" in sliding_window.__doc__
    assert "softmax[n](S[b,h,m,n])" in sliding_window.spec
    assert "def sliding_window(Q, K, V, *, window=4096):" in sliding_window.source
    assert sliding_window.backend is None
    assert repr(attnc.kernel(SPEC)) == (
        "<attnc kernel scaled(X[B,N], factor: float = 2.0, shift: int = 0) -> O[B,N]>"
    )
    assert str(inspect.signature(sliding_window)) == "(Q, K, V, *, window: 'int' = 4096)"
    assert str(inspect.signature(Layer().shifted)) == "(X, by: 'int' = 1)"


def test_explain() -> None:
    found = sliding_window.explain
    assert found["cascade"] == "sliding_window"
    assert str(found).startswith("sliding_window, as written\n")
    sized = found(B=1, H=2, J=1, M=8, N=8, E=4, F=4, dtype="f16")
    assert sized["missing"] == []
    assert sized["dtype"] == "f16"
    assert dict(sized) == attnc.explain(
        attnc.check(sliding_window.spec).select(),
        {"B": 1, "H": 2, "J": 1, "M": 8, "N": 8, "E": 4, "F": 4},
        "f16",
    )
    with pytest.raises(attnc.UsageError, match="has no size 'Z'"):
        found(Z=3)


# How it is called


def test_numpy_and_torch_agree() -> None:
    q, k, v = qkv()
    plain = only(WINDOW)(q, k, v, window=3)
    np.testing.assert_array_equal(sliding_window.with_backend("numpy")(q, k, v, window=3), plain)
    ours = sliding_window(q, k, v, window=3)
    assert isinstance(ours, np.ndarray)
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    found = sliding_window(*tensors, window=3)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), ours)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (torch.float16, np.float16),
        (torch.bfloat16, ml_dtypes.bfloat16),
        (torch.float64, np.float64),
    ],
)
def test_floating_types(there: torch.dtype, here: Any) -> None:
    arrays = qkv(here)
    tensors = [torch.from_numpy(x.astype(np.float64)).to(there) for x in arrays]
    found = sliding_window(*tensors)
    assert found.dtype == there
    expected = sliding_window(*arrays)
    assert expected.dtype == here
    np.testing.assert_array_equal(found.double().numpy(), expected.astype(np.float64))


@pytest.mark.parametrize(
    ("element", "there"),
    [
        ("i8", torch.int8),
        ("u8", torch.uint8),
        ("i32", torch.int32),
        ("i64", torch.int64),
        ("bool", torch.bool),
        ("f8e4m3", torch.float8_e4m3fn),
        ("f8e5m2", torch.float8_e5m2),
        ("bf16", torch.bfloat16),
    ],
)
def test_element_types(element: str, there: torch.dtype) -> None:
    kernel = attnc.kernel(f"cascade copied(X[N]: {element}) -> O[N]: {element}:\n    O[n] = X[n]\n")
    given = torch.tensor([0, 1, 1, 0]).to(there)
    found = kernel(given)
    assert found.dtype == there
    assert torch.equal(found.to(torch.float32), given.to(torch.float32))


def test_tensors_of_any_strides() -> None:
    q, k, v = (torch.from_numpy(x) for x in qkv())
    expected = sliding_window(q, k, v)
    odd = q.transpose(1, 2).contiguous().transpose(1, 2)
    assert not odd.is_contiguous()
    assert torch.equal(sliding_window(odd, k, v), expected)
    assert torch.equal(sliding_window(q, k, v.expand(2, 2, 9, 5)), expected)


def test_arguments_by_name_and_place() -> None:
    q, k, v = qkv()
    expected = sliding_window(q, k, v, window=2)
    np.testing.assert_array_equal(sliding_window(V=v, K=k, Q=q, window=2), expected)

    @attnc.kernel
    def mixed(factor: float, X: "N", shift: int = 1) -> "N":
        """return factor * X[n] + shift"""

    for x in (np.ones(2), torch.ones(2)):
        assert mixed(3.0, x).tolist() == [4.0, 4.0]
        assert mixed(3, x, 2).tolist() == [5.0, 5.0]
        assert mixed(X=x, factor=1.0, shift=np.int64(0)).tolist() == [1.0, 1.0]


WRONG = [
    ((), {}, TypeError, "sliding_window: the tensor Q is missing"),
    (
        (1, 2, 3, 4),
        {},
        TypeError,
        r"sliding_window: 4 arguments by position, but there are 3 \(Q, K",
    ),
    ((1,), {"Q": 1}, TypeError, "sliding_window: Q is given twice"),
    ((1, 2, 3), {"windw": 1}, TypeError, "there is no argument windw; did you mean 'window'"),
    ((1, 2, 3), {}, TypeError, "sliding_window: Q must be a tensor of torch or NumPy, not int"),
    ((torch.ones(1), np.ones(1), 1), {}, TypeError, "K is no PyTorch tensor but ndarray"),
    (None, {"window": 1.5}, TypeError, "sliding_window: window must be an int, not float"),
    (None, {"window": "3"}, TypeError, "sliding_window: window must be an int, not str"),
    (None, {"window": True}, TypeError, "sliding_window: window must be an int, not bool"),
    (None, {"V": 0}, TypeError, "sliding_window: V is given twice"),
]


@pytest.mark.parametrize("torched", [False, True])
@pytest.mark.parametrize(("arguments", "keywords", "kind", "message"), WRONG)
def test_wrong_calls(arguments: Any, keywords: Any, kind: Any, message: str, torched: bool) -> None:
    given = qkv() if arguments is None else arguments
    if torched:
        given = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in given]
        if "must be a tensor" in message or "no PyTorch" in message:
            return
    with pytest.raises(kind, match=message):
        sliding_window(*given, **keywords)


def test_wrong_sizes_name_the_rank() -> None:
    q, k, v = qkv()
    for turn in (np.asarray, torch.from_numpy):
        with pytest.raises(ValueError, match=r"rank E of K\[B,J,N,E\] has size 7, but 8 in Q"):
            sliding_window(turn(q), turn(k[..., :7]), turn(v))


def test_tensors_elsewhere_are_refused() -> None:
    kernel = attnc.kernel(SPEC)
    found = kernel(torch.ones(2, 3, device="meta"))
    assert found.device.type == "meta"
    assert found.shape == (2, 3)


def test_methods() -> None:
    layer = Layer()
    x = np.zeros((1, 2))
    assert layer.shifted(x, by=2).tolist() == [[2.0, 2.0]]
    assert layer.shifted(x, 3).tolist() == [[3.0, 3.0]]
    assert Layer.shifted(layer, x).tolist() == [[1.0, 1.0]]
    assert layer.doubled(x + 1).tolist() == Layer.doubled(x + 1).tolist() == [[2.0, 2.0]]
    assert layer.tripled(x[0] + 1).tolist() == [3.0, 3.0]


def test_names_of_python() -> None:
    """A spec may use any name; each goes by itself as a keyword."""
    text = (
        "cascade def_(None[N], lambda[N], np: float, class: int, x: float = 0.0) -> self[N]:\n"
        "    self[n] = None[n] * np + lambda[n] * class + x\n"
    )
    kernel = attnc.kernel(text)
    for turn in (np.asarray, torch.as_tensor):
        a, b = turn([1.0, 2.0]), turn([10.0, 20.0])
        assert kernel(a, b, np=2.0, **{"class": 3}).tolist() == [32.0, 64.0]
        assert kernel(**{"None": a, "lambda": b, "np": 0.0, "class": 1}).tolist() == [10.0, 20.0]


def test_one_name_of_a_tensor_and_a_parameter() -> None:
    kernel = attnc.kernel("cascade a(x[N], x: float) -> O[N]:\n    O[n] = x[n] * x\n")
    assert kernel(np.ones(1), x=2.0).tolist() == [2.0]


def test_unread_results_of_nothing() -> None:
    kernel = attnc.kernel("cascade ramp(N: int) -> O[N]: i32:\n    O[n] = i32(n * n)\n")
    assert kernel(N=4).tolist() == [0, 1, 4, 9]


# Copies, pickles, threads


@pytest.mark.parametrize("kernel", [sliding_window, attnc.kernel(SPEC), Layer.shifted])
def test_copies(kernel: Any) -> None:
    assert copy.copy(kernel) is kernel
    assert copy.deepcopy({"k": kernel})["k"] is kernel
    loaded = pickle.loads(pickle.dumps(kernel))  # noqa: S301
    assert loaded == kernel
    assert hash(loaded) == hash(kernel)
    assert loaded.source == kernel.source
    assert (loaded.__name__, loaded.__doc__) == (kernel.__name__, kernel.__doc__)
    assert str(inspect.signature(loaded)) == str(inspect.signature(kernel))


def test_a_pickle_works_where_the_function_is_not(tmp_path: Path) -> None:
    """Another process has neither this module nor the function."""
    path = tmp_path / "kernel.pickle"
    scaled = attnc.kernel(SPEC, static={"shift": 1}, backend="numpy")
    nested = pickle.dumps([sliding_window, scaled])
    path.write_bytes(nested)
    code = (
        "import pickle, numpy as np, sys\n"
        "window, scaled = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert window.name == 'sliding_window'\n"
        "print(scaled(np.ones((1, 2)), factor=3.0).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.stdout == "[[4.0, 4.0]]\n"


def test_different_kernels_are_different() -> None:
    assert attnc.kernel(SPEC) == attnc.kernel(SPEC)
    assert attnc.kernel(SPEC) != attnc.kernel(SPEC, static={"shift": 1})
    assert attnc.kernel(SPEC) != attnc.kernel(SPEC, dtype="f32")
    assert attnc.kernel(SPEC, static={"shift": 1}) != attnc.kernel(SPEC, static={"factor": 1.0})
    assert attnc.kernel(SPEC) != SPEC


def test_threads() -> None:
    """Many threads make and call the same and different kernels at once."""
    build.forget()
    results: dict[int, Any] = {}
    start = threading.Barrier(16)

    def work(i: int) -> None:
        start.wait()
        kernel = attnc.kernel(SPEC, static={"shift": i % 2})
        x = torch.full((2, 3), float(i))
        results[i] = (kernel(x.numpy()).tolist(), kernel(x).tolist(), kernel._built)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(16):
        expected = [[2.0 * i + i % 2] * 3] * 2
        assert results[i][:2] == (expected, expected)
        assert results[i][2] is results[i % 2][2]


# Caches


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for the cache, and nothing kept in the process."""
    place = tmp_path / "cache"
    monkeypatch.setenv("ATTNC_CACHE", str(place))
    build.forget()
    return place


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.entry"))


def test_the_disk_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = attnc.kernel(SPEC, backend="numpy")
    assert len(entries(folder)) == 1
    build.forget()
    monkeypatch.setattr("attnc.api.check", None)  # nothing is compiled again
    again = attnc.kernel(SPEC, backend="numpy")
    assert again.source == first.source
    assert again.signature == first.signature
    assert again(np.ones((1, 1))).tolist() == [[2.0]]


def test_the_key_holds_what_matters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each difference that could change what is emitted has an entry of its own."""
    attnc.kernel(SPEC)
    attnc.kernel(SPEC)
    attnc.kernel(SPEC + "# a comment\n")
    attnc.kernel(SPEC, dtype="f32")
    attnc.kernel(SPEC, static={"shift": 1})
    attnc.kernel(SPEC, static={"factor": 1.0})
    attnc.kernel(SPEC, cascade="scaled")
    for name in ("VERSION", "LANGUAGE"):
        monkeypatch.setattr(build, name, "other")
        attnc.kernel(SPEC)
    for name in ("compiler", "toolchain"):
        monkeypatch.setattr(build, name, lambda: "other")
        attnc.kernel(SPEC)
    assert len(entries(folder)) == 10


def test_the_compilers_files_are_in_the_key() -> None:
    names = [name for name, _ in digest.sources()]
    assert len(names) == len(set(names))
    for part in ("attnc/errors.py", "attnc.grammar/attn.lark", "attnc.grammar/prelude.attn"):
        assert part in names
    assert "attnc.backends/numpy/runtime.py" in names


def test_damaged_entries_are_compiled_again(folder: Path) -> None:
    source = attnc.kernel(SPEC, backend="numpy").source
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    for bad in (b"", whole[:-9], whole[: len(whole) // 2], whole.replace(b"factor", b"factoR")):
        entry.write_bytes(bad)
        build.forget()
        assert attnc.kernel(SPEC, backend="numpy").source == source
        assert entries(folder)[0].read_bytes() == whole


def test_an_entry_of_another_form_is_a_miss(folder: Path) -> None:
    """An entry with a right checksum whose content is not what is expected."""
    attnc.kernel(SPEC, backend="numpy")
    identity = build._key(SPEC, build.Choices(backend="numpy"))
    store = digest.store()
    assert store is not None
    for content in ("", "[]", '{"signature": {}}', '{"signature": 3, "source": "x ="}'):
        store.put(identity, content)
        build.forget()
        assert attnc.kernel(SPEC, backend="numpy")(np.ones((1, 1))).tolist() == [[2.0]]


def test_specs_with_warnings_are_not_kept(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attnc.kernel("cascade a(X[N]) -> O[N]:\n    Y[n] = X[n]\n    O[n] = X[n]\n")
    assert not folder.exists() or entries(folder) == []


def test_without_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNC_CACHE", "off")
    build.forget()
    assert attnc.kernel(SPEC, backend="numpy")(np.ones((1, 1))).tolist() == [[2.0]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_come_back_from_the_disk(path: Path, folder: Path) -> None:
    """Signatures of every kind survive as plain data."""
    text = path.read_text(encoding="utf-8")
    for name in [c.name for c in attnc.check(text).cascades]:
        first = attnc.kernel(text, cascade=name, backend="numpy")
        build.forget()
        again = attnc.kernel(text, cascade=name, backend="numpy")
        assert again.signature == first.signature
        assert again.source == first.source
