"""Both players are told the class of a sample, appended to what they are given.

Mirza & Osindero 2014, "Conditional Generative Adversarial Nets" (deck 001), equation 2, as every game here in terms of
logits:

    D descends  softplus(−D(x, y)) + softplus(D(G(z, y), y))
    G descends  softplus(−D(G(z, y), y))

with y one-hot beside the latent, beside a point's coordinates, and as one constant plane a class beside an image's
channels. Fakes of a critic step are of its real images' classes, those of a generator step are drawn by the classes'
shares of the training data.

Author preset: DCGAN's settings, as of `nonsaturating`.

Presets, figures and commands: docs/variants/cgan.md.
"""

from gans.module import GAN


class CGAN(GAN):
    """Objective non-saturating, no constraint, alternating one to one, labels by concatenation."""
