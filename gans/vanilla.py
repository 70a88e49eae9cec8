"""The minimax game of the original paper.

Goodfellow et al. 2014, "Generative Adversarial Networks", Algorithm 1 (deck 000 Alg. 1; decks 001-003):

    repeat
        k times (here n_critic):
            D descends  softplus(−D(x)) + softplus(D(G(z)))        = −log σ(D(x)) − log(1 − σ(D(G(z))))
        G descends      −softplus(D(G(z)))                         =  log(1 − σ(D(G(z))))

For a fixed G the best D is p*/(p* + p_G); at p_G = p* the value is −log 4. The generator's gradient per
sample is −σ(l)/B: it vanishes when D wins, which is why most code called "vanilla" trains the
non-saturating loss instead. This one does not.

Differs from the paper: Adam in place of momentum, DCGAN networks in place of maxout; losses on logits.

Presets, figures and commands: docs/variants/vanilla.md.
"""

from gans.module import GAN


class Vanilla(GAN):
    """Objective minimax, no constraint, k discriminator steps per generator step (k = 1)."""
