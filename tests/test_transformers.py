"""Kernels as attention implementations of transformers: small models with random weights.

Each is compared with its own eager attention, where padding is no input. What a model asks for and
a kernel does not take must be refused; the texts are tested.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import pytest

import attnc
from attnc import UsageError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from attnc.integrations.transformers import attention, masks, register, rows  # noqa: E402
from attnc.integrations.transformers.probe import Order, probed  # noqa: E402
from attnc.integrations.transformers.roles import find_roles  # noqa: E402
from tests.support import EXAMPLES, ROOT  # noqa: E402

CLOSE = 2e-6
"""A few roundings of f32; the outputs are around 1, and a wrong mask shows above 1e-3."""

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
ENCODER = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
CAUSAL = "n <= m + (N - M)"


def spec(
    condition: str = "",
    *,
    more: str = "",
    scores: str = "Q[b,h,m,e] * K[b,h//(H//J),n,e] / sqrt(E)",
    name: str = "mine",
) -> str:
    """Grouped softmax attention where a condition holds, with more arguments."""
    where = f"\n        where {condition}" if condition else ""
    return f"""
cascade {name}(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F]{more}) -> O[B,H,M,F]:
    S[b,h,m,n] = {scores}{where}
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//(H//J),n,f]
"""


KEYS = spec(f"see[b,n], {CAUSAL}", more=", see[B,N]: bool")
LENGTHS = spec(f"n < length[b], {CAUSAL}", more=", length[B]: i32")
PAIRS = spec("see[b,0,m,n]", more=", see[B,1,M,N]: bool")
EITHER = spec(f"{CAUSAL} or not is_causal", more=", is_causal: bool")
WINDOW = spec(f"{CAUSAL}, m + (N - M) - n < sliding_window", more=", sliding_window: int")
BOTHWAYS = spec("abs(m - n) < sliding_window", more=", sliding_window: int")
CAPPED = spec(
    f"{CAUSAL}, m + (N - M) - n < sliding_window",
    more=", sliding_window: int, softcap: float, scaling: float",
    scores="tanh(sum[e](Q[b,h,m,e] * K[b,h//(H//J),n,e]) * scaling / softcap) * softcap",
)
BIASED = spec(
    "see[b,m,n]",
    more=", position_bias[B,H,M,N], see[B,M,N]: bool, scaling: float",
    scores="Q[b,h,m,e] * K[b,h//(H//J),n,e] * scaling + position_bias[b,h,m,n]",
)
SINKS = """
cascade mine(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], s_aux[H], sliding_window: int) -> O[B,H,M,F]:
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E)
        where n <= m + (N - M), m + (N - M) - n < sliding_window
    X[b,h,m] = max(max[n](S[b,h,m,n]), s_aux[h])
    D[b,h,m] = sum[n](exp(S[b,h,m,n] - X[b,h,m])) + exp(s_aux[h] - X[b,h,m])
    O[b,h,m,f] = exp(S[b,h,m,n] - X[b,h,m]) / D[b,h,m] * V[b,h//G,n,f]
"""

IDS = torch.randint(1, 50, (3, 10), generator=torch.Generator().manual_seed(1))
PADDED = torch.ones_like(IDS)
PADDED[0, :3] = 0  # left
PADDED[1, 7:] = 0  # right


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    """Each test registers its own names."""
    taken = [c._global_mapping for c in (transformers.AttentionInterface, masks_interface())]
    before = [dict(t) for t in taken]
    yield
    for mapping, kept in zip(taken, before, strict=True):
        mapping.clear()
        mapping.update(kept)
    torch._dynamo.reset()


def masks_interface() -> Any:
    return transformers.AttentionMaskInterface


def model(kind: str, config: str, *, times: float = 3, **changes: Any) -> Any:
    """A model with random weights, `times` as large as usual so that attention matters."""
    torch.manual_seed(0)
    made = getattr(transformers, kind)(getattr(transformers, config)(**changes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(times) if parameter.dim() > 1 else parameter.normal_(1, 0.1)
    return made


def llama(**changes: Any) -> Any:
    return model("LlamaForCausalLM", "LlamaConfig", **{**SIZES, **changes})


def bert(**changes: Any) -> Any:
    return model("BertModel", "BertConfig", **{**ENCODER, **changes})


def mistral(window: int) -> Any:
    return model("MistralForCausalLM", "MistralConfig", **SIZES, sliding_window=window)


def difference(made: Any, name: str = "mine", **inputs: Any) -> float:
    """The largest difference between a model with a kernel and itself, where nothing is padded."""
    inputs.setdefault("input_ids", IDS)
    results = []
    for implementation in ("eager", name):
        made.set_attn_implementation(implementation)
        with torch.no_grad():
            results.append(made(**inputs)[0])
    away = (results[0] - results[1]).abs()
    mask = inputs.get("attention_mask")
    own = mask is not None and mask.shape == away.shape[:2] and not made.config.is_encoder_decoder
    assert torch.isfinite(away).all()
    return float((away[mask.bool()] if own else away).max())


def use(text: str, name: str = "mine", **options: Any) -> None:
    register(name, attnc.kernel(text, backend="numpy"), **options)


def generated(made: Any, name: str, **options: Any) -> tuple[Any, Any]:
    """The tokens and all logits of greedy decoding, with padding on the left."""
    made.set_attn_implementation(name)
    found = made.generate(
        IDS[[0, 2]],
        attention_mask=PADDED[[0, 2]],
        max_new_tokens=9,
        min_new_tokens=9,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )
    return found.sequences, torch.stack(found.logits)


# The same as stock


@pytest.mark.parametrize("text", [spec(CAUSAL), KEYS, LENGTHS, PAIRS, EITHER])
@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
def test_decoder(text: str, mask: Any) -> None:
    use(text)
    assert difference(llama(), attention_mask=mask) < CLOSE


def test_a_backend_that_nobody_chose() -> None:
    """Most tests here are of NumPy, which compiles nothing; this one is of what a model gets."""
    kernel = attnc.kernel(spec(CAUSAL))
    register("mine", kernel)
    assert "tvm" in kernel.source
    assert difference(llama()) < CLOSE


@pytest.mark.parametrize("text", [spec(), PAIRS, EITHER])
@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
def test_encoder(text: str, mask: Any) -> None:
    use(text)
    assert difference(bert(), attention_mask=mask) < CLOSE


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("text", [spec(CAUSAL), KEYS, LENGTHS, PAIRS, EITHER])
def test_generation(text: str, cache: str) -> None:
    use(text)
    made = llama()
    stock = generated(made, "eager", cache_implementation=cache)
    mine = generated(made, "mine", cache_implementation=cache)
    assert torch.equal(stock[0], mine[0])
    assert (stock[1] - mine[1]).abs().max() < CLOSE


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_in_a_window(cache: str) -> None:
    """The cache of such a model forgets; the kernel's window must agree with what is left."""
    use(WINDOW)
    made = mistral(5)
    stock = generated(made, "eager", cache_implementation=cache)
    mine = generated(made, "mine", cache_implementation=cache)
    assert torch.equal(stock[0], mine[0])
    assert (stock[1] - mine[1]).abs().max() < CLOSE


def test_chunks_of_a_prompt() -> None:
    """Fewer queries than keys, and more than one."""
    use(spec(CAUSAL))
    made = llama()
    made.set_attn_implementation("mine")
    with torch.no_grad():
        whole = made(IDS).logits
        cache = transformers.DynamicCache(config=made.config)
        parts = [made(part, past_key_values=cache).logits for part in IDS.split([4, 5, 1], dim=1)]
    assert (torch.cat(parts, 1) - whole).abs().max() < CLOSE


FAMILIES = {
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", SIZES, spec(CAUSAL)),
    "phi": ("PhiForCausalLM", "PhiConfig", SIZES, spec(CAUSAL)),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": 50, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
        spec(CAUSAL),
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**SIZES, "sliding_window": 5}, WINDOW),
    "mistral, wide": (
        "MistralForCausalLM",
        "MistralConfig",
        {**SIZES, "sliding_window": 10},
        spec(CAUSAL),
    ),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {**SIZES, "sliding_window": 5, "head_dim": 16, "query_pre_attn_scalar": 24},
        CAPPED,
    ),
    "gpt-oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        {
            **SIZES,
            "sliding_window": 5,
            "head_dim": 16,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        },
        SINKS,
    ),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**ENCODER, "local_attention": 4},
        BOTHWAYS,
    ),
    "modernbert, mask": (
        "ModernBertModel",
        "ModernBertConfig",
        {**ENCODER, "local_attention": 4},
        PAIRS,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
def test_families(family: str, mask: Any) -> None:
    kind, config, sizes, text = FAMILIES[family]
    if family.startswith("gpt2"):
        sizes = {**sizes, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family.startswith("modernbert"):
        sizes = {**sizes, **dict.fromkeys(("cls_token_id", "bos_token_id"), 1)}
        sizes = {**sizes, **dict.fromkeys(("sep_token_id", "eos_token_id"), 2)}
    use(text)
    assert difference(model(kind, config, **sizes), attention_mask=mask) < 2 * CLOSE


def t5() -> Any:
    sizes = {"vocab_size": 50, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2}
    return model(
        "T5ForConditionalGeneration",
        "T5Config",
        times=1,
        **sizes,
        num_heads=4,
        decoder_start_token_id=0,
    )


def bart() -> Any:
    sides = {
        f"{side}_{size}": n
        for side in ("encoder", "decoder")
        for size, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
    }
    sizes = {"vocab_size": 50, "d_model": 64, "max_position_embeddings": 64}
    return model("BartForConditionalGeneration", "BartConfig", **sizes, **sides)


@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("length", [10, 6], ids=["as long", "shorter"])
@pytest.mark.parametrize(("make", "text"), [(bart, EITHER), (bart, PAIRS), (t5, BIASED)])
def test_encoder_with_decoder(make: Callable[[], Any], text: str, length: int, mask: Any) -> None:
    """The queries of the decoder are of another sequence than the keys of the encoder."""
    use(text)
    asked = {"attention_mask": mask, "decoder_input_ids": IDS.flip(1)[:, :length]}
    assert difference(make(), **asked) < 2 * CLOSE


@pytest.mark.parametrize(("make", "text"), [(bart, EITHER), (t5, BIASED)])
def test_encoder_with_decoder_generates(make: Callable[[], Any], text: str) -> None:
    use(text)
    made = make()
    stock, mine = generated(made, "eager"), generated(made, "mine")
    assert torch.equal(stock[0], mine[0])
    assert (stock[1] - mine[1]).abs().max() < 2 * CLOSE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: Any) -> None:
    """Against f32, no further away than stock is."""
    use(spec(CAUSAL))
    made = llama()
    with torch.no_grad():
        exact = made(IDS).logits
        made.to(dtype)
        made.set_attn_implementation("eager")
        stock = (made(IDS).logits - exact).abs().max()
        made.set_attn_implementation("mine")
        found = made(IDS).logits
    assert found.dtype == dtype
    assert (found - exact).abs().max() < 1.5 * stock


def test_heads_are_repeated_for_a_kernel_that_has_one_for_each() -> None:
    text = (ROOT / "examples" / "causal.attn").read_text(encoding="utf-8")
    use(text)
    assert difference(llama(), attention_mask=PADDED) < CLOSE


def test_values_given_once() -> None:
    """A parameter and a tensor that no model passes."""
    text = spec(
        CAUSAL,
        more=", slope[H], times: float",
        scores="Q[b,h,m,e] * K[b,h//(H//J),n,e] / sqrt(E) + times * slope[h] * n",
    )
    made = llama()
    use(text, slope=torch.zeros(4), times=1.0)
    assert difference(made) < CLOSE
    use(text, slope=torch.ones(4), times=0.0)
    assert difference(made) < CLOSE
    use(text, slope=torch.ones(4), times=1.0)
    assert difference(made) > 1e-3


def test_what_a_user_passes_through_the_model() -> None:
    """Models hand on arguments that they do not know, and a kernel takes them by name."""
    use(spec(f"{CAUSAL}, doc[b,m + (N - M)] == doc[b,n]", more=", doc[B,N]: i32"))
    made = llama()
    made.set_attn_implementation("mine")
    docs = torch.tensor([[0] * 4 + [1] * 6] * 3, dtype=torch.int32)
    with torch.no_grad():
        packed = made(IDS, doc=docs).logits
        use(spec(CAUSAL), "alone")
        made.set_attn_implementation("alone")
        alone = made(IDS[:, 4:], position_ids=torch.arange(4, 10)[None]).logits
    assert (packed[:, 4:] - alone).abs().max() < CLOSE


# torch.compile


def graph(made: Any) -> Any:
    """A model that is traced to one graph, with no compiler behind it."""
    return torch.compile(made, fullgraph=True, backend="aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no cache"])
