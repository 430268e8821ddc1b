"""spaCy's training from Python."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from thinc.api import Config


def train(config: Config, output: str | Path, *, gpu_id: int = -1) -> Language:
    """Train a pipeline as `spacy train` does.

    config (Config): From `compose`, or `spacy.util.load_config`.
    output: Folder for model-best and model-last.
    gpu_id (int): GPU to use, or -1 for the CPU.
    RETURNS (Language): The best pipeline.
    """
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    nlp = init_nlp(config, use_gpu=gpu_id)
    spacy_train(nlp, output, use_gpu=gpu_id)
    return spacy.load(output / "model-best")
