"""CoNLL-U: the treebanks of Universal Dependencies.

Source: https://universaldependencies.org/format.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from spacy.language import Language
from spacy.parts_of_speech import IDS as POS_IDS
from spacy.tokens import Doc

from .base import ConversionReport, PathLike, error_at, group_sentences, read_lines

ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC = range(10)


@dataclass
class ConlluSentence:
    """The syntactic words of a sentence, which are the doc's tokens.

    line (int): Number of the line of the first word.
    starts_doc (bool): Whether "# newdoc" stands before it.
    text (Optional[str]): The "# text" of the sentence.
    rows (List[List[str]]): The ten fields of each word.
    lines (List[int]): The line number of each word.
    ranges (Dict[int, Tuple[int, List[str], int]]): Multiword tokens by the index of their first
        word: end (exclusive), fields, line number.
    """

    line: int = 0
    starts_doc: bool = False
    text: str | None = None
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ranges: dict[int, tuple[int, list[str], int]] = field(default_factory=dict)


def read_conllu(
    path: PathLike, nlp: Language, report: ConversionReport, *, n_sents: int = 1
) -> Iterator[Doc]:
    """Read tags, parts of speech, morphology, lemmas and trees.

    Tokens are the syntactic words. Multiword tokens ("1-2") only bear on the spacing, which is
    exact where their words spell them ("do" + "n't"); empty nodes ("1.1") are not tokens. A value
    "_" is missing, except for the features: "_" there is "no features" in a file that has features
    elsewhere. The label "root" becomes "ROOT", as in spaCy's parser. A doc's tree is kept only if
    it is whole, since spaCy derives the sentence boundaries from it.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    n_sents (int): Most sentences in a doc; 0 for whole documents, which "# newdoc" begins.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    with_morphs = has_features(path)
    sentences = read_sentences(path, report)
    for group in group_sentences(path, sentences, n_sents, "'# newdoc' comment"):
        yield make_doc(path, nlp, group, report, with_morphs)


def has_features(path: PathLike) -> bool:
    """Look for a word with features; nearly every treebank that has them shows one at once."""
    for _, line in read_lines(path):
        fields = line.split("\t")
        if len(fields) == 10 and fields[ID].isdigit() and fields[FEATS] != "_":
            return True
    return False


def read_sentences(path: PathLike, report: ConversionReport) -> Iterator[ConlluSentence]:
    sentence = ConlluSentence()
    for line_no, line in read_lines(path):
        if not line.strip(" \t"):
            if sentence.rows:
                check_sentence(path, sentence)
                yield sentence
                sentence = ConlluSentence()
            elif sentence.ranges:
                check_sentence(path, sentence)
            else:
                # Comments without words: a "# text" there is not the next sentence's.
                sentence.text = None
        elif line.startswith("#") and not sentence.rows:
            if re.match(r"#\s*newdoc\b", line):
                sentence.starts_doc = True
            text = re.match(r"#\s*text\s*=(.*)", line)
            if text:
                sentence.text = text[1].strip()
        else:
            add_line(path, line_no, line, sentence, report)
    if sentence.rows or sentence.ranges:
        check_sentence(path, sentence)
        yield sentence


def add_line(
    path: PathLike, line_no: int, line: str, sentence: ConlluSentence, report: ConversionReport
) -> None:
    row = line.split("\t")
    if len(row) != 10:
        raise error_at(
            path,
            line_no,
            f"{len(row)} tab columns instead of 10. A CoNLL-U word line has ten columns with tabs "
            "between; a blank line ends a sentence and comments stand before it.",
        )
    n_words = len(sentence.rows)
    if re.fullmatch(r"[0-9]+\.[0-9]+", row[ID]):
        report.add_cause("empty node of the enhanced graph: not a token", path, line_no)
        return
    if not row[FORM]:
        raise error_at(path, line_no, "the form is empty. Write '_' for an unknown form.")
    word_range = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", row[ID])
    if word_range:
        start, end = int(word_range[1]) - 1, int(word_range[2])
        covered = max((e for e, _, _ in sentence.ranges.values()), default=0)
        if start != n_words or end <= start or start < covered:
            raise error_at(
                path,
                line_no,
                f"the multiword token {row[ID]} does not stand before its first word or overlaps "
                f"another: the next word is {n_words + 1}. Check the IDs of this sentence.",
            )
        sentence.ranges[start] = (end, row, line_no)
        return
    if row[ID] != str(n_words + 1):
        raise error_at(
            path,
            line_no,
            f"ID {row[ID]!r} instead of {n_words + 1}. Words are numbered from 1 in each sentence, "
            "and a blank line ends a sentence.",
        )
    if row[UPOS] != "_" and row[UPOS] not in POS_IDS:
        raise error_at(
            path,
            line_no,
            f"{row[UPOS]!r} is not a universal part of speech. "
            "Check that UPOS is the fourth column.",
        )
    if row[FEATS] != "_":
        features = row[FEATS].split("|")
        names = [feature.partition("=")[0] for feature in features]
        if len(set(names)) < len(names):
            raise error_at(
                path,
                line_no,
                f"the features {row[FEATS]!r} have one name twice. "
                "Write several values of a feature as Name=Value1,Value2.",
            )
        for feature in features:
            if not re.fullmatch(r"[^=\s]+=[^=\s]+", feature):
                raise error_at(
                    path,
                    line_no,
                    f"feature {feature!r} is not Name=Value. Check that FEATS is the sixth column.",
                )
    if row[HEAD] != "_" and not re.fullmatch(r"[0-9]{1,9}", row[HEAD]):
        raise error_at(
            path,
            line_no,
            f"head {row[HEAD]!r} is not a number or '_'. Check that HEAD is the seventh column.",
        )
    if not sentence.rows:
        sentence.line = line_no
    sentence.rows.append(row)
    sentence.lines.append(line_no)


