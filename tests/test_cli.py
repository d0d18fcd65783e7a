"""The command line as a newcomer uses it: train, stop, go on, sample, and every wrong turn."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from llm_core import files
from llm_core.cli import main, settings
from llm_core.cli.chat import Talk
from llm_core.cli.data import (
    SHARE_ELSEWHERE,
    load_data,
    story_windows,
    validation_stories,
    whole_story_batches,
)
from llm_core.cli.settings import RECIPES, Settings, make_settings
from llm_core.cli.story_card import measure_storyteller
from llm_core.config import POSITIONS
from llm_core.corpus import STORY_END, entropy_floor, stories, story_vocabulary
from llm_core.pretrained import PRETRAINED, load_pretrained
from llm_core.sampling import generate, stream
from llm_core.tensors import read_tensors
from llm_core.tokens import WordTokenizer
from llm_core.training import get_weights

TEXT = "It was a dark and stormy night; the rain fell in torrents, except at times.\n" * 120
TINY = ["--d-model", "8", "--n-layers", "1", "--n-heads", "2", "--context-length", "16"]
TINY += ["--batch-size", "4", "--steps", "6", "--vocab-size", "270", "--quiet", "--device", "cpu"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Be in an empty folder that holds a small text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.txt").write_text(TEXT)
    return tmp_path


def run(capsys, *arguments):
    """Run the command line in this process: (exit status, stdout, stderr)."""
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def command_line(folder, *arguments):
    """Start the command line as a process of its own, with pipes for its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "llm_core", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(files.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train_tiny(capsys, *more):
    status, out, err = run(capsys, "train", "--text", "night.txt", *TINY, *more)
    assert status == 0, err
    return out


# ------------------------------------------------------------------------- the main job


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_train_saves_reports_and_samples(here, capsys, kind):
    out = train_tiny(capsys, "--tokenizer", kind)
    assert re.search(
        r"validation loss \d+\.\d+ nats per token \(perplexity .* bits per byte\)", out
    )
    assert "a sample:" in out
    model, tokenizer = load_pretrained(here / "checkpoints" / "night")
    assert tokenizer.kind == kind
    assert model.config.d_model == 8


@pytest.mark.parametrize("kind", POSITIONS)
def test_every_kind_of_positions_trains_and_samples(here, capsys, kind):
    assert "a sample:" in train_tiny(capsys, "--positions", kind)
    assert load_pretrained(here / "checkpoints" / "night")[0].config.positions == kind


def test_sample_continues_and_info_describes(here, capsys):
    train_tiny(capsys)
    arguments = ("sample", "--prompt", "It was", "--tokens", "12", "--seed", "3")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert out.startswith("It was")
    assert out == run(capsys, *arguments)[1]
    assert out != run(capsys, *arguments[:-1], "4")[1]
    greedy = run(capsys, "sample", "--temperature", "0", "--tokens", "5", "--top-k", "1")
    assert greedy[0] == 0
    status, out, _ = run(capsys, "info", "--checkpoint", "checkpoints/night")
    assert status == 0
    for words in ("d_model", "parameters", "bpe", "validation loss", "night.txt", "torch", "cpu"):
        assert words in out


def test_the_default_checkpoint_is_the_newest(here, capsys):
    train_tiny(capsys)
    train_tiny(capsys, "--out", "checkpoints/second", "--tokenizer", "char")
    os.utime(here / "checkpoints" / "night" / "latest.json", (1, 1))
    assert "checkpoints/second" in run(capsys, "info")[1]


def test_a_second_run_does_not_touch_the_first(here, capsys):
    train_tiny(capsys)
    train_tiny(capsys)
    assert (here / "checkpoints" / "night" / "latest.json").exists()
    assert (here / "checkpoints" / "night-2" / "latest.json").exists()


def test_out_is_not_overwritten_unless_asked(here, capsys):
    train_tiny(capsys, "--out", "mine")
    before = (here / "mine" / "latest.json").read_text()
    status, _, err = run(capsys, "train", "--text", "night.txt", *TINY, "--out", "mine")
    assert status == 2
    assert "--resume mine" in err
    assert (here / "mine" / "latest.json").read_text() == before
    train_tiny(capsys, "--out", "mine", "--overwrite")


def test_a_finished_run_can_be_made_longer(here, capsys):
    train_tiny(capsys, "--steps", "5")
    status, out, err = run(
        capsys, "train", "--resume", "checkpoints/night", "--steps", "8", "--quiet"
    )
    assert status == 0, err
    assert "resumed after step 5, to step 8" in out
    assert "8 of 8" in run(capsys, "info")[1]


def test_stories_come_with_their_floor(here, capsys):
    status, out, err = run(
        capsys, "train", *TINY, "--context-length", "100", "--stories", "40", "--export", "alone"
    )
    assert status == 0, err
    assert re.search(r"entropy floor +0\.2\d\d nats per token", out)
    card = (here / "alone" / "README.md").read_text()
    assert "entropy floor" in card
    assert "python -m llm_core train --d-model 8" in card
    model, tokenizer = load_pretrained(here / "alone")
    stored = read_tensors(here / "alone" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    every_word = tokenizer.encode(" ".join(story_vocabulary()))
    assert tokenizer.special_tokens["<unk>"] not in every_word
    assert model.config.context_length == 100


# --------------------------------------------------------------------------------- chat


def talk(capsys, monkeypatch, lines, *arguments):
    """Hold a chat of these lines in this process: (status, what stands after the help, stderr)."""
    typed = iter(lines)

    def answer(prompt=""):
        print(prompt, end="")
        line = next(typed, EOFError)
        if not isinstance(line, str):
            raise line
        return line

    monkeypatch.setattr("builtins.input", answer)
    status, out, err = run(capsys, "chat", "--device", "cpu", *arguments)
    return status, out.split("where you write; while it writes, Ctrl-C stops it)\n", 1)[-1], err


def turns(out):
    return [turn.strip("\n") for turn in out.split("> ")[1:]]


def test_chat_continues_a_beginning_to_the_end_of_its_story(here, capsys, monkeypatch):
    lines = ["Once there was a queen called Anna.", "", "Once"]
    status, out, err = talk(capsys, monkeypatch, lines, "--tokens", "90")
    assert (status, err) == (0, "")
    first, second, third, bye = turns(out)
    assert "The story has ended." in first
    assert first.splitlines()[0].endswith(".")
    assert second.startswith("Once there was")  # Enter alone: one of its own
    assert third.startswith(" there was a")  # a new one, not the second's sequel
    assert bye == "Goodbye."
    assert "<|" not in out


def test_chat_goes_on_where_both_left_off(here, capsys, monkeypatch):
    lines = ["Once there was a king called Tom", ". He had", "", "a friend"]
    given = ("--tokens", "4", "--temperature", "0")
    _, out, _ = talk(capsys, monkeypatch, lines, *given)
    model, tokenizer = load_pretrained("stories")
    ids = []
    for line, turn in zip(lines, turns(out), strict=False):
        ids += tokenizer.encode(line)
        new = generate(model, torch.tensor(ids), 4, temperature=0).tolist()[len(ids) :]
        assert turn.split() == tokenizer.decode([*ids, *new])[len(tokenizer.decode(ids)) :].split()
        ids += new


def test_chat_tries_again_and_begins_anew(here, capsys, monkeypatch):
    lines = ["Once there was a", "/again", "/new", "Once there was a", "/again"]
    _, out, _ = talk(capsys, monkeypatch, lines, "--tokens", "12", "--temperature", "1.5")
    first, again, new, fresh, last, _ = turns(out)
    assert "A new text." in new
    assert len({first, again, fresh, last}) == 4
    repeated = talk(capsys, monkeypatch, lines, "--tokens", "12", "--temperature", "1.5")[1]
    assert repeated == out  # one seed, one chat


def test_chat_says_what_it_does_not_understand(here, capsys, monkeypatch):
    lines = ["once there was a zebra", "/agian", "/again", "/help", "/quit", "never read"]
    status, out, err = talk(capsys, monkeypatch, lines)
    assert (status, err) == (0, "")
    assert "saw the words ['once', 'zebra']; it knows Once." in run_together(out)
    assert "There is no /agian" in out
    assert "has not written yet" in out
    assert out.endswith("Goodbye.\n")


def run_together(text):
    return " ".join(text.split())


def test_chat_with_a_model_of_another_text_never_ends_by_itself(here, capsys, monkeypatch):
    train_tiny(capsys)
    _, out, _ = talk(capsys, monkeypatch, ["", "It was", "dark"], "--tokens", "5")
    assert "ended" not in out
    assert len(turns(out)) == 4


def test_a_line_joins_the_text_with_the_space_it_needs(here, capsys):
    train_tiny(capsys, "--tokenizer", "char")
    model, tokenizer = load_pretrained(here / "checkpoints" / "night")
    one = Talk(model, tokenizer, 1, {"temperature": 0})
    for line in ("It", "was", ", at", "times."):
        one.hear(line)
    assert tokenizer.decode(one.ids) == "It was, at times."
    with pytest.raises(ValueError, match="Z"):
        one.hear("Z")
    assert tokenizer.decode(one.ids) == "It was, at times."


def test_ctrl_c_at_the_prompt_ends_the_chat(here, capsys, monkeypatch):
    status, out, err = talk(capsys, monkeypatch, [KeyboardInterrupt])
    assert (status, err) == (0, "")
    assert turns(out) == ["Goodbye."]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_while_it_writes_stops_the_turn_and_keeps_what_was_written(
    here, capsys, monkeypatch
):
    def press(*_, **__):
        yield 10
        os.kill(os.getpid(), signal.SIGINT)
        yield 11

    real = stream
    calls = []

    def first_is_checked_then_pressed(*args, **kwargs):
        calls.append(args[1].tolist())
        return press() if len(calls) == 2 else real(*args, **kwargs)

    monkeypatch.setattr("llm_core.cli.chat.stream", first_is_checked_then_pressed)
    status, out, err = talk(capsys, monkeypatch, ["Once", ""], "--tokens", "3")
    assert (status, err) == (0, "")
    assert "... stopped." in turns(out)[0]
    assert calls[2] == [*calls[1], 10, *calls[2][len(calls[1]) + 1 :]]
    assert len(turns(out)) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_chat_as_a_process_shows_its_words_as_they_come_and_ends_on_ctrl_c(here):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "llm_core", "chat", "--tokens", "3", "--device", "cpu"],
        cwd=here,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(files.ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("Once there\n")
    process.stdin.flush()
    seen = ""
    while "> " not in seen.partition("> ")[2]:  # the first turn is over: it asks again
        seen += process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert turns(seen)[0].split()[:1] == ["was"]
    assert out.strip() == "Goodbye."


def test_sample_stops_at_the_end_of_a_story(here, capsys):
    arguments = ("sample", "--tokens", "300", "--device", "cpu", "--prompt", "Once there was a")
    status, whole, _ = run(capsys, *arguments)
    assert status == 0
    status, one, _ = run(capsys, *arguments, "--stop-at-end")
    assert status == 0
    assert whole.count("<|endoftext|>") > 1
    assert one.strip() == whole.partition("\n")[0]


def test_sample_passes_every_way_to_choose_on(here, capsys):
    choice = ["--top-k", "20", "--top-p", "0.95", "--min-p", "0.02", "--repetition-penalty", "1.1"]
    arguments = ["sample", "--tokens", "20", "--prompt", "Once", "--seed", "3", "--device", "cpu"]
    status, out, err = run(capsys, *arguments, *choice, "--temperature", "1.5")
    assert (status, err) == (0, "")
    model, tokenizer = load_pretrained("stories")
    expected = generate(
        model,
        torch.tensor(tokenizer.encode("Once")),
        20,
        temperature=1.5,
        top_k=20,
        top_p=0.95,
        min_p=0.02,
        repetition_penalty=1.1,
        generator=torch.Generator().manual_seed(3),
    )
    assert out == tokenizer.decode(expected.tolist()) + "\n"


# ------------------------------------------------------------------ stopping and going on


def wait_for(path, process, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


def final_weights(folder):
    path = folder / json.loads((folder / "latest.json").read_text())["latest"]
    return read_tensors(path / "training.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_while_sampling_prints_one_plain_line(here, capsys, monkeypatch):
    train_tiny(capsys)

    def press(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        yield 0

    monkeypatch.setattr("llm_core.cli.sample.stream", press)
    status, _, err = run(capsys, "sample")
    assert (status, err) == (130, "\nStopped; nothing was lost.\n")


def test_printed_commands_work_for_a_folder_with_a_space(here, capsys):
    out = train_tiny(capsys, "--out", "my first run")
    command = re.search(r"python -m llm_core (sample .*)", out).group(1)
    status, _, err = run(capsys, *shlex.split(command), "--tokens", "2")
    assert status == 0, err
    status, _, err = run(capsys, "train", "--text", "night.txt", *TINY, "--out", "my first run")
    assert status == 2
    assert f"--resume {settings.quoted('my first run')}" in err


@pytest.mark.parametrize(
    ("system", "typed"), [("posix", "'my first run'"), ("nt", '"my first run"')]
)
def test_quotes_suit_the_system(monkeypatch, system, typed):
    monkeypatch.setattr("llm_core.cli.settings.os.name", system)
    assert settings.quoted("my first run") == typed
    assert settings.quoted("run") == "run"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_saves_and_the_command_it_prints_goes_on_exactly(here, capsys):
    size = [*TINY, "--dropout", "0.2", "--steps", "150"]
    process = command_line(here, "train", "--text", "night.txt", *size)
    folder = here / "checkpoints" / "night"
    wait_for(folder / "latest.json", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    stopped_at = int(re.search(r"Stopped after step (\d+) of 150; saved in", err).group(1))
    assert 0 < stopped_at < 150
    command = re.search(r"python -m llm_core (train --resume \S+)", err).group(1)
    status, out, err = run(capsys, *command.split(), "--quiet", "--device", "cpu")
    assert status == 0, err
    assert f"resumed after step {stopped_at}" in out

    train_tiny(capsys, *size[len(TINY) :], "--out", "whole")
    resumed, whole = final_weights(folder), final_weights(here / "whole")
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_resume_without_a_folder_takes_the_newest(here, capsys):
    train_tiny(capsys, "--steps", "4")
    status, out, err = run(capsys, "train", "--resume", "--steps", "5", "--quiet")
    assert status == 0, err
    assert "resumed after step 4" in out


def test_nan_stops_with_one_line_of_advice(here, capsys, monkeypatch):
    monkeypatch.setattr(
        "llm_core.training.loop.clip_grad_norm", lambda *_: torch.tensor(float("nan"))
    )
    status, _, err = run(capsys, "train", "--text", "night.txt", *TINY)
    assert status == 2
    assert "lower --lr" in err
    assert len(err.strip().splitlines()) == 1


def test_a_full_disk_stops_with_one_line(here, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llm_core.tensors.save", full)
    status, _, err = run(capsys, "train", "--text", "night.txt", *TINY)
    assert status == 2
    assert "No space left on device" in err
    assert len(err.strip().splitlines()) == 1
    assert not list(here.rglob("*.partial"))


# ------------------------------------------------------------------------------- errors


def damaged(folder, name):
    path = folder / json.loads((folder / "latest.json").read_text())["latest"] / name
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["trian"], "invalid choice"),
        (["train", "--steps", "many"], "--steps"),
        (["train", "--steps", "0"], "--steps must"),
        (["train", "--batch-size", "-1"], "--batch-size must"),
        (["train", "--lr", "0"], "--lr must"),
        (["train", "--dropout", "2"], "--dropout must"),
        (["train", "--n-heads", "5"], "multiple of --n-heads"),
        (["train", "--stories", "0"], "--stories must"),
        (["train", "--patience", "0"], "--patience must"),
        (["train", "--tokenizer", "syllable"], "--tokenizer"),
        (["train", "--preset", "huge"], "--preset"),
        (["train", "--device", "toaster"], "--device must"),
        (["train", "--text", ""], "--text is empty"),
        (["train", "--text", "nowhere.txt"], "nowhere.txt"),
        (["train", "--text", "pythondocs"], "python-docs"),
        (["train", "--text", "empty.txt"], "empty"),
        (["train", "--text", "short.txt"], "context-length"),
        (["train", "--text", "picture.txt"], "UTF-8"),
        (["train", "--text", "night.txt", "--vocab-size", "10"], "--vocab-size is 10"),
        (["train", "--context-length", "20", "--stories", "5"], "--context-length must"),
        (["train", "--text", "night.txt", "--out", "night.txt/in"], "cannot write"),
        (["train", "--text", "night.txt", "--export", "night.txt/in"], "cannot write"),
        (["train", "--resume"], "no run under checkpoints"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["train", "--resume", "x", "--out", "y"], "--out"),
        (["sample", "--checkpoint", "nowhere"], "nowhere"),
        (["sample", "--checkpoint", "night.txt"], "night.txt"),
        (["sample", "--tokens", "-5"], "--tokens must"),
        (["sample", "--temperature", "-1"], "--temperature must"),
        (["train", "--text", "a" * 5000], "--text has 5000 characters"),
        (["train", "--text", "night.txt", *TINY, "--out", "night.txt"], "cannot write"),
        (["train", "--seed", "-1"], "--seed must"),
        (["sample", "--temperature", "1e-320"], "--temperature must"),
        (["sample", "--seed", str(2**70)], "--seed must"),
        (["sample", "--top-k", "0"], "--top-k must"),
        (["sample", "--top-p", "1.5"], "--top-p must"),
        (["sample", "--min-p", "2"], "--min-p must"),
        (["sample", "--repetition-penalty", "0"], "--repetition-penalty must"),
        (["chat", "--tokens", "0"], "--tokens must"),
        (["chat", "--temperature", "-1"], "--temperature must"),
        (["chat", "--top-k", "0"], "--top-k must"),
        (["chat", "--checkpoint", "nowhere"], "nowhere"),
        (["chat", "--seed", "-1"], "--seed must"),
        (["info", "--checkpoint", "nowhere"], "nowhere"),
        (["reset"], "--chapter"),
    ],
)
def test_every_error_is_one_line_and_status_2(here, capsys, arguments, words):
    (here / "empty.txt").write_text("")
    (here / "short.txt").write_text("Too short.\n")
    (here / "picture.txt").write_bytes(b"\x89PNG\xff\xfe" * 50)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")  # nothing was announced
    assert words in err
    assert len([line for line in err.splitlines() if not line.startswith("note: ")]) == 1
    assert not (here / "checkpoints").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: damaged(run, "training.safetensors"), "training.safetensors"),
        (lambda run: damaged(run, "model.safetensors"), "model.safetensors"),
        (lambda run: damaged(run, "training.json"), "training.json"),
        (lambda run: damaged(run, "tokenizer.json"), "tokenizer.json"),
        (lambda run: damaged(run, "run.json"), "run.json"),
        (lambda run: damaged(run, "../latest.json"), "latest.json"),
        (lambda run: (run.parent.parent / "night.txt").write_text(TEXT * 2), "not the one"),
    ],
)
def test_resuming_a_damaged_run_names_the_file(here, capsys, damage, words):
    train_tiny(capsys)
    damage(here / "checkpoints" / "night")
    status, _, err = run(capsys, "train", "--resume", "checkpoints/night")
    assert status == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_settings_that_would_make_another_run_cannot_be_resumed(here, capsys):
    train_tiny(capsys)
    status, _, err = run(capsys, "train", "--resume", "checkpoints/night", "--lr", "0.5")
    assert status == 2
    assert "has --lr" in err


def test_unknown_words_and_empty_prompts(here, capsys):
    train_tiny(capsys, "--tokenizer", "word")
    for prompt, words in (("It was a zebra", "zebra"), ("", "empty")):
        status, _, err = run(capsys, "sample", "--prompt", prompt)
        assert status == 2
        assert words in err


@pytest.mark.parametrize(
    "command", [[], ["train"], ["sample"], ["chat"], ["info"], ["update"], ["reset"]]
)
def test_help(capsys, command):
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0
    assert "usage: python -m llm_core" in out


def test_python_m_llm_core_runs_the_command_line(here):
    process = command_line(here, "info", "--checkpoint", "nowhere")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "nowhere" in err
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error(here, capsys):
    train_tiny(capsys)
    process = command_line(here, "sample", "--tokens", "40")
    process.stdout.close()  # as `| head` does when it has seen enough
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert err == ""


def test_update_and_reset_are_passed_on(capsys, monkeypatch):
    from llm_core.notebooks import update

    def refuse(chapter):
        raise update.UpdateError(f"no chapter {chapter}")

    monkeypatch.setattr(update, "update", lambda previous: f"brought from {previous}")
    monkeypatch.setattr(update, "reset", refuse)
    assert run(capsys, "update", "--from", "old")[:2] == (0, "brought from old\n")
    status, _, err = run(capsys, "reset", "--chapter", "99")
    assert status == 2
    assert "no chapter 99" in err


# ----------------------------------------------------------------- settings and stories


def test_recipes_follow_the_text():
    assert make_settings(None, {}) == RECIPES["stories"]
    assert make_settings(None, {"text": "a.txt"}) == Settings(text="a.txt")
    assert make_settings("storyteller", {"steps": 7}).steps == 7
    with pytest.raises(ValueError, match="preset"):
        make_settings("huge", {})


def test_run_names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"../data/My Book.txt": "My-Book", "python-docs": "python-docs", "texts/": "texts"}
    for text, name in names.items():
        assert settings.run_name(Settings(text=text)) == name


