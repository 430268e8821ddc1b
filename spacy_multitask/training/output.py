"""The folder that a training writes: model-best, model-last, and the checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from timeit import default_timer

from spacy.language import Language
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST, clean_output_dir
from thinc.api import Model, Optimizer
from thinc.shims.shim import Shim

from ..safe_files import SavingError, new_folder, recover
from .state import check_weights, parts_of

CHECKPOINT_FILE = "checkpoint.safetensors"
# Is there from the start of a training until its first checkpoint.
BEGUN_FILE = ".begun"
FILES = (DIR_MODEL_BEST, DIR_MODEL_LAST, CHECKPOINT_FILE)
CHECKPOINT_SECONDS = 300.0
# A checkpoint is put off where writing them would take more than this part of the time.
MOST_TIME = 0.05


def check_start(folder: Path, *, resume: bool, extend: bool, overwrite: bool) -> None:
    """See that no training gets lost, before the work begins; options as for `train`.

    RAISES (ValueError): If there is one, and it would; or if options contradict each other.
    """
    if resume and overwrite:
        raise ValueError("--resume goes on with a training and --overwrite drops it: give one.")
    if extend and not resume:
        raise ValueError("--extend goes on with a training: give --resume, too.")
    if overwrite:
        return
    found = [name for name in FILES if (folder / name).exists()]
    has_begun_only = (folder / BEGUN_FILE).exists()
    if resume and (CHECKPOINT_FILE in found or not found or has_begun_only):
        return
    if resume:
        raise ValueError(
            f"{folder} has {' and '.join(found)}, but no checkpoint to go on from. Choose another "
            "place for a new training, or replace what is there, with --overwrite."
        )
    if found:
        raise ValueError(
            f"{folder} has the files of a training: {', '.join(found)}. Go on with it, with "
            "--resume; replace it, with --overwrite; or choose another place."
        )


class Output:
    """Files of a training.

    folder (Path): Where they are.
    before_to_disk (Callable): Gives the pipeline that is saved.
    checkpoint_steps (int): Steps between two checkpoints; 0 for CHECKPOINT_SECONDS.
    save_last (bool): Whether to save model-last after each evaluation.
    """

    def __init__(
        self,
        folder: Path,
        before_to_disk: Callable[[Language], Language],
        *,
        checkpoint_steps: int,
        save_last: bool,
    ):
        self.folder = folder
        self.before_to_disk = before_to_disk
        self.checkpoint_steps = checkpoint_steps
        self.save_last = save_last
        self.best, self.last, self.checkpoint = (folder / name for name in FILES)
        self._next_checkpoint = 0.0
        self.recover()

    def recover(self) -> None:
        """Clear away what a crash has left."""
        for path in (self.best, self.last):
            recover(path)

    def clear(self) -> None:
        """Remove what is there of a training before, and note that one begins."""
        self.checkpoint.unlink(missing_ok=True)
        clean_output_dir(self.folder)
        (self.folder / BEGUN_FILE).touch()

    def check_space(self, nlp: Language, optimizer: Optimizer, frozen: list[str]) -> str:
        """See that there is room for all that will be written.

        RETURNS (str): How much that is about.
        RAISES (SavingError): If there is not.
        """
        model, checkpoint = _sizes(nlp, optimizer, frozen)
        # The new one is complete before the old one goes.
        needed = 2 * model + checkpoint + max(model, checkpoint)
        there = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        free = shutil.disk_usage(self.folder).free
        if free + there < needed:
            raise SavingError(
                f"{self.folder} needs about {_bytes(needed)}, and {_bytes(free + there)} are free. "
                "Make room, or choose another place."
            )
        often = (
            f"{self.checkpoint_steps} steps"
            if self.checkpoint_steps
            else f"{CHECKPOINT_SECONDS / 60:.0f} minutes"
        )
        return (
            f"Writes about {_bytes(needed)} to {self.folder}: two models of {_bytes(model)}, and "
            f"every {often} a checkpoint of {_bytes(checkpoint)}"
        )

    def models_of(self, is_best: bool) -> list[Path]:
        """RETURNS (List[Path]): Where to save the pipeline after an evaluation, if at all."""
        return [self.last] * self.save_last + [self.best] * is_best

    def save(self, nlp: Language, optimizer: Optimizer, path: Path) -> None:
        """Save the pipeline, with averages in the place of weights if there are any.

        RAISES (SavingError): If it can't be written; what was there before is as it was.
        RAISES (Diverged): If weights are no longer numbers.
        """
        check_weights(nlp)
        with nlp.use_params(optimizer.averages), new_folder(path) as folder:
            self.before_to_disk(nlp).to_disk(folder)

    def is_due(self, step: int) -> bool:
        """RETURNS (bool): Whether it is time for a checkpoint; after the first step in any case."""
        if self.checkpoint_steps:
            return step % self.checkpoint_steps == 0
        return default_timer() >= self._next_checkpoint

    def save_checkpoint(self, write: Callable[[Path], None]) -> None:
        """Call a function that writes a file, and take note of the time."""
        started = default_timer()
        write(self.checkpoint)
        (self.folder / BEGUN_FILE).unlink(missing_ok=True)
        self.wait_for_next(default_timer() - started)

    def wait_for_next(self, took: float = 0.0) -> None:
        """Count the time to the next checkpoint from now.

        took (float): Seconds that the last one took.
        """
        self._next_checkpoint = default_timer() + max(CHECKPOINT_SECONDS, took / MOST_TIME)


class NoOutput(Output):
    """The same files for a process that does not write them."""

    def recover(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def check_space(self, nlp: Language, optimizer: Optimizer, frozen: list[str]) -> str:
        return ""

    def save(self, nlp: Language, optimizer: Optimizer, path: Path) -> None:
        pass

    def is_due(self, step: int) -> bool:
        return False

    def save_checkpoint(self, write: Callable[[Path], None]) -> None:
        pass


def _sizes(nlp: Language, optimizer: Optimizer, frozen: list[str]) -> tuple[int, int]:
    """RETURNS (Tuple[int, int]): Bytes of a model and of a checkpoint, about."""
    weights = learned = 0
    for name, part in parts_of(nlp):
        n_bytes = _weights_of(part)
        weights += n_bytes
        if name.split("/")[0] not in frozen:
            learned += n_bytes if isinstance(part, Model) else _learned_of(part)
    copies = 2 + (optimizer.averages is not None)
    strings = len(nlp.vocab.strings.to_bytes())
    rest = len(nlp.to_bytes(exclude=[*nlp.component_names, "vectors"]))
    model = weights + rest + nlp.vocab.vectors.data.nbytes
    return model, weights + copies * learned + strings


def _weights_of(part: Model | Shim) -> int:
    """RETURNS (int): Bytes of its own weights, without those of parts within."""
    if isinstance(part, Model):
        return sum(part.get_param(n).nbytes for n in part.param_names if part.has_param(n))
    return sum(tensor.nbytes for tensor in part._model.state_dict().values())


def _learned_of(part: Shim) -> int:
    """RETURNS (int): Bytes of the weights that learn."""
    return sum(p.nbytes for p in part._model.parameters() if p.requires_grad)


def _bytes(n: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"
