"""spaCy's training from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config

from .loop import train as run_training
from .output import check_start
from .ranks import gpu_of_rank, joined


def train(
    config: Config | str | Path,
    output: str | Path,
    *,
    gpu_id: int = -1,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    checkpoint_steps: int = 0,
    save_last: bool = False,
) -> Language:
    """Train a pipeline as `spacy train` does.

    config (Config, str or Path): From `compose` or `spacy.util.load_config`, or a config file.
    output: Folder for model-best, model-last and the checkpoint.
    gpu_id (int): GPU to use, or -1 for the CPU. Of several processes, the first one's.
    resume (bool): Go on from the checkpoint in the folder, if there is one.
    extend (bool): Go on for more epochs or steps than those that the training began with.
    overwrite (bool): Replace the training that is in the folder, if there is one.
    checkpoint_steps (int): Steps between two checkpoints; 0 for every few minutes.
    save_last (bool): Save model-last after each evaluation, and not only at the end.
    RETURNS (Language): The best pipeline. Where several processes train together, the first has it,
        and the others have the last one.
    RAISES (ValueError): If there is no such config file, or the folder has a training that would be
        lost, or a checkpoint of another one.
    """
    if isinstance(config, str | Path):
        if not Path(config).is_file():
            raise ValueError(f"There is no config file {config}.")
        config = load_config(config, interpolate=False)
    gpu_id = gpu_of_rank(gpu_id)
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    output = Path(output)
    check: dict[str, Any] = {"resume": resume, "extend": extend, "overwrite": overwrite}
    with joined() as ranks:
        ranks.on_first(lambda: check_start(output, **check))
        nlp = init_nlp(config, use_gpu=gpu_id)
        run_training(
            nlp,
            output,
            use_gpu=gpu_id,
            checkpoint_steps=checkpoint_steps,
            save_last=save_last,
            **check,
        )
    return spacy.load(output / "model-best") if ranks.is_first else nlp
