"""The plan of a run, which --dry_run prints."""

from __future__ import annotations

from trainer.runs.run import Run


def print_plan(run: Run) -> None:
    """Prints what would be trained, on which devices and for how long."""
    trainer = run.trainer
    devices = trainer.strategy.extended.worker_devices
    replicas = trainer.strategy.num_replicas_in_sync
    rows = {
        "strategy": f"{type(trainer.strategy).__name__} on {', '.join(devices)}",
        "replicas": f"{replicas}, {trainer.replica_batch_size} examples each",
        "data": f"{run.spec.name}, {trainer.batch_sampler.num_examples} images of "
        f"{run.spec.image_shape}",
        "generator": f"{trainer.generator.count_params():,} parameters",
        "discriminator": f"{trainer.discriminator.count_params():,} parameters",
        "precision": trainer.generator.dtype_policy.name,
        "kernels": ", ".join(trainer.networks.kernels) or "none",
        "steps": f"{run.num_steps:,} of {trainer.config.batch_size} images "
        f"({run.num_steps / trainer.batch_sampler.steps_per_epoch:.4g} epochs), "
        f"{run.schedule.steps_per_loop} a call",
        "model_dir": run.model_dir,
    }
    for name, value in rows.items():
        print(f"{name:14} {value}")
