"""The loop, early stopping and checkpoints: exact resuming, nothing lost, clear about bad input."""

import errno
import json
import math
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from llm_core import files, training
from llm_core.optim import AdamW, parameter_groups
from llm_core.tensors import read_tensors
from llm_core.training import (
    EarlyStopping,
    TrainConfig,
    Trainer,
    TrainingInterrupted,
    checkpoint_path,
    evaluate,
    evaluation_mode,
    get_weights,
    load_checkpoint,
    save_checkpoint,
    set_weights,
)


class Toy(nn.Module):
    """A tiny next-token model with dropout, a norm and tied weights."""

    def __init__(self, vocab_size: int = 7, width: int = 6, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed = nn.Embedding(vocab_size, width)
            self.norm = nn.LayerNorm(width)
            self.drop = nn.Dropout(0.2)
            self.head = nn.Linear(width, vocab_size, bias=False)
            self.head.weight = self.embed.weight

    def forward(self, ids, targets=None):
        logits = self.head(self.drop(self.norm(self.embed(ids))))
        loss = None
        if targets is not None:
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=-100
            )
        return logits, loss


def batches_from(generator: torch.Generator):
    """Return a function that draws batches in which the next id is always one higher."""

    def next_batch():
        x = torch.randint(0, 7, (4, 5), generator=generator)
        return x, (x + 1) % 7

    return next_batch


VALIDATION = [batches_from(torch.Generator().manual_seed(99))() for _ in range(2)]


def make_trainer(folder=None, n_steps=40, seed=0, model=None, **settings):
    generator = torch.Generator().manual_seed(seed)
    defaults = {"eval_interval": 10, "checkpoint_interval": 10, "max_lr": 0.05}
    return Trainer(
        model or Toy(),
        batches_from(generator),
        TrainConfig(n_steps=n_steps, **(defaults | settings)),
        validation=VALIDATION,
        generators={"data": generator},
        folder=folder,
        progress=False,
    )


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(get_weights(a).values(), get_weights(b).values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# ------------------------------------------------------------------------------ the loop


def test_training_learns_and_tells_its_listeners():
    trainer, seen = make_trainer(n_steps=200), []
    for event in training.EVENTS:
        trainer.on(event, lambda t, event=event: seen.append((event, t.step)))
    trainer.run()
    assert trainer.val_loss < 0.2 < trainer.history[0]["val_loss"]
    assert [step for event, step in seen if event == "step"] == list(range(1, 201))
    assert [step for event, step in seen if event == "evaluate"] == list(range(10, 201, 10))
    assert seen[0] == ("start", 0)
    assert seen[-1] == ("end", 200)
    assert not any(event == "checkpoint" for event, _ in seen)
    assert [line["step"] for line in trainer.history] == list(range(10, 201, 10))


def test_it_tells_how_long_a_step_takes():
    trainer = make_trainer(n_steps=3)
    seconds = []
    trainer.on("step", lambda t: seconds.append(t.seconds_per_step))
    trainer.run()
    assert len(seconds) == 3
    assert all(s > 0 for s in seconds)
    assert trainer.tokens_per_second > 0


def test_any_model_with_a_loss_of_its_own():
    line = nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 16).unsqueeze(1)
    batch = (x, 3 * x + 2)
    trainer = Trainer(
        line,
        lambda: batch,
        TrainConfig(n_steps=300, max_lr=0.1, weight_decay=0.0),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        progress=False,
    )
    trainer.run()
    assert line.weight.item() == pytest.approx(3, abs=0.01)
    assert line.bias.item() == pytest.approx(2, abs=0.01)


