"""What a trial's `trainer` options make of its game, and where its images lie."""

import pytest
import torch

from ganbench.errors import UserError
from gans.speed import Speed
from harness import data
from harness.config import trial_id
from harness.trial.game import new_gan, new_sampler
from harness.trial.trainer import lean_trainer

SHAPE = (3, 8, 8)


def test_how_a_game_is_computed_follows_its_config(tiny):
    assert new_gan(tiny(), SHAPE).speed == Speed()
    options = {"compile": "default", "fused": False, "shared_pass": True}
    asked = {f"trainer.{name}": value for name, value in options.items()}
    assert new_gan(tiny(**asked), SHAPE).speed == Speed(**options)


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_and_weights_lie_as_asked(tiny, channels_last):
    config = tiny("wgan-gp", "digits", **{"data.size": 16, "trainer.channels_last": channels_last})
    dataset = data.load_for(config.data)
    gan = new_gan(config, dataset.shape)
    wide = next(weight for weight in gan.discriminator.parameters() if weight.ndim == 4 and min(weight.shape) > 1)
    assert wide.is_contiguous(memory_format=torch.channels_last) == channels_last
    trainer = lean_trainer(config=config.trainer, device="cpu")
    batch = new_sampler(config, dataset, trainer, gan.schedule).batch(0)
    assert batch.is_contiguous() or channels_last


@pytest.mark.parametrize(
    "option",
    [
        {"trainer.channels_last": False},
        {"trainer.compile": "default"},
        {"trainer.fused": False},
        {"trainer.shared_pass": True},
        {"trainer.data_on_device": False},
    ],
)
def test_how_a_game_is_computed_is_no_part_of_its_identity(tiny, option):
    assert trial_id(tiny(**option)) == trial_id(tiny())
    assert trial_id(tiny(**{"trainer.precision": "bf16-mixed"})) != trial_id(tiny())


def test_networks_that_grow_are_not_compiled(tiny):
    with pytest.raises(UserError, match=r"trainer\.compile=default does not fit networks that grow"):
        new_gan(tiny("progressive", **{"trainer.compile": "default"}), SHAPE)


# --- where the images lie


@pytest.mark.parametrize("flip", [False, True])
def test_batches_are_the_same_wherever_the_images_lie(tiny, device, flip):
    found = []
    for resident in (False, True):
        config = tiny("vanilla", "digits", **{"trainer.data_on_device": resident, "data.flip": flip})
        dataset = data.load_for(config.data)
        gan, trainer = new_gan(config, dataset.shape), lean_trainer(config=config.trainer, device=device)
        sampler = new_sampler(config, dataset, trainer, gan.schedule)
        found.append([sampler.batch(step) for step in (0, 1, 200)])
    assert {batch.device.type for batches in found for batch in batches} == {device}
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_trial_is_the_same_on_any_device(tiny, train, tmp_path, device):
    """The same rounds, files and scores; their numbers differ by rounding."""
    scores = train(tiny("sngan", "digits"), tmp_path / "trial", device=device)
    assert {row["checkpoint"] for row in scores["results"]} == {"last", "untrained", "best", "floor"}
    assert (tmp_path / "trial" / "scores.json").exists()


@pytest.mark.cuda
def test_images_that_do_not_fit_the_gpu_are_told_of(tiny, monkeypatch):
    config = tiny("vanilla", "digits", **{"trainer.data_on_device": True})
    dataset = data.load_for(config.data)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    trainer = lean_trainer(config=config.trainer, device="cuda")
    with pytest.raises(UserError, match=r"give trainer\.data_on_device=false"):
        new_sampler(config, dataset, trainer, new_gan(config, dataset.shape).schedule)