def test_compiled_in_one_graph(cache: bool) -> None:
    use(spec(CAUSAL))
    made = llama()
    made.set_attn_implementation("mine")
    compiled = torch.compile(made, fullgraph=True)
    with torch.no_grad():
        away = compiled(IDS, use_cache=cache).logits - made(IDS, use_cache=cache).logits
        assert away.abs().max() < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("text", [KEYS, PAIRS])
def test_compiled_with_a_mask(text: str) -> None:
    use(text)
    made = llama()
    made.set_attn_implementation("mine")
    compiled = torch.compile(made, fullgraph=True)
    with torch.no_grad():
        away = compiled(IDS, attention_mask=PADDED).logits - made(IDS, attention_mask=PADDED).logits
        assert away[PADDED.bool()].abs().max() < CLOSE


@pytest.mark.slow
def test_compiled_with_padding_cut_out() -> None:
    """Not in one graph, and said so; otherwise a break of the graph, and right."""
    use(spec(CAUSAL))
    made = llama()
    made.set_attn_implementation("mine")
    with torch.no_grad():
        with pytest.raises(Exception, match="a padded batch needs a kernel with a mask"):
            graph(made)(IDS, attention_mask=PADDED)
        torch._dynamo.reset()
        found = torch.compile(made, backend="aot_eager")(IDS, attention_mask=PADDED).logits
        away = (found - made(IDS, attention_mask=PADDED).logits)[PADDED.bool()]
        assert away.abs().max() < CLOSE


