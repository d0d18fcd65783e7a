"""Saved models: what is written comes back, and what does not fit is named with its file."""

import json
import time

import pytest
import torch

from llm_core import files
from llm_core.config import GPTConfig
from llm_core.model import GPT
from llm_core.pretrained import load_pretrained, pretrained_folder, save_pretrained
from llm_core.tensors import read_tensors
from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer
from llm_core.training import get_weights, save_checkpoint

TEXT = "Tom lost the red hat. Mia found the red hat.\n"
IDS = torch.tensor([[1, 2, 3, 1]])


def small_gpt(vocab_size, **fields):
    config = GPTConfig(
        vocab_size=vocab_size, context_length=8, d_model=8, n_layers=2, n_heads=2, **fields
    )
    return GPT(config, generator=torch.Generator().manual_seed(0))


def saved(folder, dtype=torch.float32, **fields):
    tokenizer = WordTokenizer.train(TEXT)
    model = small_gpt(tokenizer.vocab_size, **fields)
    save_pretrained(folder, model, tokenizer, dtype=dtype)
    return model, tokenizer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tie_weights": False, "positions": "rotary", "norm": "rmsnorm", "bias": False},
        {"positions": "sinusoidal", "activation": "swiglu", "n_kv_heads": 1},
    ],
)
def test_what_is_saved_comes_back(tmp_path, fields):
    model, tokenizer = saved(tmp_path, **fields)
    read, its_tokenizer = load_pretrained(tmp_path)
    assert read.config == model.config
    assert not read.training
    for name, weight in get_weights(model).items():
        assert torch.equal(get_weights(read)[name], weight)
    assert torch.equal(read(IDS)[0], model.eval()(IDS)[0])
    assert its_tokenizer.encode(TEXT) == tokenizer.encode(TEXT)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CharTokenizer.train(TEXT),
        lambda: WordTokenizer.train(TEXT),
        lambda: BPETokenizer.train(TEXT, vocab_size=270),
    ],
)
def test_every_kind_of_tokenizer(tmp_path, make):
    tokenizer = make()
    save_pretrained(tmp_path, small_gpt(tokenizer.vocab_size), tokenizer)
    assert load_pretrained(tmp_path)[1].encode(TEXT) == tokenizer.encode(TEXT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_float32_in_memory(tmp_path, dtype):
    model, _ = saved(tmp_path, dtype=dtype)
    stored = read_tensors(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}
    read, _ = load_pretrained(tmp_path)
    for name, weight in get_weights(read).items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, get_weights(model)[name].to(dtype).float())


def test_tied_weights_are_stored_once(tmp_path):
    saved(tmp_path / "tied")
    saved(tmp_path / "untied", tie_weights=False)
    names = [
        set(read_tensors(tmp_path / which / "model.safetensors")) for which in ("tied", "untied")
    ]
    assert names[1] - names[0] == {"head.weight"}


def test_a_training_run_gives_its_best_weights(tmp_path):
    tokenizer = WordTokenizer.train(TEXT)
    now, best = small_gpt(tokenizer.vocab_size), small_gpt(tokenizer.vocab_size)
    with torch.no_grad():
        best.token_embedding.weight.add_(1.0)
    save_checkpoint(
        tmp_path,
        now,
        step=3,
        best_weights=get_weights(best),
        write_extras=lambda folder: save_pretrained(folder / "x", now, tokenizer),
    )
    step = tmp_path / "step-000003"
    for name in ("config.json", "tokenizer.json"):
        (step / "x" / name).rename(step / name)
    read, _ = load_pretrained(tmp_path)
    assert torch.equal(read.token_embedding.weight, best.token_embedding.weight)


def test_loading_draws_nothing_from_torchs_generator(tmp_path):
    saved(tmp_path)
    before = torch.get_rng_state()
    load_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_names_and_strings():
    assert pretrained_folder("stories") == files.ASSETS / "stories_model"


NAMES = ["config.json", "tokenizer.json", "model.safetensors"]


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "garbage"])
@pytest.mark.parametrize("name", NAMES)
def test_missing_or_damaged_files_are_named(tmp_path, name, how):
    saved(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        damaged = {"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"\xff" * 64}
        path.write_bytes(damaged[how])
    error = FileNotFoundError if how == "missing" else ValueError
    with pytest.raises(error, match=name.replace(".", r"\.")):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d_model": 16}, r"model\.safetensors.*shape"),
        ({"n_layers": 3}, r"model\.safetensors.*lacks"),
        ({"n_layers": 1}, r"model\.safetensors.*too many"),
        ({"tie_weights": False}, r"model\.safetensors.*head\.weight"),
        ({"context_length": 9}, r"model\.safetensors.*shape"),
        ({"vocab_size": 5}, r"tokenizer\.json"),
        ({"vocab_size": 100}, r"model\.safetensors.*shape"),
        ({"n_layers": 300_000}, r"model\.safetensors.*lacks.*300000 layers"),
        ({"d_model": 4_000_000_000}, r"model\.safetensors"),
        ({"d_model": 100_000}, r"model\.safetensors.*shape"),
        ({"d_ff": 10**12}, r"model\.safetensors.*shape"),
        ({"vocab_size": 10**12}, r"model\.safetensors.*shape"),
        ({"context_length": 10**12}, r"model\.safetensors.*context_length"),
        ({"n_heads": 3}, r"config\.json.*multiple"),
        ({"d_model": "wide"}, r"config\.json.*d_model"),
        ({"flavour": "mint"}, r"config\.json.*flavour"),
    ],
)
def test_config_that_does_not_fit(tmp_path, change, words):
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    started = time.monotonic()
    with pytest.raises(ValueError, match=words):
        load_pretrained(tmp_path)
    assert time.monotonic() - started < 2  # no model was built


def test_numbers_too_large_for_float16_are_refused_before_writing(tmp_path):
    tokenizer = WordTokenizer.train(TEXT)
    model = small_gpt(tokenizer.vocab_size)
    with torch.no_grad():
        model.token_embedding.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"token_embedding.*float16"):
        save_pretrained(tmp_path / "m", model, tokenizer, dtype=torch.float16)
    assert not (tmp_path / "m").exists()


def test_unwritable_folder(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="cannot write in"):
        saved(blocked)


TOKENIZER = WordTokenizer.train(TEXT)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: load_pretrained(None), TypeError, "folder_or_name"),
        (lambda p: load_pretrained(""), TypeError, "folder_or_name"),
        (lambda p: load_pretrained(3), TypeError, "folder_or_name"),
        (lambda p: load_pretrained("storys"), FileNotFoundError, "stories"),
        (lambda p: load_pretrained(p / "nowhere"), FileNotFoundError, "nowhere"),
        (lambda p: load_pretrained(p), FileNotFoundError, r"config\.json"),
        (lambda p: save_pretrained(p, torch.nn.Linear(2, 2), TOKENIZER), TypeError, "model"),
        (lambda p: save_pretrained(p, small_gpt(20), "tokenizer"), TypeError, "tokenizer"),
        (lambda p: save_pretrained(p, small_gpt(3), TOKENIZER), ValueError, "tokens"),
        (
            lambda p: save_pretrained(p, small_gpt(20), TOKENIZER, dtype=torch.int8),
            ValueError,
            "dtype",
        ),
        (
            lambda p: save_pretrained(p, small_gpt(20), TOKENIZER, dtype="float16"),
            ValueError,
            "dtype",
        ),
    ],
)
def test_bad_input(tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
