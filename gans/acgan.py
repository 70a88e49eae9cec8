"""The discriminator is not told the class of a sample: it guesses it, and both players profit from right guesses.

Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs" (deck 001), equations 2 and 3:

    D descends  softplus(−D(x)) + softplus(D(G(z, y))) + w·(−log p(y|x) − log p(y|G(z, y)))
    G descends  softplus(−D(G(z, y)))                  + w·(−log p(y|G(z, y)))

where p(·|x) is the softmax of a second last layer of D, on the features that also give the logit; w is `class_weight`,
1 in the paper. The generator has y, one-hot, beside its latent. Any objective and constraint takes the second term.

Author preset: Adam 2e-4 (0.5, 0.999), batch 100, the generator's 384, 192 and 96 channels at 4×4, 8×8 and 16×16.

Presets, figures and commands: docs/variants/acgan.md.
"""

from gans.module import GAN


class ACGAN(GAN):
    """Objective non-saturating with an auxiliary classifier, no constraint, alternating one to one."""