@pytest.mark.slow
def test_compiled_with_a_static_cache() -> None:
    """Its length is a tensor, and a kernel with a mask for each query and key needs no number."""
    made = llama()

    def steps(run: Callable[..., Any]) -> Any:
        cache = transformers.StaticCache(config=made.config, max_cache_len=16)
        return torch.cat([run(x, past_key_values=cache).logits for x in IDS.split([6, 4], 1)], 1)

    with torch.no_grad():
        stock = made(IDS).logits
        use(PAIRS)
        made.set_attn_implementation("mine")
        assert (steps(graph(made)) - stock).abs().max() < CLOSE
        torch._dynamo.reset()
        use(spec(CAUSAL))
        assert (steps(torch.compile(made, backend="aot_eager")) - stock).abs().max() < CLOSE
        torch._dynamo.reset()
        with pytest.raises(Exception, match="static cache"):
            steps(graph(made))


@pytest.mark.slow
def test_compiled_packing_is_refused() -> None:
    use(spec(CAUSAL))
    made = llama()
    made.set_attn_implementation("mine")
    places = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]] * 3)
    with torch.no_grad():
        compiled = graph(made)
        compiled(IDS, use_cache=False, position_ids=torch.arange(10).expand(3, -1))
        with pytest.raises(RuntimeError, match="packed sequences"):
            compiled(IDS, use_cache=False, position_ids=places)


