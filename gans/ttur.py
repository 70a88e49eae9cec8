"""Two time scales: the discriminator learns faster than the generator.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(deck 001 section 4): one step each, with `lr_discriminator` above `lr_generator`; stochastic approximation on
two time scales then converges to a local Nash equilibrium. The rule sits on any base game.

Author preset: on WGAN-GP and its ResNets, D 3e-4 and G 1e-4 with n_critic = 1. Common preset: on the
non-saturating game, the ratio of the rates 4 as in SAGAN (Zhang et al. 2019: D 4e-4, G 1e-4).

Presets, figures and commands: docs/variants/ttur.md.
"""

from gans.module import GAN


class TTUR(GAN):
    """Any base (non-saturating, or WGAN-GP with the author preset), one to one, two learning rates."""
