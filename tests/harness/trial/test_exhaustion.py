"""A GPU's memory that does not suffice: the batch that would fit is named, and nothing but one sentence is told.

The memory is a make-believe one here: each forward pass of a generator may have so many rows.
"""

import pytest
import torch

import gans
from ganbench.errors import UserError
from harness.trial.exhaustion import exhausted
from harness.trial.game import new_gan


@pytest.fixture
def room_for(monkeypatch):
    """`room_for(6)`: passes of more than six samples exhaust the memory."""

    def limit(rows):
        generate = gans.GAN._generate

        def generated(self, latent, labels=None):
            if len(latent) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return generate(self, latent, labels)

        monkeypatch.setattr(gans.GAN, "_generate", generated)

    return limit


@pytest.mark.parametrize(
    ("gan", "dataset", "options", "message"),
    [
        ("wgan-gp", "ring8", {}, "gan.batch_size=16 samples of 2: gan.batch_size=4 would fit"),
        (
            "sngan",
            "digits",
            {"gan.generator_batch": 32},
            "samples of 1×8×8: gan.batch_size=2 gan.generator_batch=4 would fit",
        ),
        (
            "progressive",
            "digits",
            {"gan.stage_batches": [[8, 8]]},
            "samples of 1×8×8: gan.batch_size=8 gan.stage_batches=[[8,4]] would fit",
        ),
    ],
)
def test_the_batch_that_would_fit_is_named(tiny, train, tmp_path, room_for, gan, dataset, options, message):
    room_for(6)
    if gan == "progressive":
        room_for(7)
    with pytest.raises(UserError) as told:
        train(tiny(gan, dataset, **{"evaluation.metrics": ["fid"], **options}), tmp_path / "trial")
    assert str(told.value).endswith(message), told.value


def test_no_batch_may_fit_at_all(tiny, train, tmp_path, room_for):
    room_for(1)
    with pytest.raises(UserError, match=r"nor for any smaller batch: lower gan\.width or data\.size"):
        train(tiny("vanilla", "ring8"), tmp_path / "trial")


def test_what_the_scoring_lacks_is_not_laid_on_the_batch(tiny, train, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    config = tiny("vanilla", "ring8")
    with monkeypatch.context() as patch:
        patch.setattr("harness.scoring.evaluation.Evaluation.selection", full)
        with pytest.raises(UserError, match="suffices for the training but not for the scoring"):
            train(config, tmp_path / "look")
    monkeypatch.setattr("harness.scoring.evaluation.Evaluation.report", full)
    with pytest.raises(UserError, match="suffices for the training but not for the scoring"):
        train(config, tmp_path / "end")


def test_processes_beside_are_not_disturbed_by_trying(tiny, room_for):
    said = exhausted(tiny("vanilla", "ring8", **{"trainer.devices": 2}), (2,), new_gan, "cpu")
    assert "gan.batch_size=16 samples of 2: halve it, or share it among more trainer.devices" in str(said)


@pytest.mark.cuda
def test_a_gpu_that_is_full_is_told_of(tiny, train, tmp_path):
    config = tiny("nonsaturating", "digits", **{"data.size": 64, "gan.batch_size": 256, "gan.width": 64})
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (0.3 * 2**30) / total))
    try:
        with pytest.raises(UserError, match=r"gan\.batch_size=\d+ would fit"):
            train(config, tmp_path / "trial", device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