# Refusals at the call


def refused(made: Any, **inputs: Any) -> str:
    """What a model with the kernel `mine` says instead of running."""
    inputs.setdefault("input_ids", IDS)
    made.set_attn_implementation("mine")
    with pytest.raises(UsageError) as error, torch.no_grad():
        made(**inputs)
    return str(error.value)


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (
            llama,
            spec(),
            """
            the kernel mine in LlamaAttention: it asks for causal attention, and the
            kernel lets a query see later keys; write the condition n <= m + (N - M)
            or leave it out, take a parameter is_causal: bool, or register it with
            ignore=('is_causal',)
            """,
        ),
        (
            bert,
            spec(CAUSAL),
            """
            the kernel mine in BertSelfAttention: it asks for bidirectional
            attention, and the kernel hides later keys; write the condition n <= m +
            (N - M) or leave it out, take a parameter is_causal: bool, or register
            it with ignore=('is_causal',)
            """,
        ),
        (
            lambda: mistral(5),
            spec(CAUSAL),
            """
            the kernel mine: the model attends within a window, sliding_window = 5,
            which the kernel does not take; give it a parameter sliding_window: int,
            or register it with ignore=('sliding_window',)
            """,
        ),
        (
            lambda: model(*FAMILIES["gemma2"][:2], **FAMILIES["gemma2"][2]),
            spec(f"{CAUSAL}, m + (N - M) - n < sliding_window", more=", sliding_window: int"),
            """
            the kernel mine in Gemma2Attention: the model passes scaling = 0.204124,
            which changes the result; take it as a parameter or a tensor of that
            name, or register it with ignore=('scaling',)
            """,
        ),
        (
            lambda: model(*FAMILIES["gpt-oss"][:2], **FAMILIES["gpt-oss"][2]),
            WINDOW,
            """
            the kernel mine in GptOssAttention: the model passes s_aux, which
            changes the result; take it as a parameter or a tensor of that name, or
            register it with ignore=('s_aux',)
            """,
        ),
        (
            llama,
            spec(f"{CAUSAL}, slope[h] > 0", more=", slope[H]"),
            """
            the kernel mine in LlamaAttention: the kernel needs slope[H], which the
            model does not pass; give it once: register(..., slope=tensor)
            """,
        ),
        (
            llama,
            spec(f"{CAUSAL}, n > w", more=", w: int"),
            """
            the kernel mine in LlamaAttention: the parameter w has no default and
            the model does not pass it; give it once: register(..., w=value)
            """,
        ),
        (
            llama,
            spec(CAUSAL).replace(":\n", ":\n    require M % 8 == 0\n", 1),
            """
            the kernel mine in LlamaAttention: it asks for causal attention, and the
            kernel does not run on four positions, so that it is unknown whether it
            hides later keys; write the condition n <= m + (N - M) or leave it out,
            take a parameter is_causal: bool, or register it with
            ignore=('is_causal',)
            """,
        ),
    ],
)
def test_what_a_layer_asks_for(make: Callable[[], Any], text: str, message: str) -> None:
    use(text)
    assert refused(make()) == " ".join(message.split())


