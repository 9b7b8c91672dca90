"""Forward and activation gradients with frozen weights (torch eager): the gradient at the embeddings, logits of the last position."""
import os
import sys

sys.path.insert(0, os.getcwd())
import torch  # noqa: E402

from common_bench import args, model, report, timed, tokens  # noqa: E402

a = args(batch=1, seq=128)
m, x = model(a).requires_grad_(False), tokens(a, a.batch, a.seq)


def f():
    e = m.get_input_embeddings()(x).detach().requires_grad_(True)
    m(inputs_embeds=e, use_cache=False, logits_to_keep=1).logits.sum().backward()
    assert e.grad is not None


report("grads", a, timed(f, a))
