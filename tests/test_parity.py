"""Our GPT computes what Hugging Face's GPT-2 and Llama compute, given the same weights."""

import pytest
import torch
import transformers  # its models load when they are asked for
from torch import Tensor

from llm_core.config import GPTConfig
from llm_core.model import GPT

TOLERANCE = 1e-5
"""The largest difference between two logits, in float32; the course promises 1e-4."""


def gpt2_config(hf: "transformers.GPT2Config") -> GPTConfig:
    return GPTConfig(
        vocab_size=hf.vocab_size,
        context_length=hf.n_positions,
        d_model=hf.n_embd,
        n_layers=hf.n_layer,
        n_heads=hf.n_head,
        activation="gelu_tanh",
        norm_eps=hf.layer_norm_epsilon,
    )


def gpt2_weights(hf: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """Return GPT-2's weights under our names.

    Hugging Face keeps GPT-2's linear layers as (in, out), the transpose of ours, and query, key
    and value in one matrix.
    """
    ours = {
        "token_embedding.weight": hf["transformer.wte.weight"],
        "position_embedding.weight": hf["transformer.wpe.weight"],
        "final_norm.weight": hf["transformer.ln_f.weight"],
        "final_norm.bias": hf["transformer.ln_f.bias"],
    }
    for i in range(n_layers):
        here, there = f"blocks.{i}", f"transformer.h.{i}"
        for name, hf_name in (("attention_norm", "ln_1"), ("feed_forward_norm", "ln_2")):
            ours[f"{here}.{name}.weight"] = hf[f"{there}.{hf_name}.weight"]
            ours[f"{here}.{name}.bias"] = hf[f"{there}.{hf_name}.bias"]
        weights = hf[f"{there}.attn.c_attn.weight"].chunk(3, dim=1)  # each (C, C)
        biases = hf[f"{there}.attn.c_attn.bias"].chunk(3)  # each (C,)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            ours[f"{here}.attention.{name}.weight"] = weight.T
            ours[f"{here}.attention.{name}.bias"] = bias
        for name, hf_name in (
            ("attention.out", "attn.c_proj"),
            ("feed_forward.up", "mlp.c_fc"),
            ("feed_forward.down", "mlp.c_proj"),
        ):
            ours[f"{here}.{name}.weight"] = hf[f"{there}.{hf_name}.weight"].T
            ours[f"{here}.{name}.bias"] = hf[f"{there}.{hf_name}.bias"]
    return ours


def llama_config(hf: "transformers.LlamaConfig") -> GPTConfig:
    return GPTConfig(
        vocab_size=hf.vocab_size,
        context_length=hf.max_position_embeddings,
        d_model=hf.hidden_size,
        n_layers=hf.num_hidden_layers,
        n_heads=hf.num_attention_heads,
        n_kv_heads=hf.num_key_value_heads,
        d_ff=hf.intermediate_size,
        norm="rmsnorm",
        activation="swiglu",
        positions="rotary",
        bias=False,
        tie_weights=hf.tie_word_embeddings,
        rope_base=hf.rope_parameters["rope_theta"],
        norm_eps=hf.rms_norm_eps,
    )


LLAMA_LAYER_NAMES = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def llama_weights(hf: dict[str, Tensor], n_layers: int, tied: bool) -> dict[str, Tensor]:
    """Return Llama's weights under our names; the shapes are the same."""
    ours = {
        "token_embedding.weight": hf["model.embed_tokens.weight"],
        "final_norm.weight": hf["model.norm.weight"],
    }
    if not tied:
        ours["head.weight"] = hf["lm_head.weight"]
    for i in range(n_layers):
        for name, hf_name in LLAMA_LAYER_NAMES.items():
            ours[f"blocks.{i}.{name}.weight"] = hf[f"model.layers.{i}.{hf_name}.weight"]
    return ours


@torch.no_grad()
def shake(model: torch.nn.Module, seed: int) -> None:
    """Draw every parameter, so that no bias is zero and no gain is one: those hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        centre = 0.0 if parameter.dim() == 2 else 0.5
        parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))


def largest_difference(ours: GPT, theirs: torch.nn.Module, ids: Tensor) -> tuple[float, float]:
    """Return the largest difference between logits, and between the gradients of the embedding."""
    logits, loss = ours(ids, targets=ids.roll(-1, 1))
    hf_logits = theirs(ids).logits
    hf_loss = torch.nn.functional.cross_entropy(hf_logits.flatten(0, 1), ids.roll(-1, 1).flatten())
    loss.backward()
    hf_loss.backward()
    gradient = ours.token_embedding.weight.grad
    hf_gradient = theirs.get_input_embeddings().weight.grad
    return (
        (logits - hf_logits).abs().max().item(),
        (gradient - hf_gradient).abs().max().item(),
    )


def ids_for(vocab_size: int, B: int, T: int) -> Tensor:
    return torch.randint(vocab_size, (B, T), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("T", [1, 5, 16])
def test_gpt2(seed, T):
    hf_config = transformers.GPT2Config(
        vocab_size=61,
        n_positions=16,
        n_embd=48,
        n_layer=3,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = transformers.GPT2LMHeadModel(hf_config).eval()
    shake(theirs, seed)
    ours = GPT(gpt2_config(hf_config)).eval()
    ours.load_state_dict(gpt2_weights(theirs.state_dict(), hf_config.n_layer))
    logits, gradient = largest_difference(ours, theirs, ids_for(61, 3, T))
    assert logits <= TOLERANCE
    assert gradient <= TOLERANCE


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_kv_heads", [6, 2, 1])
@pytest.mark.parametrize("rope_base", [10_000.0, 500_000.0])
def test_llama(tied, n_kv_heads, rope_base):
    hf_config = transformers.LlamaConfig(
        vocab_size=61,
        max_position_embeddings=32,
        hidden_size=48,
        intermediate_size=88,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=n_kv_heads,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": rope_base},
        rms_norm_eps=1e-6,
    )
    theirs = transformers.LlamaForCausalLM(hf_config).eval()
    shake(theirs, seed=2)
    ours = GPT(llama_config(hf_config)).eval()
    weights = llama_weights(theirs.state_dict(), hf_config.num_hidden_layers, tied)
    ours.load_state_dict(weights)
    logits, gradient = largest_difference(ours, theirs, ids_for(61, 2, 32))
    assert logits <= TOLERANCE
    assert gradient <= TOLERANCE