def test_what_is_ignored() -> None:
    """Each on its own name."""
    use(spec(CAUSAL), ignore="sliding_window")
    assert difference(mistral(5)) > 1e-3
    use(spec(), ignore=["is_causal"])
    assert difference(llama()) > 1e-3


def test_dropout() -> None:
    use(spec(CAUSAL))
    made = llama(attention_dropout=0.25)
    assert difference(made) < CLOSE
    assert "the model passes dropout = 0.25" in refused(made.train())


def test_weights_are_not_there() -> None:
    use(spec(CAUSAL))
    assert refused(llama(), output_attentions=True).endswith(
        "the model asks for the weights of its attention, and a kernel gives none"
    )


def test_packed_sequences() -> None:
    use(spec(CAUSAL))
    places = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]] * 3)
    assert refused(llama(), position_ids=places, use_cache=False) == (
        "the kernel mine: the model masks by more than padding and causality (packed sequences,"
        " blocks or chunks), which the kernel does not take; give it a mask for each query and key,"
        " [B,1,M,N]: bool, or register it with ignore=('mask',)"
    )
    use(PAIRS)
    assert difference(llama(), position_ids=places, use_cache=False) < CLOSE


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_a_mask_of_ones_own(dtype: Any) -> None:
    mask = torch.ones(3, 1, 10, 10).tril()
    mask[:, :, 5:, 2] = 0
    mask = mask.bool() if dtype is torch.bool else (1 - mask) * -1e9
    use(spec(CAUSAL))
    assert "the model passes a mask of 4 ranks" in refused(llama(), attention_mask=mask)
    use(PAIRS)
    if dtype is torch.bool:
        made = llama()
        made.set_attn_implementation("sdpa")
        with torch.no_grad():
            stock = made(IDS, attention_mask=mask).logits
            made.set_attn_implementation("mine")
            assert (made(IDS, attention_mask=mask).logits - stock).abs().max() < CLOSE
    else:
        assert "no bool [batch, heads, queries, keys]" in refused(llama(), attention_mask=mask)


