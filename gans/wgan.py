"""The Wasserstein critic with clipped weights.

Arjovsky et al. 2017, "Wasserstein GAN", Algorithm 1 (deck 000 Alg. 2, deck 001 Alg. 1):

    repeat
        n_critic times:
            D descends  D(G(z)) − D(x)       by RMSprop
            every weight of D is clamped to [−c, c]
        G descends      −D(G(z))

The critic's loss, negated, estimates a multiple of the Wasserstein distance: it falls as samples get better.

Author preset: RMSprop α = 5e-5, c = 0.01, n_critic = 5, batch 64. Differs from the authors' code: no BatchNorm
in the critic (clamped scales silence its layers), and no hundred critic steps at the start.

Presets, figures and commands: docs/variants/wgan.md.
"""

from gans.module import GAN


class WGAN(GAN):
    """Objective Wasserstein, constraint weight clipping, n_critic critic steps per generator step."""
