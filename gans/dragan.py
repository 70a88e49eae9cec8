"""A gradient penalty around the real samples alone.

Kodali et al. 2017, "On Convergence and Stability of GANs" (in the comparison study that deck 001 takes its precision
and recall from):

    D descends  softplus(−D(x)) + softplus(D(G(z))) + λ·(‖∇D(x + δ)‖₂ − 1)²,    δ ~ N(0, c²)
    G descends  softplus(−D(G(z)))

Sharp slopes of D at real samples go with mode collapse, they say; the penalty flattens D there, wherever the fakes are.
Any other objective but the Wasserstein one takes it with `constraint=dragan`.

Author preset: DCGAN without BatchNorm in D, λ = 10. Differs from the authors' code: δ is the paper's normal noise, not
a uniform share of the batch's standard deviation, so that a sample's penalty does not depend on the others.

Presets, figures and commands: docs/variants/dragan.md.
"""

from gans.module import GAN


class DRAGAN(GAN):
    """Objective non-saturating, constraint DRAGAN's penalty, alternating one to one."""
