"""The alternating game as a Lightning module: counters, constraints in play, averages, sampling, exact resume."""

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.utils import parametrize

import gans
from ganbench.errors import UserError
from gans.conditions import Labelled
from gans.growth import stage
from gans.sampling import SAMPLE_BLOCK


def trainer(**options):
    return pl.Trainer(
        max_epochs=1,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


class Calls:
    """What each training step is handed; not a list, which Lightning would take for several loaders."""

    def __init__(self, calls):
        self.calls = calls

    def __len__(self):
        return len(self.calls)

    def __iter__(self):
        return iter(self.calls)


def reals(gan, step):
    """The real batch of one discriminator step: a pure function of the step, as in the harness."""
    generator = torch.Generator().manual_seed(1000 + step)
    sizes = (size for first, size in reversed(gan.schedule.batches(gan.total_images)) if first <= step)
    samples = torch.rand(next(sizes), *gan.shape, generator=generator) * 2 - 1
    if not gan.condition.classes:
        return samples
    return Labelled(samples, torch.randint(len(gan.condition.classes), (len(samples),), generator=generator))


def play(gan, rounds, per_call=1, callbacks=(), device="cpu", **options):
    """Train for `rounds` rounds from where the counters stand, `per_call` rounds in each training step."""
    n_critic = gan.recipe.n_critic
    first = gan.counters.g_steps
    batches = [[reals(gan, r * n_critic + i) for i in range(n_critic)] for r in range(first, first + rounds)]
    calls = [batches[i : i + per_call] for i in range(0, rounds, per_call)]
    trainer(callbacks=list(callbacks), accelerator=device, **options).fit(gan, Calls(calls))
    return gan


def build(name, **options):
    images = options.pop("images", False) or name in ("progressive", "sagan", "began")
    shape = {"image_shape": (1, 8, 8)} if images else {"data_dim": 2}
    small = {"width": 4, "latent_dim": 8, "batch_size": 8, "total_images": 640}
    return gans.build(name, **shape, classes=3, **{**small, **options})


def weights(gan):
    return {name: value.clone() for name, value in gan.state_dict().items() if isinstance(value, torch.Tensor)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", gans.names())
def test_every_variant_plays_counts_and_changes_both_players(name, device):
    gan = build(name)
    before = weights(gan)
    play(gan, rounds=3, device=device)
    n = gan.recipe.n_critic
    assert (gan.counters.images, gan.counters.d_steps, gan.counters.g_steps) == (3 * n * 8, 3 * n, 3)
    after = weights(gan)
    for player in ("generator.", "discriminator.", "ema_generator."):
        assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith(player))
    assert all(value.isfinite().all() for value in after.values())


OTHERWISE = {
    "clip": 0.5, "penalty_weight": 3.0, "penalty_target": 2.0, "lsgan_a": 0.3, "lsgan_b": 0.7, "lsgan_c": 0.4,
    "class_weight": 3.0,
    "beta1": 0.7, "beta2": 0.6, "depth": 2, "width_at": 16, "max_width": 2, "pooling": "mean",
    "dragan_noise": 0.1, "balance_target": 0.9, "balance_rate": 0.9, "critic_norm": "none",
}  # fmt: skip
"""Another value of each option that some recipe does not read …"""

GROWING = {
    "start_size": 8, "fade_share": 0.9, "fade_images": 24, "stabilise_images": 24, "stage_batches": [[8, 4]],
    "reset_optimizers": True,
}  # fmt: skip
"""… and of each that only networks which grow do."""


@pytest.mark.parametrize(
    ("name", "images"),
    [
        *((name, False) for name in gans.names() if name not in ("progressive", "sagan", "began")),
        *((name, True) for name in ("vanilla", "progressive", "sagan", "began")),
    ],
)
def test_an_idle_option_changes_nothing_and_every_other_one_does(name, images):
    network = "mlp" if not images else {"progressive": "progressive", "began": "autoencoder"}.get(name, "dcgan")
    options = {"images": images, "network": network}
    budget = {"total_images": 64}  # short, so that growing begins
    gan = play(build(name, **options, **budget), rounds=6)
    others = {other: {other: at} for other, at in OTHERWISE.items()}
    if gan.grows:
        others |= {other: {other: at} for other, at in GROWING.items()}
    else:
        others |= {"growing": GROWING}
    changed = {what: play(build(name, **options, **budget, **other), rounds=6) for what, other in others.items()}
    unchanged = {what for what, played in changed.items() if same(weights(gan), weights(played))}
    if "growing" in unchanged:
        unchanged = unchanged - {"growing"} | set(GROWING)
    # an autoencoder has no attention nor minibatch statistics; a DCGAN critic of 8×8 images has no normalised layer
    elsewhere = {"attention", "minibatch", "critic_norm"}
    assert unchanged - elsewhere == gan.recipe.idle() - elsewhere


@pytest.mark.parametrize("name", gans.names())
def test_author_preset_builds_at_paper_width(name):
    gan = build(name, preset="author", images=True, batch_size=4, width=8)
    play(gan, rounds=1)
    assert gan.counters.g_steps == 1


def test_n_critic_steps_per_generator_step_are_counted():
    gan = play(build("wgan", n_critic=3), rounds=4)
    assert (gan.counters.d_steps, gan.counters.g_steps) == (12, 4)


def test_clipping_bounds_every_weight_after_every_critic_step(device):
    gan = build("wgan", clip=0.03, lr_discriminator=0.05)
    bounds = []
    step = gan.constraint.after_step

    def spy(discriminator):
        step(discriminator)
        bounds.append(max(p.abs().max().item() for p in discriminator.parameters()))

    gan.constraint.after_step = spy
    play(gan, rounds=2, device=device)
    assert len(bounds) == gan.counters.d_steps
    assert all(bound <= 0.03 + 1e-9 for bound in bounds)
    assert max(bounds) == pytest.approx(0.03)  # the rate is large enough that the clamp was needed


def test_spectral_norm_makes_one_power_iteration_a_discriminator_step():
    gan = build("sngan", n_critic=1)
    layer = next(m for m in gan.discriminator.modules() if parametrize.is_parametrized(m))
    power = layer.parametrizations.weight[0]
    calls = []
    original = power._power_method
    power._power_method = lambda *a: (calls.append(1), original(*a))[1]
    play(gan, rounds=5)
    assert len(calls) == 5 + 5  # one for each discriminator step, one for each generator step


def test_normalised_layers_have_largest_singular_value_one(device):
    gan = play(build("sngan"), rounds=30, device=device)
    for module in gan.discriminator.eval().modules():
        if parametrize.is_parametrized(module):
            assert torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_generator_step_leaves_no_gradient_on_the_discriminator():
    gan = build("nonsaturating")
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append([p.requires_grad for p in module.discriminator.parameters()])

    play(gan, rounds=2, callbacks=[Look()])
    assert all(all(flags) for flags in seen)


def test_rounds_per_call_change_nothing():
    assert same(weights(play(build("wgan-gp"), 6, per_call=1)), weights(play(build("wgan-gp"), 6, per_call=4)))


def test_global_randomness_is_neither_used_nor_disturbed():
    torch.manual_seed(1)
    one = weights(play(build("wgan-gp"), 3))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert same(one, weights(play(build("wgan-gp"), 3)))
    torch.manual_seed(1)
    build("wgan-gp").sample(3)
    fresh = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(fresh, torch.get_rng_state())
    assert torch.equal(state, fresh)


def test_seed_changes_weights():
    assert not same(weights(build("lsgan", seed=0)), weights(build("lsgan", seed=1)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vanilla", {}),
        ("vanilla", {"prediction": "both"}),
        ("wgan", {}),
        ("sngan", {}),
        ("progressive", {}),
        ("began", {}),
    ],
)
def test_resume_is_exact(name, options, device, tmp_path):
    straight = weights(play(build(name, **options), 8, device=device))
    first = play(build(name, **options), 5, device=device)
    torch.save(first.training_state(), tmp_path / "state.pt")
    second = build(name, seed=0, **options)
    second.load_training_state(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    assert second.counters.g_steps == 5
    resumed = weights(play(second, 3, device=device))
    if device == "cpu":
        assert same(straight, resumed)
    else:
        assert all(torch.allclose(straight[key], resumed[key], atol=1e-2) for key in straight)


def test_training_state_is_read_without_pickled_code(tmp_path):
    gan = play(build("progressive"), 2)
    torch.save(gan.training_state(), tmp_path / "state.pt")
    other = build("progressive")
    other.load_training_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.counters == gan.counters


def test_linear_decay_is_a_function_of_images():
    gan = build("wgan-gp", n_critic=1, total_images=80)
    rates = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            rates.append(module.optimizers()[1].param_groups[0]["lr"])

    play(gan, rounds=10, callbacks=[Look()])
    assert rates == pytest.approx([gan.recipe.lr_discriminator * (1 - i / 10) for i in range(10)])


def test_moving_average_is_the_written_recursion():
    gan = build("nonsaturating", ema_decay=0.6)
    history = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            history.append(next(module.generator.parameters()).detach().clone())

    expected = next(gan.generator.parameters()).detach().clone()
    play(gan, rounds=12, callbacks=[Look()])
    for t, current in enumerate(history, start=1):
        decay = min(0.6, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * current
    assert torch.allclose(next(gan.ema_generator.parameters()), expected, atol=1e-6)


def test_sample_i_depends_on_seed_and_index_alone():
    gan = build("vanilla", images=True)
    many = gan.sample(3 * SAMPLE_BLOCK // 2, seed=5)
    assert torch.equal(gan.sample(3, seed=5), many[:3])
    assert torch.equal(gan.sample(SAMPLE_BLOCK + 7, seed=5), many[: SAMPLE_BLOCK + 7])
    assert not torch.equal(gan.sample(3, seed=6), many[:3])
    assert gan.sample(0).shape == (0, 1, 8, 8)


def test_sampling_leaves_modes_and_batch_statistics():
    gan = build("vanilla", images=True).train()
    gan.ema_generator.eval()
    before = weights(gan)
    gan.sample(10, weights="raw")
    gan.sample(10)
    assert gan.generator.training
    assert not gan.ema_generator.training
    assert same(before, weights(gan))


def test_progressive_enters_each_stage_on_time_and_trains_every_block_in_play():
    gan = gans.build("progressive", image_shape=(1, 16, 16), width=4, latent_dim=8, batch_size=8, total_images=8 * 30)
    sizes = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            sizes.append(module.stage.size)
            assert module.sample(2).shape == (2, 1, 16, 16)

    before = weights(gan)
    play(gan, rounds=30, callbacks=[Look()])
    assert sorted(set(sizes)) == [4, 8, 16]
    assert sizes == sorted(sizes)
    after = weights(gan)
    still = [k for k in before if k.startswith(("generator.", "discriminator.")) and torch.equal(before[k], after[k])]
    assert not still


def test_any_variant_grows_with_the_progressive_network():
    gan = gans.build("sngan", image_shape=(3, 8, 8), network="progressive", width=4, latent_dim=8, batch_size=8)
    assert gan.grows
    assert gan.stage == stage(0, total_images=100_000, start_size=4, final_size=8, fade_share=0.5)
    play(gan, rounds=2)


def test_a_stage_that_begins_within_a_round_waits_for_the_next():
    gan = build("sngan", images=True, network="progressive", total_images=80)  # 8×8 from 40 images on, rounds of 16
    seen = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, module, *_):
            module.discriminator.register_forward_hook(lambda _, x, __: seen.append(x[0].shape[-1]))

    play(gan, rounds=1, callbacks=[Look()])
    assert seen[0] == 4
    play(gan, rounds=3)
    assert set(seen[: len(seen) // 2]) == {4}
    assert seen[-1] == 8


STAGED = {
    "batch_size": 8, "stage_batches": [[8, 4]], "reset_optimizers": True, "ramp_images": 16, "generator_batch": 6,
    "fade_images": 16, "stabilise_images": 32, "total_images": 96,
}  # fmt: skip


def test_stages_have_their_batches_ramps_and_fresh_optimisers():
    gan = build("progressive", **STAGED)
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            states = module._optimizers[0].state.values()
            ages = {int(state["step"]) for state in states}
            rate = module._optimizers[0].param_groups[0]["lr"] / module.recipe.lr_generator
            seen.append((module.counters.images, max(ages), rate))

    play(gan, rounds=8, callbacks=[Look()])
    shown, ages, rates = zip(*seen, strict=True)
    assert shown == (8, 16, 24, 32, 36, 40, 44, 48)
    assert ages == (1, 2, 3, 4, 1, 2, 3, 4)
    assert rates == (1.0, 1.0, 1.0, 1.0, 0.5, 0.75, 1.0, 1.0)


@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_game_resumed_around_a_stages_beginning_ends_with_the_same_bits(at, tmp_path):
    whole = play(build("progressive", **STAGED), rounds=7)
    half = play(build("progressive", **STAGED), rounds=at)
    torch.save(half.training_state(), tmp_path / "state.pt")
    rest = build("progressive", **STAGED)
    rest.load_training_state(torch.load(tmp_path / "state.pt", weights_only=True))
    play(rest, rounds=7 - at)
    assert same(weights(whole), weights(rest))
    assert whole.counters.images == rest.counters.images == 44


def test_progressive_on_least_squares():
    gan = build("progressive", objective="least-squares", constraint="none")
    play(gan, rounds=2)
    assert gan.objective.name == "least-squares"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "wgna"}, "did you mean 'wgan'"),
        ({"name": "wgan", "n_critc": 2}, "did you mean 'n_critic'"),
        ({"name": "wgan", "n_critic": 0}, "n_critic"),
        ({"name": "wgan", "preset": "autor"}, "did you mean 'author'"),
        ({"name": "wgan", "image_shape": (1, 8, 8)}, "exactly one"),
        ({"name": "progressive"}, "points"),
        (
            {"name": "vanilla", "constraint": "gradient-penalty", "critic_norm": "batch"},
            "vanilla do not fit: gan.constr",
        ),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(UserError, match=message):
        gans.build(**{"data_dim": 2, **options})


def test_single_machine_loss_of_the_game_at_equilibrium():
    """With D constant 0 the discriminator's minimax loss is log 4: the value −log 4 of the paper, negated."""
    gan = build("vanilla")
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p.zero_()
    real_logits = gan.discriminator(reals(gan, 0))
    loss = gan.objective.discriminator_loss(real_logits, real_logits)
    assert loss.item() == pytest.approx(2 * torch.log(torch.tensor(2.0)).item())