def test_uneven_batches_accumulate_to_one_large_batch():
    torch.manual_seed(0)
    x = torch.randint(0, 7, (6, 5))
    y = (x + 1) % 7
    y[0, 2:] = -100  # places to ignore count for nothing
    pieces = [(x[:1], y[:1]), (x[1:3], y[1:3]), (x[3:], y[3:])]

    def trained(batches):
        model, queue = Toy().eval(), iter(batches * 5)
        model.drop.p = 0.0
        config = TrainConfig(n_steps=5, accumulation_steps=len(batches), max_lr=0.05)
        Trainer(model, lambda: next(queue), config, progress=False).run()
        return model

    whole, joined = trained([(x, y)]), trained(pieces)
    for a, b in zip(get_weights(whole).values(), get_weights(joined).values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_gradient_of_uneven_batches_is_that_of_one_large_batch():
    torch.manual_seed(1)
    x = torch.randint(0, 7, (16, 5))
    y = (x + 1) % 7
    y[0, 1:], y[5, 3:] = -100, -100
    gradients = []
    for pieces in ([slice(0, 16)], [slice(0, 1), slice(1, 5), slice(5, 16)]):
        model, queue = Toy().double(), iter([(x[piece], y[piece]) for piece in pieces])
        model.drop.p = 0.0
        config = TrainConfig(n_steps=1, accumulation_steps=len(pieces), max_norm=math.inf)
        Trainer(model, queue.__next__, config, progress=False).train_step()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-6
    assert gradients[0].norm() > 1e-3


def test_clipping_and_schedule_are_applied():
    trainer = make_trainer(n_steps=20, warmup_steps=5, max_norm=1e-3)
    rates = []
    trainer.on("step", lambda t: rates.append(t.lr))
    trainer.run()
    assert rates[:5] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert rates[-1] < 0.01
    length = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm()
    assert length <= 1e-3 + 1e-6 < trainer.grad_norm


def test_validation_is_in_eval_mode_and_changes_nothing():
    model = Toy()
    model.norm.eval()  # one part was switched by hand; it must stay so
    state = torch.get_rng_state()
    first, second = evaluate(model, VALIDATION), evaluate(model, VALIDATION)
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.drop.training
    assert not model.norm.training


def test_evaluation_weighs_batches_by_their_targets():
    model = Toy().eval()
    x = torch.arange(6).reshape(2, 3)
    y = torch.tensor([[1, 2, 3], [4, -100, -100]])
    joined = evaluate(model, [(x, y)])
    split = evaluate(model, [(x[:1], y[:1]), (x[1:], y[1:])])
    assert joined == pytest.approx(split)


def test_evaluation_mode_is_restored_after_an_error():
    model = Toy()
    with pytest.raises(RuntimeError), evaluation_mode(model):
        raise RuntimeError
    assert model.training


def test_progress_bar_shows_loss_validation_rate_and_speed(capsys):
    trainer = make_trainer(n_steps=20)
    trainer.progress = True
    trainer.run()
    shown = capsys.readouterr().err
    for words in ("20/20", "loss ", "val ", "lr ", "tokens/s"):
        assert words in shown


# ------------------------------------------------------------------------ early stopping


def test_early_stopping_keeps_the_best():
    model, stopping = Toy(), EarlyStopping(patience=2, min_delta=0.01)
    assert stopping.update(1.0, 10, model)
    best = {name: w.clone() for name, w in get_weights(model).items()}
    with torch.no_grad():
        model.norm.weight.add_(1.0)
    assert not stopping.update(0.995, 20, model)  # better, but by less than min_delta
    assert not stopping.should_stop
    assert not stopping.update(1.5, 30, model)
    assert stopping.should_stop
    assert (stopping.loss, stopping.step) == (1.0, 10)
    for name, weight in stopping.weights.items():
        assert torch.equal(weight, best[name])


def test_trainer_stops_early_and_restores_the_best():
    trainer = make_trainer(n_steps=200, patience=3)
    values = iter([3.0, 2.0, 2.5, 2.5, 2.5, 1.0])
    trainer.loss_function = lambda model, batch: (
        training.model_loss(model, batch) * 0 + (0.0 if model.training else next(values))
    )
    trainer.validation = VALIDATION[:1]
    kept = {}
    trainer.on("evaluate", lambda t: kept.update({t.step: get_weights_copy(t.model)}))
    trainer.run()
    assert trainer.step == 50
    assert trainer.best.step == 20
    trainer.use_best_weights()
    for name, weight in get_weights(trainer.model).items():
        assert torch.equal(weight, kept[20][name])


def get_weights_copy(model):
    return {name: w.clone() for name, w in get_weights(model).items()}


# ---------------------------------------------------------------------- exact resuming


@pytest.mark.parametrize("stop_at", [1, 10, 17])
def test_resumed_run_equals_one_that_never_stopped(tmp_path, stop_at):
    torch.manual_seed(5)
    whole = make_trainer(n_steps=40)
    whole.run()

    torch.manual_seed(5)
    first = make_trainer(tmp_path, n_steps=40)
    first.on("step", lambda t: os.kill(os.getpid(), signal.SIGINT) if t.step == stop_at else None)
    with pytest.raises(TrainingInterrupted, match=f"step {stop_at}"):
        first.run()

    torch.manual_seed(12345)  # a new process would have another state
    second = make_trainer(tmp_path, n_steps=40, seed=777, model=Toy(seed=3))
    second.resume()
    assert second.step == stop_at
    second.run()
    assert same_weights(whole.model, second.model)
    assert whole.history == second.history
    assert whole.best.state() == second.best.state()
    for name, weight in whole.best.weights.items():
        assert torch.equal(weight, second.best.weights[name])


@pytest.mark.parametrize(
    "settings",
    [{}, {"muon_lr": 0.02, "decay_steps": 8}, {"muon_lr": 0.02, "precision": "bfloat16"}],
    ids=["adamw", "muon, level then down", "muon, bfloat16"],
)
def test_resume_with_a_small_gpt_is_exact(tmp_path, settings):
    from llm_core.config import GPTConfig
    from llm_core.data import get_batch
    from llm_core.model import GPT

    config = GPTConfig(vocab_size=11, context_length=8, d_model=16, n_layers=2, n_heads=2)
    config = GPTConfig.from_dict(config.to_dict() | {"dropout": 0.1})
    ids = torch.randint(0, 11, (400,), generator=torch.Generator().manual_seed(0))

    def make(folder):
        generator = torch.Generator().manual_seed(1)
        return Trainer(
            GPT(config),
            lambda: get_batch(ids, 4, 8, generator=generator),
            TrainConfig(n_steps=20, checkpoint_interval=10, **settings),
            generators={"data": generator},
            folder=folder,
            progress=False,
        )

    torch.manual_seed(0)
    whole = make(tmp_path / "whole")
    whole.run()
    half = tmp_path / "whole" / "step-000010"
    assert half.is_dir()
    resumed = make(tmp_path / "resumed")
    resumed.resume(half)
    assert resumed.step == 10
    resumed.run()
    assert same_weights(whole.model, resumed.model)


def test_torch_optimizers_can_be_saved_too(tmp_path):
    model = Toy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    Trainer(model, batches_from(torch.Generator()), TrainConfig(n_steps=3), optimizer=optimizer)
    model(VALIDATION[0][0], targets=VALIDATION[0][1])[1].backward()
    optimizer.step()
    save_checkpoint(tmp_path, model, optimizer, step=1)
    restored = torch.optim.AdamW(Toy().parameters(), lr=0.5)
    load_checkpoint(tmp_path, Toy(), restored)
    saved, read = optimizer.state_dict(), restored.state_dict()
    assert read["param_groups"][0]["lr"] == 0.01
    for index, state in saved["state"].items():
        for key, value in state.items():
            assert torch.equal(read["state"][index][key], value)


# --------------------------------------------------------------------------- checkpoints


def test_checkpoint_holds_model_to_use_and_state_to_go_on_from(tmp_path):
    model, best = Toy(), Toy(seed=1)
    path = save_checkpoint(
        tmp_path,
        model,
        AdamW(parameter_groups(model, 0.1)),
        step=7,
        best_weights=get_weights(best),
        extra={"note": "hello"},
        write_extras=lambda folder: files.write_json(folder / "config.json", {"a": 1}),
    )
    assert path == tmp_path / "step-000007"
    assert sorted(p.name for p in path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "training.json",
        "training.safetensors",
    ]
    stored = read_tensors(path / "model.safetensors")
    assert "embed.weight" in stored
    assert "head.weight" not in stored  # tied: stored once
    other = Toy(seed=2)
    saved = load_checkpoint(tmp_path, other)
    assert (saved.step, saved.extra, saved.path) == (7, {"note": "hello"}, path)
    assert same_weights(other, model)
    set_weights(other, saved.best_weights)
    assert same_weights(other, best)
    assert other.head.weight is other.embed.weight


def test_the_last_two_checkpoints_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for step in (10, 20, 30, 30):
        save_checkpoint(tmp_path, Toy(), step=step)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["latest.json", "notes.txt", "step-000030", "step-000030-2"]
    assert checkpoint_path(tmp_path).name == "step-000030-2"


FAILURES = ["model.safetensors", "training.safetensors", "training.json", "config.json", "rename",
            "latest.json"]  # fmt: skip


@pytest.mark.parametrize("failing", FAILURES)
def test_full_disk_at_any_moment_leaves_the_checkpoint_before(tmp_path, monkeypatch, failing):
    before, after = Toy(), Toy(seed=1)
    save_checkpoint(tmp_path, before, step=1)
    replace, rename = os.replace, os.rename

    def full(source, target):
        if files.Path(target).name == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    def full_rename(source, target):
        if failing == "rename":
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    monkeypatch.setattr(training.folder.os, "rename", full_rename)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(
            tmp_path, after, step=2, write_extras=lambda f: files.write_json(f / "config.json", {})
        )
    monkeypatch.undo()
    model = Toy(seed=5)
    assert load_checkpoint(tmp_path, model).step == 1
    assert same_weights(model, before)
    assert not list(tmp_path.rglob("*.partial"))
    save_checkpoint(tmp_path, after, step=2)  # and with space again it works
    assert load_checkpoint(tmp_path, model).step == 2
    assert same_weights(model, after)
    assert len(list(tmp_path.glob("step-*"))) == 2


def test_killed_while_writing_leaves_the_checkpoint_before(tmp_path):
    save_checkpoint(tmp_path, Toy(), step=1)
    leftover = tmp_path / "step-000002.partial"  # what a power cut would leave
    shutil.copytree(tmp_path / "step-000001", leftover)
    (leftover / "training.safetensors").unlink()
    assert load_checkpoint(tmp_path, Toy()).step == 1
    save_checkpoint(tmp_path, Toy(), step=3)
    assert not leftover.exists()


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "one bit":
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(b"\xff\xfenot what you think" * 20)


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "garbage"])
@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
def test_damaged_checkpoint_is_named_and_changes_nothing(tmp_path, name, how):
    path = save_checkpoint(tmp_path, Toy(), step=1)
    damage(path / name, how)
    model = Toy(seed=3)
    error = FileNotFoundError if how == "missing" else ValueError
    with pytest.raises(error, match=name.replace(".", r"\.")):
        load_checkpoint(tmp_path, model)
    assert same_weights(model, Toy(seed=3))


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_one_changed_bit_is_noticed(tmp_path, name):
    path = save_checkpoint(tmp_path, Toy(), step=1)
    damage(path / name, "one bit")
    with pytest.raises(ValueError, match=rf"{name} was changed or damaged".replace(".", r"\.")):
        load_checkpoint(tmp_path, Toy())


