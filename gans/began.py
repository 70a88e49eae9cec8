"""An autoencoder for a critic, held in balance with the generator.

Berthelot et al. 2017, "BEGAN: Boundary Equilibrium Generative Adversarial Networks" (in the comparison study that deck
001 takes its precision and recall from). With e(v) = E|v − D(v)|, the autoencoder's error on v:

    D descends  e(x) − k·e(G(z))
    G descends  e(G(z))
    k ← clip(k + λ·(γ·e(x) − e(G(z))), 0, 1)        after each step, from k = 0

D pulls the distributions of the errors apart, G together. γ, the ratio of the fakes' error to the real images' at
equilibrium, trades variety for sharpness. e(x) + |γ·e(x) − e(G(z))| falls as the game converges, and is logged.

Author preset: Adam 1e-4 (0.5, 0.999), batch 16, γ = 0.5, λ = 0.001, n = N_h = N_z = 64. Differs from the paper: a
normal latent; k follows the fakes of the critic's own step; the rate is not lowered where convergence stalls.

Presets, figures and commands: docs/variants/began.md.
"""

from gans.module import GAN


class BEGAN(GAN):
    """Objective boundary equilibrium, no constraint, an autoencoder for a critic, alternating one to one."""