def test_a_cache_needs_the_lower_right_corner() -> None:
    """`n <= m` is causal, but a single query would see one key."""
    use(spec("n <= m"))
    made = llama()
    assert difference(made) < CLOSE
    made.set_attn_implementation("mine")
    with pytest.raises(UsageError, match=r"1 queries meet 11 keys.*write n <= m \+ \(N - M\)"):
        made.generate(IDS, max_new_tokens=2)


def test_a_cache_needs_ranks_apart() -> None:
    text = """
cascade mine(Q[B,H,T,E], K[B,H,T,E], V[B,H,T,F]) -> O[B,H,T,F]:
    var s in T
    S[b,h,t,s] = Q[b,h,t,e] * K[b,h,s,e] / sqrt(E) where s <= t
    O[b,h,t,f] = softmax[s](S[b,h,t,s]) * V[b,h,s,f]
"""
    use(text)
    made = llama()
    assert difference(made, attention_mask=PADDED) < CLOSE
    made.set_attn_implementation("mine")
    with pytest.raises(UsageError, match="one rank T for both; where a cache is the reason"):
        made.generate(IDS, max_new_tokens=2)


def test_gradients_are_refused_and_not_lost() -> None:
    use(spec(CAUSAL))
    made = llama()
    made.set_attn_implementation("mine")
    with pytest.raises(NotImplementedError, match="kernels have no gradient yet"):
        made(IDS).logits.sum().backward()


# Refusals at registration


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            (
                "cascade two(Q[M,E], K[N,E], V[N,F]) -> O[M,F]:\n"
                "    O[m,f] = softmax[n](sum[e](Q[m,e] * K[n,e])) * V[n,f]\n"
            ),
            "it takes Q[M,E], K[N,E], V[N,F] and gives O[M,F]",
        ),
        (
            (
                "cascade turned(Q[B,M,H,E], K[B,N,H,E], V[B,N,H,F]) -> O[B,M,H,F]:\n"
                "    O[b,m,h,f] = softmax[n](sum[e](Q[b,m,h,e] * K[b,n,h,e])) * V[b,n,h,f]\n"
            ),
            "the kernel turned does not attend over H, the third rank of Q[B,M,H,E]; the first",
        ),
        (
            "cascade one(Q[B,H,M,E]: f32) -> O[B,H,M,E]: f32:\n    O[b,h,m,e] = Q[b,h,m,e]\n",
            "it takes Q[B,H,M,E]: f32 and gives O[B,H,M,E]: f32",
        ),
    ],
)
def test_other_forms(text: str, found: str) -> None:
    with pytest.raises(UsageError) as error:
        use(text)
    said = str(error.value)
    assert found in said
    assert "first three tensors must be a query [B,H,M,E], a key [B,J,N,E] and a value" in said


def test_names() -> None:
    for taken in ("sdpa", "flash_attention_2"):
        with pytest.raises(UsageError, match=f"has an attention called '{taken}'"):
            use(spec(), taken)
    for wrong in ("eager", "my_flash", "a/b", "a|b", "", "sdpa2"):
        with pytest.raises(UsageError, match="cannot be the name of an attention"):
            use(spec(), wrong)
    use(spec(), "again")
    use(spec(CAUSAL), "again")


def test_arguments_of_register() -> None:
    with pytest.raises(UsageError, match=r"has no further argument windw; did you mean 'window'"):
        use(spec(f"{CAUSAL}, m - n < window", more=", window: int = 4"), windw=3)
    with pytest.raises(UsageError, match=r"has no further argument Q; there is none"):
        use(spec(), Q=torch.zeros(1))
    with pytest.raises(UsageError, match=r"a\[B,N\]: bool and b\[B,N\]: bool could each be"):
        use(spec("a[b,n] or b[b,n]", more=", a[B,N]: bool, b[B,N]: bool"))
    with pytest.raises(UsageError, match=r"register takes a kernel.*not a function"):
        register("mine", lambda q, k, v: q)  # type: ignore[arg-type]


# What the probe finds