@pytest.mark.parametrize("how", ["missing", "truncated", "garbage"])
@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
def test_after_damage_the_checkpoint_before_is_offered(tmp_path, name, how):
    torch.manual_seed(5)  # dropout draws from torch's own generator
    make_trainer(tmp_path, n_steps=20).run()
    damage(checkpoint_path(tmp_path) / name, how)
    resumed = make_trainer(tmp_path, n_steps=20)
    with pytest.raises((ValueError, FileNotFoundError), match="resume from") as caught:
        resumed.resume()
    offered = str(caught.value).rsplit("resume from ", 1)[1]
    resumed.resume(offered)
    assert resumed.step == 10
    resumed.run()
    torch.manual_seed(5)
    whole = make_trainer(n_steps=20)
    whole.run()
    assert same_weights(whole.model, resumed.model)


@pytest.mark.parametrize("how", ["empty", "truncated", "garbage"])
def test_damaged_pointer_is_named(tmp_path, how):
    path = save_checkpoint(tmp_path, Toy(), step=1)
    damage(tmp_path / "latest.json", how)
    with pytest.raises(ValueError, match=r"latest\.json"):
        load_checkpoint(tmp_path, Toy())
    assert load_checkpoint(path, Toy()).step == 1  # the step's own folder still works
    save_checkpoint(tmp_path, Toy(), step=2)
    assert load_checkpoint(tmp_path, Toy()).step == 2


