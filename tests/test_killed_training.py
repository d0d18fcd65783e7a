"""SIGKILL at any moment: training goes on from the last checkpoint and ends bit for bit the same.

Nothing can be caught or cleaned up then, as after a power cut. Each run is a forked child, so that
25 of them take seconds.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from llm_core.data import get_batch
from llm_core.model import GPT, GPTConfig
from llm_core.training import TrainConfig, Trainer, get_weights

CONFIG = GPTConfig(vocab_size=11, context_length=8, d_model=16, n_layers=2, n_heads=2, dropout=0.1)
IDS = torch.randint(0, 11, (400,), generator=torch.Generator().manual_seed(0))
N_STEPS, CHECKPOINT_EVERY, N_KILLS = 24, 3, 25

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


def make_trainer(
    folder: Path, tell: "multiprocessing.connection.Connection | None", hold: float = 0.0
) -> Trainer:
    """Return a trainer that always runs the same; it tells when it steps and when it saves.

    Every save, once it has told of itself, takes `hold` seconds more.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)

    def saving(_: Path) -> None:
        if tell:
            tell.send("saving")
            time.sleep(hold)

    trainer = Trainer(
        GPT(CONFIG),
        lambda: get_batch(IDS, 4, 8, generator=generator),
        TrainConfig(n_steps=N_STEPS, checkpoint_interval=CHECKPOINT_EVERY, eval_interval=10),
        validation=[get_batch(IDS, 4, 8, generator=torch.Generator().manual_seed(2))],
        generators={"data": generator},
        folder=folder,
        write_extras=saving,
        progress=False,
    )
    if tell:
        trainer.on("step", lambda t: tell.send(t.step))
    return trainer


def train(folder: Path, tell: "multiprocessing.connection.Connection", hold: float) -> None:
    """Train in a child, from the latest checkpoint if there is one."""
    trainer = make_trainer(folder, tell, hold)
    if (folder / "latest.json").exists():
        trainer.resume()
    trainer.run()


def kill_at(folder: Path, when: str | int, delay: float, hold: float) -> int | None:
    """Start training; kill it `delay` seconds after it says `when`. Return its exit code.

    `hold` is that of `make_trainer`.
    """
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=train, args=(folder, send, hold))
    child.start()
    send.close()
    said: str | int | None = None
    try:
        while said != when:
            said = receive.recv()
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
    except EOFError:  # it ended before it said so
        pass
    child.join(30)
    assert child.exitcode in (0, -signal.SIGKILL), f"the child failed with {child.exitcode}"
    return child.exitcode


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_25_random_moments_it_ends_the_same_bit_for_bit(tmp_path, record_property):
    whole = make_trainer(tmp_path / "whole", None)
    whole.run()
    expected = get_weights(whole.model)
    draw = random.Random(0)
    n_killed = n_while_saving = 0
    for number in range(N_KILLS):
        folder = tmp_path / f"killed-{number}"
        while_saving = number % 3 == 0
        when = "saving" if while_saving else draw.randrange(1, N_STEPS - 1)
        # Some are held inside the save, so that the kill falls into it on a machine of any speed;
        # the others may be hit while the finished checkpoint gets its name.
        hold = 1.0 if while_saving and number % 2 == 0 else 0.0
        code = kill_at(folder, when, delay=draw.random() * 0.003, hold=hold)
        n_killed += code == -signal.SIGKILL
        n_while_saving += while_saving and any(folder.glob("*.partial"))
        resumed = make_trainer(folder, None)
        if (folder / "latest.json").exists():
            resumed.resume()  # no checkpoint may be unreadable
            assert 0 < resumed.step <= N_STEPS
        resumed.run()
        for name, weight in get_weights(resumed.model).items():
            assert torch.equal(weight, expected[name]), f"kill {number} ({when}): {name} differs"
        assert not list(folder.glob("*.partial")), "what the kill left behind is cleared away"
    record_property(
        "figure",
        f"training killed {n_killed} times, {n_while_saving} of them while a checkpoint was "
        "written: resumed to the same weights every time",
    )
    assert n_killed == N_KILLS
    assert n_while_saving >= 3
