"""Self-attention, spectral normalisation of both players, hinge, and two learning rates.

Zhang et al. 2019, "Self-Attention Generative Adversarial Networks" (deck 001, "From GAN to SAGAN"):

    y = x + γ · V·softmax(F(x)ᵀ G(x))            one block in each player; γ starts at 0
    D descends  relu(1 − D(x)) + relu(1 + D(G(z))),    W̄ = W / σ(W) in every layer of D and of G
    G descends  −D(G(z))
    one step each, D's rate 4e-4 and G's 1e-4

A convolution sees its kernel's neighbourhood; the block lets each pixel look over the whole image. Any other variant
has it with `attention=32`.

Author preset: ResNets with `width` 64, attention at 32×32 feature maps, Adam (0, 0.9), batch 256. The paper's game is
class-conditional: `condition=projection` is its condition.

Presets, figures and commands: docs/variants/sagan.md.
"""

from gans.module import GAN


class SAGAN(GAN):
    """Objective hinge, constraint spectral norm on both players, self-attention, one to one, two learning rates."""