@pytest.mark.parametrize("pointer", [[], {}, {"latest": 3}, {"latest": "../elsewhere"}])
def test_pointer_with_other_content(tmp_path, pointer):
    save_checkpoint(tmp_path, Toy(), step=1)
    (tmp_path / "latest.json").write_text(json.dumps(pointer))
    with pytest.raises(ValueError, match=r"latest\.json"):
        load_checkpoint(tmp_path, Toy())


def test_pointer_to_a_removed_checkpoint_lists_the_others(tmp_path):
    save_checkpoint(tmp_path, Toy(), step=1)
    shutil.rmtree(save_checkpoint(tmp_path, Toy(), step=2))
    with pytest.raises(FileNotFoundError, match="step-000001"):
        load_checkpoint(tmp_path, Toy())


def test_checkpoint_of_another_model_or_optimizer(tmp_path):
    model = Toy()
    trainer = make_trainer(tmp_path, n_steps=3, model=model)
    trainer.run()
    other = Toy(width=8)
    with pytest.raises(ValueError, match=r"embed.weight has shape \(7, 6\)"):
        load_checkpoint(tmp_path, other)
    with pytest.raises(ValueError, match="does not fit the model"):
        load_checkpoint(tmp_path, nn.Linear(2, 2))
    fresh = Toy(seed=4)
    with pytest.raises(ValueError, match="does not fit the optimizer"):
        load_checkpoint(tmp_path, fresh, AdamW(fresh.parameters()))
    with pytest.raises(ValueError, match="generators"):
        load_checkpoint(tmp_path, fresh, generators={"other": torch.Generator()})
    assert same_weights(fresh, Toy(seed=4))


