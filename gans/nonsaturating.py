"""The heuristic game that most people mean by "GAN".

Goodfellow et al. 2014, section 3 (decks 001-003): the discriminator as in the minimax game, and

    G descends  softplus(−D(G(z)))  =  −log σ(D(G(z)))

whose gradient per sample is −(1 − σ(l))/B: strong just where the minimax one vanishes.

Author preset: DCGAN (Radford et al. 2016): Adam 2e-4 (0.5, 0.999), batch 128, weights from N(0, 0.02).

Presets, figures and commands: docs/variants/nonsaturating.md.
"""

from gans.module import GAN


class NonSaturating(GAN):
    """Objective non-saturating, no constraint, alternating one to one."""
