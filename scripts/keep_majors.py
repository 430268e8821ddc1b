"""Keep tiny pipelines that this version of transformers has made, for the tests of the others.

Run once with each major version: python -m scripts.keep_majors
"""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import srsly
from spacy.tokenizer import Tokenizer
from spacy.util import fix_random_seed

from tests.conftest import corpus, make_nlp
from tests.encoder import hub_tokenizers
from tests.encoder.families import FAMILIES
from tests.encoder.hub_models import MAJOR
from tests.encoder.test_fingerprint import KEPT, describe

# Byte-level, with attention that looks near or far; grouped queries; WordPiece.
KINDS = ("modernbert", "qwen3", "bert")
SMALL = {"hidden_size": 16, "intermediate_size": 32}
HEAD_WIDTH = {"qwen3": {"head_dim": 8}}


def main() -> None:
    hub_tokenizers.TRAINING.n_pieces = 320
    warnings.simplefilter("ignore")
    for kind in KINDS:
        family = FAMILIES[kind]
        config = family.config() if callable(family.config) else family.config
        small = replace(family, config={**config, **SMALL, **HEAD_WIDTH.get(kind, {})})
        folder = KEPT / f"{kind}-{MAJOR}"
        if folder.exists():
            shutil.rmtree(folder)
        with tempfile.TemporaryDirectory() as place:
            nlp = make_nlp(str(small.write(Path(place))), ("tagger",))
            # English's own takes more room than all the rest.
            nlp.tokenizer = Tokenizer(
                nlp.vocab,
                prefix_search=re.compile(r"^\(").search,
                suffix_search=re.compile(r"[,.)]$").search,
            )
            fix_random_seed(0)
            sgd = nlp.initialize(partial(corpus, nlp))
            sgd.learn_rate = 0.005
            for _ in range(30):
                nlp.update(corpus(nlp), sgd=sgd)
        # A path of the machine that trained means nothing later.
        nlp.config["components"]["transformer"]["model"]["name"] = ""
        nlp.to_disk(folder, exclude=["vocab"])
        srsly.write_json(folder / "kept.json", describe(nlp))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder.name}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