def test_most_story_windows_begin_with_a_story_and_some_anywhere():
    told = stories(30, seed=5)
    text = STORY_END + "\n" + "".join(f"{story}{STORY_END}\n" for story in told)
    tokenizer = WordTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(text))
    starts = (ids == tokenizer.special_tokens[STORY_END]).nonzero().flatten()[:10]
    generator = torch.Generator().manual_seed(0)
    x, y = story_windows(ids, starts, 1000, 20, torch.device("cpu"), generator)
    assert x.shape == y.shape == (1000, 20)
    assert torch.equal(x[:, 1:], y[:, :-1])
    begins = Counter(tokenizer.decode(row[:1]).strip() for row in x)
    share = sum(begins[start] for start in (STORY_END, "", "Once")) / 1000
    assert {STORY_END, "", "Once"} < begins.keys()
    assert 1 - share == pytest.approx(SHARE_ELSEWHERE, abs=0.05)


def test_validation_judges_exactly_what_the_floor_counts():
    told = validation_stories(set())[:30]
    tokenizer = WordTokenizer.train(" ".join(story_vocabulary()) + STORY_END + "\n")
    batches = whole_story_batches(told, tokenizer, 128)
    n_targets = sum(int((y >= 0).sum()) for _, y in batches)
    assert n_targets == sum(len(tokenizer.encode(f"{story}{STORY_END}\n")) for story in told)
    x, y = batches[0]
    assert tokenizer.decode(x[0, :3]).endswith("Once")
    assert y[0, 0] < 0  # the newline that was given
    assert tokenizer.token(int(y[0, 1])) == "Once"


