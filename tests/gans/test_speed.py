"""How a game is computed changes its rounding at most; and what cannot be computed so is refused."""

import functools
import shutil
import sys
import warnings

import pytest
import pytorch_lightning as pl
import torch

import gans
from ganbench.errors import UserError
from gans.shards import mixes_samples
from gans.speed import Speed, check_compiler

BATCH = 8


class Calls:
    """What each training step is handed; not a list, which Lightning would take for several loaders."""

    def __init__(self, gan, rounds):
        random = torch.Generator().manual_seed(5)
        shape = (rounds, gan.recipe.n_critic, BATCH, *gan.shape)
        self.calls = [[list(reals)] for reals in torch.rand(shape, generator=random) * 2 - 1]

    def __len__(self):
        return len(self.calls)

    def __iter__(self):
        return iter(self.calls)


def build(name, speed=None, *, images=False, **options):
    shape = {"image_shape": (3, 8, 8)} if images else {"data_dim": 2}
    options = {"width": 4, "latent_dim": 8, "batch_size": BATCH, "n_critic": 1, **options}
    gan = gans.build(name, **shape, **options)
    gan.speed = speed or Speed()
    return gan


def play(gan, rounds=2, device="cpu", precision="32-true"):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        pl.Trainer(
            max_epochs=1,
            accelerator=device,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(gan, Calls(gan, rounds))
    return gan


def weights(gan):
    return {name: value for name, value in gan.state_dict().items() if isinstance(value, torch.Tensor)}


def assert_close(one, other, atol=1e-4):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name], other[name], atol=atol), name


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sngan", {}),
        ("wgan-gp", {"images": True}),
        ("sngan", {"images": True, "network": "resnet"}),
        ("lsgan", {"drift": 0.1}),
    ],
)
def test_a_shared_pass_gives_the_critic_the_same_loss_and_gradient(name, options):
    found = []
    for shared in (False, True):
        # beta1 and beta2 as they are would make a step of any size of a gradient that is nothing but rounding
        gan = play(build(name, Speed(shared_pass=shared), optimizer="rmsprop", lr_discriminator=1e-9, **options), 1)
        first = gan.drain()[0].values["loss/discriminator"]
        found.append([first, *(p.grad for p in gan.discriminator.parameters())])
    for separate, together in zip(*found, strict=True):
        torch.testing.assert_close(together, separate, rtol=1e-3, atol=1e-5)


def test_a_shared_pass_is_one_pass():
    gan = build("sngan", Speed(shared_pass=True))
    rows = []
    gan.discriminator.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    play(gan, 1)
    assert rows == [2 * BATCH, BATCH]  # the discriminator's step, then the generator's


@pytest.mark.parametrize("options", [{"images": True, "network": name} for name in ("resnet", "progressive")])
def test_a_critic_that_mixes_its_batch_sees_real_and_fake_samples_apart(options):
    shared, apart = (build("lsgan", Speed(shared_pass=share), **options) for share in (True, False))
    assert mixes_samples(shared.discriminator)
    assert_close(play(shared), play(apart), atol=0)


def test_an_optimizer_that_is_not_fused_makes_the_same_steps():
    assert_close(play(build("nonsaturating", Speed(fused=False))), play(build("nonsaturating")))


# --- torch.compile


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsaturating", {"images": True}),
        ("sngan", {"shared": True}),
        ("wgan-gp", {}),
        ("ttur", {"objective": "hinge", "constraint": "spectral-norm"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_compiled_passes_play_the_same_game(name, options, monkeypatch):
    """Without the compiler's last stage, which takes a minute of any machine."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    options = dict(options)
    shared = options.pop("shared", False)
    # Adam's first steps have the sign of the gradient, be it nothing but rounding
    slow = {**options, "lr_generator": 1e-4, "lr_discriminator": 1e-4}
    compiled = play(build(name, Speed(compile="default", shared_pass=shared), **slow), 3)
    assert_close(compiled, play(build(name, Speed(shared_pass=shared), **slow), 3), atol=1e-3)
    assert compiled.sample(2).shape[0] == 2


@pytest.mark.parametrize(
    ("mode", "device", "missing", "message"),
    [
        ("cuda-graphs", "cpu", None, "needs a GPU: choose trainer.compile=default"),
        ("default", "cpu", "compiler", r"needs a C\+\+ compiler on a CPU: install g\+\+"),
        ("default", "cuda", "triton", "needs Triton on a GPU"),
    ],
)
def test_what_cannot_compile_is_told(mode, device, missing, message, monkeypatch):
    if missing == "compiler":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    if missing == "triton":
        monkeypatch.setitem(sys.modules, "triton", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=message):
        check_compiler(mode, device)
    check_compiler("none", device)


# --- devices and precisions


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.cuda)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsaturating", {"images": True}),
        ("wgan-gp", {"images": True}),
        ("sngan", {"images": True, "network": "resnet"}),
        ("progressive", {"images": True}),
    ],
)
def test_every_precision_plays_and_its_losses_are_32_bit(name, options, precision, device):
    if precision == "16-mixed" and device == "cpu":
        pytest.skip("16 bits need a GPU")
    gan = play(build(name, total_images=4 * BATCH, **options), 4, device, precision=precision)
    assert all(value.isfinite().all() for value in weights(gan).values())
    assert {value.dtype for value in weights(gan).values()} <= {torch.float32, torch.int64}
    assert all(value.dtype == torch.float32 for record in gan.drain() for value in record.values.values())


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["default", "cuda-graphs"])
@pytest.mark.parametrize("name", ["nonsaturating", "sngan", "wgan-gp"])
def test_a_gpu_plays_the_same_game_compiled(name, mode):
    slow = {"images": True, "lr_generator": 1e-4, "lr_discriminator": 1e-4}
    compiled = play(build(name, Speed(compile=mode), **slow), 3, "cuda")
    assert_close(compiled, play(build(name, **slow), 3, "cuda"), atol=1e-2)
