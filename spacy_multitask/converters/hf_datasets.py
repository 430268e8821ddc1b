"""Data sets of Hugging Face: words with labels, texts with categories, or both.

Source: https://huggingface.co/docs/datasets
"""

from collections.abc import Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc

from .report import ConversionError, ConversionReport, PathLike
from .rows import FOUND, TokenColumns, TopicColumns, find_columns, make_row_doc, parse_columns
from .tables import open_dataset


def read_datasets(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    columns: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    scheme: str = "auto",
    spans_key: str = "np",
    labels: Sequence[str] | None = None,
) -> Iterator[Doc]:
    """Read the lists of labels beside a list of words, and the categories of a text.

    Numbers of classes get their names. Words become tokens; only of rows without words the text is
    tokenized. What the columns are is known by common names: tokens or words, ner_tags, pos_tags,
    chunk_tags, text, label or labels, and those of Universal Dependencies.

    path (PathLike): A folder that `save_to_disk` wrote; a Parquet, JSON lines or CSV file; or the
        name of a data set of the hub.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    columns (Optional[str]): What the columns are: word, tag, pos, lemma, chunk, ner, text,
        topic and group, such as "word=forms,ner=entities". The others are found by their names.
    split (Optional[str]): Which part, where there are several, such as "train".
    subset (Optional[str]): Name of the configuration of a data set of the hub.
    scheme (str): Of chunks and entities: "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    spans_key (str): Key of the chunks in `doc.spans`.
    labels (Optional[Sequence[str]]): All categories. None for the names of the classes, or those
        that occur.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a row is malformed, or no column is known.
    """
    table = open_dataset(path, split, subset)
    names = tuple(FOUND)
    found = find_columns(path, table, parse_columns(columns, names), names)
    has_words = "word" in found and len(found) > 1
    if not has_words and not {"text", "topic"} <= set(found):
        raise ConversionError(
            f"{path}: of the columns {', '.join(map(str, table.columns))}, too few are known. Name "
            "words and their labels, or text and topic, with the option columns, such as "
            "'word=forms,ner=entities'."
        )
    tokens = None
    if has_words:
        tokens = TokenColumns(path, nlp, report, found, table.class_names, scheme, spans_key)
    topics = None
    if "topic" in found:
        topics = TopicColumns(path, found["topic"], table, labels, None)
    for row in table.rows():
        doc = make_row_doc(row, nlp, report, found, tokens, topics)
        if doc is not None:
            yield doc