@pytest.mark.parametrize(
    ("condition", "order"),
    [
        ("", Order(causal=False, continues=True, mixes=True)),
        (CAUSAL, Order(causal=True, continues=True, mixes=True)),
        ("n <= m", Order(causal=True, continues=False, mixes=True)),
        (
            f"{CAUSAL}, (m + (N - M)) - n < 2 or n < 1",
            Order(causal=True, continues=True, mixes=True),
        ),
        ("n < m + (N - M)", Order(causal=True, continues=True, mixes=True)),
        ("n <= m + (N - M) + 1", Order(causal=False, continues=True, mixes=True)),
        ("n < 2", Order(causal=False, continues=True, mixes=True)),
        ("n == m + (N - M)", Order(causal=True, continues=True, mixes=False)),
        ("n == 0", Order(causal=True, continues=True, mixes=True)),
    ],
)
def test_probe(condition: str, order: Order) -> None:
    kernel = attnc.kernel(spec(condition))
    assert probed(kernel, find_roles(kernel.signature), {}) == order


def test_the_probe_runs_in_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a kernel that is to run on GPUs alone is known where it is registered, and its values."""
    for backend in (None, "numpy", "triton"):
        kernel = attnc.kernel(spec(CAUSAL), backend=backend)
        assert probed(kernel, find_roles(kernel.signature), {}) == Order(True, True, True)
    moved: list[Any] = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: moved.append(t) or t)
    scores = "(Q[b,h,m,e] * K[b,h//(H//J),n,e] + bias[h]) / sqrt(E)"
    kernel = attnc.kernel(spec(CAUSAL, more=", bias[H]", scores=scores), backend="triton")
    bias = torch.zeros(4)
    assert probed(kernel, find_roles(kernel.signature, ["bias"]), {"bias": bias}).causal is True
    assert moved
    assert all(t is bias for t in moved)


def test_probe_of_the_gallery() -> None:
    """Every example of the usual form can be registered; a few conditions are known by heart."""
    found = {}
    for path in EXAMPLES:
        kernel = attnc.kernel(path)
        try:
            roles = find_roles(kernel.signature)
        except UsageError:
            continue
        found[path.stem] = probed(kernel, roles, {})
    assert {"dense", "gqa", "gqa_causal", "alibi", "softcap", "sliding_window_sinks"} <= {*found}
    assert {n for n in ("dense", "gqa", "sigmoid") if found[n].causal} == set()
    assert all(found[n] == Order(True, True, True) for n in ("gqa_causal", "sliding_window_sinks"))


# Faults that must show


def broken_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks.Masks, "_padding", lambda self, **asked: None)


def broken_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with padding all get the padding of the first."""
    select = rows.select
    monkeypatch.setattr(
        attention,
        "select",
        lambda t, sizes, chosen: select(t, sizes, {k: c for k, c in chosen.items() if k != "N"}),
    )


def broken_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "equal", lambda a, b: True)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (broken_padding, spec(CAUSAL)),
        (broken_padding, KEYS),
        (broken_groups, spec(CAUSAL)),
        (broken_lengths, LENGTHS),
    ],
)
def test_faults_of_padding_show(
    fault: Callable[[pytest.MonkeyPatch], None], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(text)
    fault(monkeypatch)
    assert difference(llama(), attention_mask=PADDED) > 1e-3


def test_faults_of_a_static_cache_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that were never written are zeros, and change the result if they are seen."""
    use(spec(CAUSAL))
    made = llama()
    stock = generated(made, "eager", cache_implementation="static")
    broken_padding(monkeypatch)
    mine = generated(made, "mine", cache_implementation="static")
    assert (stock[1] - mine[1]).abs().max() > 1e-3


# The example


def ten_lines() -> str:
    """The lines that the documentation tells to paste."""
    page = (ROOT / "docs" / "transformers.md").read_text(encoding="utf-8")
    found = re.search(r"```py\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


def test_ten_lines() -> None:
    """They stand in the script of the examples, and work where there is a model."""
    lines = ten_lines()
    assert len(lines.splitlines()) == 10
    script = (ROOT / "examples" / "transformers_script.py").read_text(encoding="utf-8")
    assert lines in script
    made = llama()
    exec(lines, {"model": made})
    assert made.config._attn_implementation != "eager"
    assert difference(made, made.config._attn_implementation, attention_mask=PADDED) < CLOSE