def test_checkpoint_without_optimizer_cannot_restore_one(tmp_path):
    save_checkpoint(tmp_path, Toy(), step=0)
    with pytest.raises(ValueError, match="does not fit the optimizer"):
        load_checkpoint(tmp_path, Toy(), AdamW(Toy().parameters()))


@pytest.mark.parametrize("content", ["[]", "{}", '{"step": "x", "extra": {}}', '{"step": 1}'])
def test_description_with_other_content(tmp_path, content):
    path = save_checkpoint(tmp_path, Toy(), step=1)
    (path / "training.json").write_text(content)
    with pytest.raises(ValueError, match=r"training\.json"):
        load_checkpoint(tmp_path, Toy())


def test_unwritable_folder_is_refused_before_training(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    trainer = make_trainer(blocked / "inside")
    with pytest.raises(OSError, match="cannot write in"):
        trainer.run()
    assert trainer.step == 0
    with pytest.raises(OSError, match="cannot write in"):
        save_checkpoint(blocked, Toy(), step=0)


# ------------------------------------------------------------------- when things go wrong


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_loss_stops_with_advice_and_loses_nothing(tmp_path, bad):
    trainer = make_trainer(tmp_path, n_steps=40)
    trainer.loss_function = lambda model, batch: (
        training.model_loss(model, batch) * (bad if trainer.step == 25 else 1.0)
    )
    with pytest.raises(FloatingPointError, match=r"step 25 .*step 20.*lower max_lr"):
        trainer.run()
    assert all(torch.isfinite(w).all() for w in get_weights(trainer.model).values())
    restored = make_trainer(tmp_path)
    restored.resume()
    assert restored.step == 20


def test_nan_gradient_stops_before_the_update():
    trainer = make_trainer(n_steps=5)
    trainer.model.norm.weight.register_hook(lambda grad: grad * math.nan)
    before = get_weights_copy(trainer.model)
    with pytest.raises(FloatingPointError, match="gradient"):
        trainer.run()
    for name, weight in get_weights(trainer.model).items():
        assert torch.equal(weight, before[name])


def test_ctrl_c_twice_at_once_is_one_and_what_was_trained_is_saved(tmp_path):
    trainer = make_trainer(tmp_path, n_steps=40)

    def press_twice(t):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer.on("step", press_twice)
    with pytest.raises(TrainingInterrupted, match="saved in"):
        trainer.run()
    assert load_checkpoint(tmp_path, Toy()).step == 1


@pytest.mark.parametrize("n_steps", [1, 40])
def test_ctrl_c_while_saving_waits_for_the_checkpoint(tmp_path, monkeypatch, n_steps):
    monkeypatch.setattr(training.interrupt, "PATIENCE", 0.0)
    trainer = make_trainer(tmp_path, n_steps=n_steps, checkpoint_interval=1)
    trainer.write_extras = lambda _: [os.kill(os.getpid(), signal.SIGINT) for _ in range(3)]
    with pytest.raises(TrainingInterrupted, match="saved in"):
        trainer.run()
    assert load_checkpoint(tmp_path, Toy()).step == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_changes_nothing_while_an_interrupted_run_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(training.interrupt, "PATIENCE", 0.0)
    trainer = make_trainer(tmp_path, n_steps=40)
    trainer.on("step", lambda t: os.kill(os.getpid(), signal.SIGINT) if t.step == 3 else None)
    trainer.write_extras = lambda _: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match="saved in"):
        trainer.run()
    assert load_checkpoint(tmp_path, Toy()).step == 3


