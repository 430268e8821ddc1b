"""Keep a tiny trained pipeline of this version, with its predictions, for the tests of later ones.

Run once for each release: python -m scripts.keep_pipeline
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import srsly
from spacy.util import fix_random_seed

import spacy_multitask
from spacy_multitask.relations import set_relations
from tests.conftest import corpus, example, make_nlp, write_encoder
from tests.integration.test_kept_pipelines import DATA, KEPT_TEXTS, describe


def main() -> None:
    folder = DATA / spacy_multitask.__version__
    if folder.exists():
        shutil.rmtree(folder)
    with tempfile.TemporaryDirectory() as encoder:
        write_encoder(Path(encoder))
        fix_random_seed(0)
        nlp = make_nlp(encoder)
        nlp.add_pipe("multitask_relations", name="relations", config={"hidden_width": 16})
        examples = corpus(nlp)
        smith = example(nlp, "Mr Smith loves New York".split(), ents=[(1, 2, "PER"), (3, 5, "LOC")])
        set_relations(smith.reference, [(*smith.reference.ents, "Live_In", 1.0)])
        examples.append(smith)
        sgd = nlp.initialize(lambda: examples)
        sgd.learn_rate = 0.005
        for _ in range(60):
            nlp.update(examples, sgd=sgd)
    # A path of the machine that trained means nothing later.
    nlp.config["components"]["transformer"]["model"]["name"] = ""
    nlp.to_disk(folder, exclude=["vocab"])  # English's own, and as large as the rest
    docs = [describe(nlp(text)) for text in KEPT_TEXTS]
    srsly.write_json(folder / "predictions.json", docs)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
