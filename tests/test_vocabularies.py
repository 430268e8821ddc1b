"""The tiny tokenizers of the tests are the same in every process."""

import json
import subprocess
import sys
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

from tests.vocabularies import unigram_pieces, word_pieces

ROOT = Path(__file__).parents[1]
TEXTS = ["the cat and the hat", "a cat, a hat", "naïve cats 1996 1997"]


def vocabularies() -> tuple[dict[str, int], dict[str, float]]:
    steps = {"normalizer": normalizers.NFC(), "pre_tokenizer": pre_tokenizers.Metaspace()}
    return (
        word_pieces(TEXTS, 60, ["[UNK]"]),
        dict(unigram_pieces(TEXTS, 60, ["<unk>"], **steps)),
    )


def test_two_processes_train_the_same_vocabulary():
    script = "import json; from tests.test_vocabularies import vocabularies\n"
    script += "print(json.dumps(vocabularies()))"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    here = json.dumps(vocabularies())  # as text, so that the order counts
    assert result.stdout.strip() == here


def test_pieces_that_begin_a_word_are_told_from_those_inside():
    words, unigram = vocabularies()
    assert words["[UNK]"] == 0 and {"the", "cat", "##at", "t", "##t"} <= words.keys()
    assert not any("▁" in piece for piece in words)
    assert unigram["▁the"] > unigram["▁and"] > unigram["t"]