def test_stop_ends_after_a_whole_step_saves_and_run_goes_on_from_there(tmp_path):
    torch.manual_seed(5)  # dropout draws from torch's own generator
    whole = make_trainer(n_steps=20)
    whole.run()
    trainer, ends = make_trainer(tmp_path, n_steps=20), []
    trainer.on("step", lambda t: t.stop() if t.step == 7 else None)
    trainer.on("end", lambda t: ends.append(t.step))
    torch.manual_seed(5)
    trainer.run()
    assert (trainer.step, load_checkpoint(tmp_path, Toy()).step) == (7, 7)
    torch.manual_seed(5)
    resumed = make_trainer(tmp_path, n_steps=20)
    resumed.resume()
    resumed.run()
    assert same_weights(whole.model, resumed.model)
    trainer.run()
    assert ends == [7, 20]


def in_another_thread(seconds, act):
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_a_paused_run_waits_until_another_thread_lets_it_go_on():
    trainer, steps = make_trainer(n_steps=6), []
    paused_at = []

    def on_pause(t):
        paused_at.append((t.step, time.perf_counter()))
        in_another_thread(0.3, t.go_on)

    trainer.on("step", lambda t: (steps.append(t.step), t.pause() if t.step == 4 else None))
    trainer.on("pause", on_pause)
    trainer.run()
    assert [step for step, _ in paused_at] == [4]
    assert time.perf_counter() - paused_at[0][1] >= 0.3
    assert steps == [1, 2, 3, 4, 5, 6]
    assert trainer.seconds_per_step < 0.2, "a pause is no part of a step"


def test_a_paused_run_can_be_stopped_and_a_new_run_does_not_start_paused():
    trainer = make_trainer(n_steps=6)
    trainer.on("step", lambda t: t.pause() if t.step == 2 else None)
    trainer.on("pause", lambda t: in_another_thread(0.1, t.stop))
    trainer.run()
    assert trainer.step == 2
    trainer.run()
    assert trainer.step == 6


