"""CoNLL-U: the treebanks of Universal Dependencies.

Source: https://universaldependencies.org/format.html
"""

from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .conllu_rows import (
    DEPREL,
    FEATS,
    FORM,
    HEAD,
    LEMMA,
    MISC,
    UPOS,
    XPOS,
    ConlluSentence,
    Layout,
    read_sentences,
    survey,
)
from .conllu_words import merge_multiword, set_sentence_entities
from .gold import TokenSpan, set_entities
from .iob import IOBDecoder
from .report import ConversionReport, PathLike
from .sentences import group_sentences


def read_conllu(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    ner: str | None = None,
    scheme: str = "auto",
    merge_multiword: bool = False,
    n_sents: int = 1,
) -> Iterator[Doc]:
    """Read tags, parts of speech, morphology, lemmas, trees, and on demand entities.

    Tokens are the syntactic words. Multiword tokens ("1-2") only bear on the spacing, which is
    exact where their words spell them ("do" + "n't"); empty nodes ("1.1") are not tokens. A value
    "_" is missing, except for the features: "_" there is "no features" in a file that has features
    elsewhere. The label "root" becomes "ROOT", as in spaCy's parser. A doc's tree is kept only if
    it is whole, since spaCy derives the sentence boundaries from it.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    ner (Optional[str]): Key of entity tags in the last column, such as "name" for name=B-PER, which
        are read into `doc.ents`. Of a word without the key nothing is known if others have the tag
        O; else it is outside of entities.
    scheme (str): Of these tags: "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    merge_multiword (bool): Keep multiword tokens whole ("im", not "in" + "dem"): the tags of their
        words are joined with "_".
    n_sents (int): Most sentences in a doc; 0 for whole documents, which "# newdoc" begins.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    layout = Layout(ner=ner)
    yield from read_docs(path, nlp, report, layout, scheme, merge_multiword, n_sents)


def read_docs(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    layout: Layout,
    scheme: str,
    merge: bool,
    n_sents: int,
) -> Iterator[Doc]:
    found = survey(path, layout)
    decode = IOBDecoder(path, report, scheme, "entity")
    sentences = read_sentences(path, layout, report)
    for group in group_sentences(path, sentences, n_sents, "'# newdoc' comment"):
        if layout.ner is not None:
            for sentence in group:
                set_sentence_entities(sentence, decode, found.outside, report)
        if merge:
            group = [merge_multiword(sentence) for sentence in group]
        doc = make_doc(path, nlp, group, report, found.features)
        if layout.ner is not None:
            spans, unknown = join_entities(group)
            set_entities(doc, spans, report, path, group[0].line, unknown=unknown)
        yield doc


def join_entities(sentences: list[ConlluSentence]) -> tuple[list[TokenSpan], list[int]]:
    """RETURNS (Tuple[List[TokenSpan], List[int]]): Entities and unknown tokens, by tokens of the
    doc.
    """
    spans: list[TokenSpan] = []
    unknown: list[int] = []
    offset = 0
    for sentence in sentences:
        spans.extend(
            (offset + start, offset + end, label) for start, end, label in sentence.entities
        )
        unknown.extend(offset + word for word in sentence.unknown)
        offset += len(sentence.rows)
    return spans, unknown


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
