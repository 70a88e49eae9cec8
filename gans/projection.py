"""The discriminator projects a sample's features on the embedding of its class.

Miyato & Koyama 2018, "cGANs with Projection Discriminator" (deck 001), equation 3, with SNGAN's game:

    D(x, y) = ψ(φ(x)) + ⟨v_y, φ(x)⟩               φ: all of D but its last layer ψ; v: one vector a class
    D descends  relu(1 − D(x, y)) + relu(1 + D(G(z, y), y))
    G descends  −D(G(z, y), y)

It is the form that log p(y|x)/q(y|x) + log p(x)/q(x) takes where both class posteriors are softmaxes of linear
functions of shared features. The embedding is spectrally normalised as every layer of D. In the generator each batch
normalisation has a scale and a shift for each class; a network without any, as `mlp`, is told by concatenation.

Author preset: SNGAN's ResNet, Adam 2e-4 (0, 0.9), n_critic = 5, 64 samples for a critic step and 128 for the
generator's, rates falling linearly to 0.

Presets, figures and commands: docs/variants/projection.md.
"""

from gans.module import GAN


class Projection(GAN):
    """Objective hinge, constraint spectral norm, n_critic critic steps per generator step, labels by projection."""