def test_ctrl_c_while_paused_saves(tmp_path):
    trainer = make_trainer(tmp_path, n_steps=6)
    trainer.on("step", lambda t: t.pause() if t.step == 2 else None)
    trainer.on(
        "pause", lambda t: in_another_thread(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    )
    with pytest.raises(TrainingInterrupted, match="step 2: saved in"):
        trainer.run()
    assert load_checkpoint(tmp_path, Toy()).step == 2


def test_the_last_step_needs_no_pause():
    trainer, paused = make_trainer(n_steps=3), []
    trainer.on("step", lambda t: t.pause())
    trainer.on("pause", lambda t: (paused.append(t.step), t.go_on()))
    trainer.run()
    assert paused == [1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_ends_a_run_its_listeners_hear_of_the_end(error):
    trainer, ends = make_trainer(n_steps=5), []

    def fail(t):
        if t.step == 3:
            raise error

    trainer.on("step", fail)
    trainer.on("end", lambda t: ends.append(t.step))
    with pytest.raises(error):
        trainer.run()
    assert ends == [3]


def test_numpy_numbers_in_a_config_can_be_saved(tmp_path):
    make_trainer(tmp_path, n_steps=np.int64(2), max_lr=np.float32(0.5)).run()
    assert load_checkpoint(tmp_path, Toy()).step == 2
    with pytest.raises(TypeError, match="n_steps"):
        TrainConfig(n_steps=np.bool_(True))


def test_second_ctrl_c_stops_at_once(monkeypatch):
    monkeypatch.setattr(training.interrupt, "PATIENCE", 0.0)
    trainer = make_trainer(n_steps=40)

    def press_twice(t):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer.on("step", press_twice)
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.run()
    assert not isinstance(caught.value, TrainingInterrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def toy_run(**changes):
    arguments = {"model": Toy(), "next_batch": lambda: VALIDATION[0]} | changes
    return Trainer(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda p: TrainConfig(n_steps=0), ValueError, "n_steps"),
        (lambda p: TrainConfig(n_steps=1.5), TypeError, "n_steps"),
        (lambda p: TrainConfig(max_lr=0.0), ValueError, "max_lr"),
        (lambda p: TrainConfig(max_lr=None), TypeError, "max_lr"),
        (lambda p: TrainConfig(max_lr=1e-3, min_lr=1e-2), ValueError, "min_lr"),
        (lambda p: TrainConfig(n_steps=10, warmup_steps=11), ValueError, "warmup_steps"),
        (lambda p: TrainConfig(n_steps=10, decay_steps=11), ValueError, "decay_steps"),
        (lambda p: TrainConfig(decay_steps=-1), ValueError, "decay_steps"),
        (lambda p: TrainConfig(muon_lr=0.0), ValueError, "muon_lr"),
        (lambda p: TrainConfig(precision="float16"), ValueError, "precision"),
        (lambda p: TrainConfig(weight_decay=-1.0), ValueError, "weight_decay"),
        (lambda p: TrainConfig(max_norm=0.0), ValueError, "max_norm"),
        (lambda p: TrainConfig(accumulation_steps=0), ValueError, "accumulation_steps"),
        (lambda p: TrainConfig(eval_interval=0), ValueError, "eval_interval"),
        (lambda p: TrainConfig(checkpoint_interval=True), TypeError, "checkpoint_interval"),
        (lambda p: TrainConfig(patience=0), ValueError, "patience"),
        (lambda p: EarlyStopping(patience=-1), ValueError, "patience"),
        (lambda p: EarlyStopping(min_delta=-1.0), ValueError, "min_delta"),
        (lambda p: toy_run(model="gpt"), TypeError, "model"),
        (lambda p: toy_run(next_batch=VALIDATION), TypeError, "next_batch"),
        (lambda p: toy_run(config={"n_steps": 3}), TypeError, "TrainConfig"),
        (lambda p: toy_run(loss=0.5), TypeError, "loss"),
        (lambda p: toy_run(folder=3), TypeError, "folder"),
        (lambda p: toy_run(next_batch=lambda: None).run(), TypeError, "pair .* not NoneType"),
        (lambda p: toy_run(next_batch=lambda: (1, 2)).run(), TypeError, "pair"),
        (lambda p: toy_run(loss=lambda m, b: 0.5).run(), TypeError, "loss must be a tensor"),
        (lambda p: toy_run(loss=lambda m, b: m(b[0])[0]).run(), ValueError, "one number"),
        (lambda p: toy_run(loss=lambda m, b: torch.tensor(1.0)).run(), ValueError, "no gradient"),
        (lambda p: evaluate(Toy(), [None]), TypeError, "pair"),
        (lambda p: load_checkpoint(None, Toy()), TypeError, "folder must be .* not None"),
        (lambda p: save_checkpoint(None, Toy(), step=1), TypeError, "folder must be .* not None"),
        (lambda p: toy_run().on("lunch", print), ValueError, "event"),
        (lambda p: toy_run().on("step", None), TypeError, "callback"),
        (lambda p: toy_run().resume(), ValueError, "folder"),
        (lambda p: toy_run().resume(p), FileNotFoundError, "no checkpoint"),
        (lambda p: toy_run().resume(p / "no" / "such"), FileNotFoundError, "no checkpoint"),
        (lambda p: evaluate(Toy(), []), ValueError, "batches"),
        (lambda p: save_checkpoint(p, Toy(), step=-1), ValueError, "step"),
        (lambda p: save_checkpoint(p, Toy(), step="last"), TypeError, "step"),
        (lambda p: save_checkpoint(p, {"w": 1}, step=1), TypeError, "model"),
        (lambda p: load_checkpoint(p, Toy()), FileNotFoundError, "no checkpoint"),
        (lambda p: set_weights(Toy(), {}), ValueError, "lacks"),
        (lambda p: checkpoint_path(p / "nowhere"), FileNotFoundError, "nowhere"),
    ],
)
def test_bad_input(tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(tmp_path)
    assert not list(tmp_path.rglob("*.partial"))