def check_sentence(path: PathLike, sentence: ConlluSentence) -> None:
    n_words = len(sentence.rows)
    for end, row, line_no in sentence.ranges.values():
        if end > n_words:
            raise error_at(
                path,
                line_no,
                f"the multiword token {row[ID]} goes past the end of the sentence, which has "
                f"{n_words} words. Check the IDs of this sentence.",
            )
    for i, (row, line_no) in enumerate(zip(sentence.rows, sentence.lines), start=1):
        if row[HEAD] != "_" and (int(row[HEAD]) > n_words or int(row[HEAD]) == i):
            raise error_at(
                path,
                line_no,
                f"head {row[HEAD]} is the word itself or no word of the sentence, which has "
                f"{n_words} words. The root's head is 0.",
            )


def make_doc(
    path: PathLike,
    nlp: Language,
    sentences: list[ConlluSentence],
    report: ConversionReport,
    with_morphs: bool,
) -> Doc:
    spaces = [space for sent in sentences for space in get_spaces(path, sent, report)]
    # There is nothing after the doc, so that doc.text is the text and not one blank more.
    spaces[-1] = False
    rows = [row for sent in sentences for row in sent.rows]
    heads, deps = get_trees(path, sentences, report)
    # Features of a word count as annotated together with the file's, all the rest value by value.
    morphs = ["" if row[FEATS] == "_" else row[FEATS] for row in rows] if with_morphs else None
    return Doc(
        nlp.vocab,
        words=[row[FORM] for row in rows],
        spaces=spaces,
        tags=drop_missing([row[XPOS] for row in rows]),
        pos=drop_missing([row[UPOS] for row in rows]),
        lemmas=drop_missing(
            [row[LEMMA] if row[LEMMA] != "_" or row[FORM] == "_" else "" for row in rows], "\0"
        ),
        morphs=morphs,
        heads=heads,
        deps=deps,
        sent_starts=[i == 0 for sent in sentences for i in range(len(sent.rows))],
    )


def drop_missing(values: list[str], missing: str = "_") -> list[str] | None:
    """RETURNS (Optional[List[str]]): Values with "" for the missing; None if all are missing."""
    values = ["" if value == missing else value for value in values]
    return values if any(values) else None


def get_spaces(path: PathLike, sentence: ConlluSentence, report: ConversionReport) -> list[bool]:
    """Work out which words are followed by a space, and compare the outcome with "# text".

    RETURNS (List[bool]): A value for each word of the sentence.
    """
    spaces = [has_space_after(row) for row in sentence.rows]
    for start, (end, row, line_no) in sentence.ranges.items():
        spells = "".join(word[FORM] for word in sentence.rows[start:end]) == row[FORM]
        if not spells:
            report.add_cause(
                "multiword token that its words do not spell: words set apart", path, line_no
            )
        spaces[start : end - 1] = [not spells] * (end - start - 1)
        spaces[end - 1] = has_space_after(row)
    if sentence.text is None:
        report.add_cause("sentence without '# text': spacing not compared", path, sentence.line)
    else:
        text = "".join(row[FORM] + " " * space for row, space in zip(sentence.rows, spaces)).strip()
        if text != sentence.text:
            report.add_cause(
                "sentence whose words and spaces differ from its '# text'", path, sentence.line
            )
    return spaces


def has_space_after(row: list[str]) -> bool:
    return "SpaceAfter=No" not in row[MISC].split("|")


def get_trees(
    path: PathLike, sentences: list[ConlluSentence], report: ConversionReport
) -> tuple[list[int] | None, list[str] | None]:
    """Join the trees of the sentences.

    RETURNS (Tuple[Optional[List[int]], Optional[List[str]]]): The index of each token's head in the
        doc, itself for a root, and the labels; None for both if there is no tree, or if one is not
        whole: spaCy would then derive other sentence boundaries from it.
    """
    if all(row[HEAD] == "_" for sentence in sentences for row in sentence.rows):
        return None, None
    heads: list[int] = []
    deps: list[str] = []
    for sentence in sentences:
        sent_heads = [int(row[HEAD]) for row in sentence.rows if row[HEAD] != "_"]
        has_all = len(sent_heads) == len(sentence.rows)
        if not has_all or "_" in (row[DEPREL] for row in sentence.rows):
            cause = "doc with a word that has no head or no relation: all its heads left out"
        elif not is_tree(sent_heads):
            cause = "doc with a sentence that is not a tree with one root: all its heads left out"
        else:
            offset = len(heads)
            heads.extend(offset + (head - 1 if head else i) for i, head in enumerate(sent_heads))
            deps.extend("ROOT" if row[DEPREL] == "root" else row[DEPREL] for row in sentence.rows)
            continue
        report.add_cause(cause, path, sentence.line)
        return None, None
    return heads, deps


def is_tree(heads: list[int]) -> bool:
    """Check that every word leads to the one root; 0 is the root's head, 1 the first word."""
    if heads.count(0) != 1:
        return False
    # 0: not seen, 1: on the path from the word at hand, 2: leads to the root.
    states = [2] + [0] * len(heads)
    for word in range(1, len(heads) + 1):
        path = []
        while states[word] == 0:
            states[word] = 1
            path.append(word)
            word = heads[word - 1]
        if states[word] == 1:
            return False
        for seen in path:
            states[seen] = 2
    return True
