"""Spectral normalisation of every layer of the critic.

Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", Algorithm 1 (deck 000 Alg. 3,
deck 001 section 3): every weight W of D, seen as a matrix, is divided by its largest singular value, found by
one power iteration a step from the vector that the last step left:

    v ← Wᵀu / ‖Wᵀu‖,  u ← Wv / ‖Wv‖,  σ(W) = uᵀWv,  W̄ = W / σ(W)
    D descends  relu(1 − D(x)) + relu(1 + D(G(z)))      (hinge)
    G descends  −D(G(z))

Author preset: the ResNet of the paper's table 4, Adam 2e-4 (0, 0.9), n_critic = 5, 64 samples for a critic step and 128
for the generator's, rates falling linearly to 0; `network=sndcgan` is the plain network of table 3. The common preset's
network is DCGAN's without BatchNorm in D.

Presets, figures and commands: docs/variants/sngan.md.
"""

from gans.module import GAN


class SNGAN(GAN):
    """Objective hinge, constraint spectral norm, n_critic critic steps per generator step."""
