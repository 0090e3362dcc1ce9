"""The same GAN and training loop in PyTorch's eager mode."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainer.tools.benchmark.loops import Loop, Losses
from trainer.tools.benchmark.problem import DROPOUT, LATENT_DIM, Problem


class _Pad(nn.Module):
    """TensorFlow's "same" padding of a strided convolution: one more below and to the right."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.padding = (before, after, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, self.padding)


class _ChannelsLast(nn.Module):
    """[B, C, H, W] -> [B, H, W, C], the order in which TensorFlow flattens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1)


class _ChannelsFirst(nn.Module):
    """[B, 6272] -> [B, 128, 7, 7]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, 7, 7, 128).permute(0, 3, 1, 2)


def _models(problem: Problem, dropout: float) -> tuple[nn.Module, nn.Module]:
    leaky, norm = nn.LeakyReLU(0.2), {"eps": 1e-3, "momentum": 0.01}
    generator = nn.Sequential(
        nn.Linear(LATENT_DIM, 7 * 7 * 128),
        leaky,
        _ChannelsFirst(),
        nn.BatchNorm2d(128, **norm),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
        leaky,
        nn.BatchNorm2d(64, **norm),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        _Pad(1, 2),
        nn.Conv2d(1, 64, 5, stride=2),
        leaky,
        nn.Dropout(dropout),
        _Pad(0, 1),
        nn.Conv2d(64, 64, 3, stride=2),
        leaky,
        nn.Dropout(dropout),
        _ChannelsLast(),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 1),
    )
    layers = [*generator, *discriminator]
    weights = iter(problem.weights)
    for layer in (y for y in layers if isinstance(y, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)):
        # Only kernels have more than one axis; batch normalisation's weights are skipped.
        kernel = next(w for w in weights if w.ndim > 1)
        order = (1, 0) if kernel.ndim == 2 else (3, 2, 0, 1)
        layer.weight.data = torch.tensor(np.transpose(kernel, order).copy())
        layer.bias.data = torch.tensor(next(weights))
    return generator, discriminator


def loop(problem: Problem) -> Loop:
    """A loop whose step has the tutorial's two phases."""

    def make(dropout: float):
        generator, discriminator = _models(problem, dropout)
        settings = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-7}
        optimizers = [
            torch.optim.Adam(m.parameters(), **settings) for m in (discriminator, generator)
        ]
        cross_entropy = functional.binary_cross_entropy_with_logits

        def step(real: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> Losses:
            generator.train(False)
            with torch.no_grad():
                fake = generator(first)
            generator.train()
            labels = torch.cat([torch.zeros(len(real), 1), torch.ones(len(real), 1)])
            loss_d = cross_entropy(discriminator(torch.cat([fake, real])), labels)
            optimizers[0].zero_grad()
            loss_d.backward()
            optimizers[0].step()
            for parameter in discriminator.parameters():
                parameter.requires_grad_(False)
            loss_g = cross_entropy(discriminator(generator(second)), torch.ones(len(real), 1))
            optimizers[1].zero_grad()
            loss_g.backward()
            optimizers[1].step()
            for parameter in discriminator.parameters():
                parameter.requires_grad_(True)
            return loss_d.item(), loss_g.item()

        return step

    images = torch.tensor(problem.images).permute(0, 3, 1, 2)
    real = torch.tensor(problem.real).permute(0, 3, 1, 2)
    losses = make(0.0)(real, *map(torch.tensor, problem.latents))
    step, count = make(DROPOUT), len(problem.real)

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            batch = images[torch.randint(len(images), [count])].float() / 127.5 - 1
            step(batch, torch.randn(count, LATENT_DIM), torch.randn(count, LATENT_DIM))

    return Loop(run, losses)
