"""Least squares in place of cross entropy.

Mao et al. 2017, "Least Squares Generative Adversarial Networks" (deck 001):

    D descends  ½ (D(x) − b)² + ½ (D(G(z)) − a)²
    G descends  ½ (D(G(z)) − c)²                       a = 0, b = 1, c = 1 (`lsgan_a`, `lsgan_b`, `lsgan_c`)

on raw outputs: no sigmoid, which would saturate again. The paper's other coding a = −1, b = 1, c = 0 minimises a
Pearson χ² divergence.

Differs from the authors' code: means over the batch, not sums, so the rate does not depend on the batch size.

Presets, figures and commands: docs/variants/lsgan.md.
"""

from gans.module import GAN


class LSGAN(GAN):
    """Objective least squares, no constraint, alternating one to one."""
