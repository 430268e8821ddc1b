"""spaCy's training from Python."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config

from .loop import train as run_training


def train(
    config: Config | str | Path,
    output: str | Path,
    *,
    gpu_id: int = -1,
    resume: bool = False,
    checkpoint_steps: int = 0,
) -> Language:
    """Train a pipeline as `spacy train` does.

    config (Config, str or Path): From `compose` or `spacy.util.load_config`, or a config file.
    output: Folder for model-best, model-last and the checkpoint.
    gpu_id (int): GPU to use, or -1 for the CPU.
    resume (bool): Go on from the checkpoint in the folder, if there is one.
    checkpoint_steps (int): Write a checkpoint every so many steps, and not only after evaluations.
    RETURNS (Language): The best pipeline.
    RAISES (ValueError): If there is no such config file.
    """
    if isinstance(config, str | Path):
        if not Path(config).is_file():
            raise ValueError(f"There is no config file {config}.")
        config = load_config(config, interpolate=False)
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    nlp = init_nlp(config, use_gpu=gpu_id)
    run_training(nlp, output, use_gpu=gpu_id, resume=resume, checkpoint_steps=checkpoint_steps)
    return spacy.load(output / "model-best")
