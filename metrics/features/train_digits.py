"""Makes the embedded network's weights again: `python -m metrics.features.train_digits [--out FILE]`.

Trains on the train part of scikit-learn's digits alone, on one CPU thread and with fixed seeds, in under a
minute, and prints the accuracy on the two parts that it never saw.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save as save_safetensors

from ganbench import digits
from ganbench.files import write_atomic
from ganbench.seeds import derive
from metrics.features.digits import SIDE, WEIGHTS, DigitsNetwork, prepare

EPOCHS = 50
BATCH = 64
LEARNING_RATE = 2e-3
AVERAGING = 0.995


def train(seed: int = 0, epochs: int = EPOCHS) -> DigitsNetwork:
    """The network with averaged weights, trained on augmented digits of the train part."""
    images, labels = _part("train")
    generator = torch.Generator().manual_seed(derive(seed, "digits network"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "digits network's initial weights"))
        network = DigitsNetwork()
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    batches = len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    for _ in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        for batch in torch.split(order[: batches * BATCH], BATCH):
            _, logits = network(_augment(images[batch], generator))
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits, labels[batch]))
            optimizer.step()
            schedule.step()
            for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(value.detach(), 1 - AVERAGING)
    return _unit_features(averaged.eval(), images)


@torch.inference_mode()
def accuracy(network: DigitsNetwork, part: str) -> float:
    """Share of the part's digits ("train", "selection" or "test") that the network names rightly."""
    images, labels = _part(part)
    _, logits = network(prepare(images))
    return float((logits.argmax(1) == labels).double().mean())


@torch.no_grad()
def _unit_features(network: DigitsNetwork, images: torch.Tensor) -> DigitsNetwork:
    """Rescale the features to mean square 1 and leave the logits alone: leaky ReLU commutes with the factor.

    The cubic kernel of (x·y/d + 1)³ would otherwise be ruled by the few longest feature vectors.
    """
    features, _ = network(prepare(images))
    factor = features.square().mean().rsqrt()
    for parameter in network.last.parameters():
        parameter.mul_(factor)
    network.head.weight.div_(factor)
    return network


def _part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = digits.load()
    indices = digits.split()[name]
    return torch.from_numpy(images[indices]), torch.from_numpy(labels[indices])


def _augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The network's input from uint8 digits, turned ±12°, scaled ±12 %, moved by up to 1.5 of 16 pixels."""
    uniform = torch.rand((4, len(images)), generator=generator) * 2 - 1
    angle, scale = uniform[0] * 0.21, 1 + uniform[1] * 0.12
    shift = uniform[2:] * (3 / SIDE)  # in grid units, where the image is two wide
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    grid = F.affine_grid(theta, [len(images), 1, SIDE, SIDE], align_corners=False)
    ink = prepare(images) + 1  # grid_sample fills with 0, which must mean paper
    return F.grid_sample(ink, grid, align_corners=False) - 1


def main(arguments: list[str] | None = None) -> None:
    """Train, print the accuracies, write the weights with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file to write (default: the package's own)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    network = train(options.seed)
    facts = {
        "data": "scikit-learn digits",
        "split": {part: len(indices) for part, indices in digits.split().items()},
        "trained_on": "train",
        "accuracy": {part: round(accuracy(network, part), 6) for part in digits.SIZES},
        "seed": options.seed,
    }
    print(json.dumps(facts, indent=2))
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    # one metadata key: the format keeps several in no fixed order, and the file's hash is its identity
    write_atomic(options.out, lambda file: file.write(save_safetensors(state, {"ganbench": json.dumps(facts)})))


if __name__ == "__main__":
    main()