def test_validation_stories_are_not_trained_on():
    all_of_them = validation_stories(set())
    seen = set(all_of_them[:10])
    assert not seen & set(validation_stories(seen))
    data = load_data(Settings(n_stories=50, tokenizer="word"))
    assert data.floor == pytest.approx(entropy_floor(400, seed=1).per_token, abs=0.02)


# ------------------------------------------------------------------- the model in assets


@pytest.mark.slow
def test_the_storyteller_is_as_good_as_its_card_says():
    folder = PRETRAINED["stories"]
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    model, tokenizer = load_pretrained("stories")
    assert len(get_weights(model)) > 0
    unknown = tokenizer.special_tokens["<unk>"]
    assert unknown not in tokenizer.encode(" ".join(story_vocabulary()))
    figures = measure_storyteller(model, tokenizer, n_samples=200, n_val=100)
    assert figures.floor <= figures.loss <= figures.floor + 0.03
    assert figures.report.n_stories == 200
    assert figures.report.share_well_formed >= 0.95
    assert figures.report.share_true_facts >= 0.9
    card = Path(folder / "README.md").read_text(encoding="utf-8")
    stated = float(re.search(r"validation loss.*\| (\d\.\d+) nats", card).group(1))
    assert stated == pytest.approx(figures.loss, abs=0.03)
