"""From CoNLL-U to predictions on raw text, each in the language's own tokenizer."""

import pytest
import spacy
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.composing.config import compose
from tests.integration.conftest import write_corpora

# Words with tags, as UD has them, and where no space follows.
SENTENCES = {
    "ar": (
        [("ذهب", "VERB"), ("الولد", "NOUN"), ("إلى", "ADP"), ("المدرسة", "NOUN"), (".", "PUNCT")],
        {3},
    ),
    "de": (
        [
            ("Die", "DET"),
            ("Möwe", "NOUN"),
            ("fliegt", "VERB"),
            ("übers", "ADP"),
            ("Meer", "NOUN"),
            (".", "PUNCT"),
        ],
        {4},
    ),
    "hi": (
        [("लड़का", "NOUN"), ("स्कूल", "NOUN"), ("जाता", "VERB"), ("है", "AUX"), ("।", "PUNCT")],
        {3},
    ),
    "ja": (
        [
            ("猫", "NOUN"),
            ("が", "ADP"),
            ("魚", "NOUN"),
            ("を", "ADP"),
            ("食べる", "VERB"),
            ("。", "PUNCT"),
        ],
        {0, 1, 2, 3, 4},
    ),
    "vi": (
        [("Tôi", "PRON"), ("học", "VERB"), ("ở", "ADP"), ("Hà Nội", "PROPN"), (".", "PUNCT")],
        {3},
    ),
    "zh": ([("我们", "PRON"), ("喜欢", "VERB"), ("北京", "PROPN"), ("。", "PUNCT")], {0, 1, 2, 3}),
}
PACKAGES = {"ja": "sudachipy", "vi": "pyvi"}


def text_of(lang):
    words, glued = SENTENCES[lang]
    return "".join(w + ("" if i in glued else " ") for i, (w, _) in enumerate(words)).strip()


def write_conllu(path, lang):
    words, glued = SENTENCES[lang]
    rows = [
        "\t".join(
            [
                str(i + 1),
                w,
                "_",
                tag,
                tag,
                "_",
                "0" if not i else "1",
                "root" if not i else "dep",
                "_",
                "SpaceAfter=No" if i in glued else "_",
            ]
        )
        for i, (w, tag) in enumerate(words)
    ]
    path.write_text(f"# text = {text_of(lang)}\n" + "\n".join(rows) + "\n\n", encoding="utf8")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("lang", ["ar", "de", "hi", "zh"])
def test_a_language_goes_all_the_way(lang, encoder_path, tmp_path):
    write_conllu(tmp_path / "x.conllu", lang)
    for part in ("train", "dev"):
        done = run(
            "convert",
            "conllu",
            tmp_path / "x.conllu",
            tmp_path / f"pos-{part}.spacy",
            "--lang",
            lang,
        )
        assert done.exit_code == 0, done.output
    rest = ["--encoder", encoder_path, "--lang", lang, "--task", f"pos:tagger={tmp_path / 'pos'}"]
    done = run("init-config", tmp_path / "c.cfg", *rest, "--epochs", 2)
    assert done.exit_code == 0, done.output
    config = spacy.util.load_config(tmp_path / "c.cfg")
    assert config["nlp"]["tokenizer"] == spacy.blank(lang).config["nlp"]["tokenizer"]
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["corpora"]["dev"]["corpora"]["pos"]["gold_tokens"] = False
    spacy_multitask.train(config, tmp_path / "out")
    nlp = spacy.load(tmp_path / "out" / "model-last")
    doc = nlp(text_of(lang))
    assert [t.text for t in doc] == [t.text for t in spacy.blank(lang)(text_of(lang))]
    assert doc.text == text_of(lang) and all(token.tag_ for token in doc)
    assert spacy_multitask.visualize(doc)


@pytest.mark.parametrize("lang", PACKAGES)
def test_a_tokenizer_that_is_not_installed_is_one_line(lang, encoder_path, tmp_path):
    try:
        spacy.blank(lang)
        pytest.skip(f"{PACKAGES[lang]} is installed")
    except ImportError:
        pass
    write_corpora(tmp_path)
    write_conllu(tmp_path / "x.conllu", lang)
    convert = ["convert", "conllu", tmp_path / "x.conllu", tmp_path / "out.spacy"]
    rest = ["--encoder", encoder_path, "--task", f"pos:tagger={tmp_path / 'pos'}"]
    for words in (convert, ["init-config", tmp_path / "c.cfg", *rest]):
        done = run(*words, "--lang", lang)
        assert done.exit_code == 1 and done.stderr.count("\n") == 1, done.output
        assert PACKAGES[lang] in done.stderr.lower()
    with pytest.raises(ValueError, match=f"lang = '{lang}' needs a package that is not installed"):
        compose(encoder_path, {"pos": ("tagger", tmp_path / "pos")}, lang=lang)
