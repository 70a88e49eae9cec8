"""Networks that grow with the images.

Karras et al. 2018, "Progressive Growing of GANs" (deck 000). Training starts at 4×4 (`start_size`); each stage
doubles the side. A new block is faded in, on both sides and in the real images too:

    G:  α · toRGB(new block) + (1 − α) · upsample(toRGB(previous))
    D:  α · new block(fromRGB(x)) + (1 − α) · fromRGB(downsample(x))
    x:  α · x + (1 − α) · upsample(downsample(x))

α rises linearly from 0 to 1 over the first `fade_share` of each stage, or over `fade_images`; it, the stages' batches
and their learning rates are pure functions of the images shown, so a resume cannot lose them. Nothing is ever frozen:
all blocks that take part go on learning. Equalised learning rate, pixel norm and minibatch standard deviation are part
of the network.

Base game WGAN-GP with a drift term of 0.001·D(x)² and n_critic = 1; `objective=least-squares constraint=none`
gives the paper's LSGAN base. Any other variant grows too with `network=progressive`. Author preset: the paper's phases
of 800,000 images, batches by side and channels. In the common one, stages are equal shares of the budget, so that one
recipe fits any.

Presets, figures and commands: docs/variants/progressive.md.
"""

from gans.module import GAN


class Progressive(GAN):
    """Objective Wasserstein, constraint gradient penalty, one to one, growing networks."""
