"""The Wasserstein critic kept 1-Lipschitz by a gradient penalty.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", Algorithm 1 (decks 000 and 001):

    n_critic times:
        x̂ = t·G(z) + (1 − t)·x                one t ~ U(0, 1) per sample
        D descends  D(G(z)) − D(x) + λ (‖∇_x̂ D(x̂)‖₂ − 1)²
    G descends      −D(G(z))

The critic has no BatchNorm: the penalty speaks of each sample's gradient, BatchNorm mixes samples.

Author preset: the ResNet of the paper's appendix C with 128 channels in both players, Adam 2e-4 (0, 0.9), n_critic = 5,
λ = 10, 64 samples for a critic step and 128 for the generator's, rates falling linearly to 0 over the budget.

Presets, figures and commands: docs/variants/wgan-gp.md.
"""

from gans.module import GAN


class WGANGP(GAN):
    """Objective Wasserstein, constraint gradient penalty, n_critic critic steps per generator step."""
