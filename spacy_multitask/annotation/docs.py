"""From texts to annotated docs, where one that fails is lost alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import pyarrow as pa
from spacy.language import Language
from spacy.tokens import Doc

from .columns import Columns
from .schema import ERROR, choose_layers, chunk_keys, fields_of

# Words of the vocabulary that a process keeps: 50 MB.
WORDS_KEPT = 100_000


class Annotated(NamedTuple):
    """
    docs (List[Doc]): Those that did not fail.
    rows (List[int]): The place of each among the texts.
    errors (Dict[int, str]): Why the others did, by place.
    """

    docs: list[Doc]
    rows: list[int]
    errors: dict[int, str]


def annotate_texts(nlp: Language, texts: Sequence[str | Doc | None]) -> Annotated:
    """Annotate texts in one go.

    texts (Sequence): Texts, docs without annotation, or None, which is an error.
    """
    errors: dict[int, str] = {}
    handlers = {name: pipe.get_error_handler() for name, pipe in _handling(nlp)}
    before = nlp.default_error_handler

    def note(name: str, pipe: Any, docs: list[Doc], error: Exception) -> None:
        for doc in docs:
            errors[doc._context] = f"{name}: {type(error).__name__}: {error}"

    def made() -> Iterator[tuple[Doc, int]]:
        for row, text in enumerate(texts):
            try:
                yield _doc_of(nlp, text), row
            except Exception as error:  # whatever a tokenizer may raise
                errors[row] = f"{type(error).__name__}: {error}"

    nlp.set_error_handler(cast(Any, note))
    try:
        done = list(nlp.pipe(made(), as_tuples=True))
    finally:
        nlp.default_error_handler = before
        for name, handler in handlers.items():
            cast(Any, nlp.get_pipe(name)).set_error_handler(handler)
    return Annotated([doc for doc, _ in done], [row for _, row in done], errors)


def _handling(nlp: Language) -> list[tuple[str, Any]]:
    return [(name, pipe) for name, pipe in nlp.pipeline if hasattr(pipe, "get_error_handler")]


def _doc_of(nlp: Language, text: str | Doc | None) -> Doc:
    if text is None:
        raise ValueError("There is no text.")
    if isinstance(text, Doc):
        return text
    if len(text) > nlp.max_length:
        raise ValueError(
            f"The text has {len(text)} characters, more than nlp.max_length = {nlp.max_length}."
        )
    return nlp.make_doc(text)


@contextmanager
def giving_probs(nlp: Language, wanted: bool) -> Iterator[None]:
    """Let heads leave probabilities on docs meanwhile, or not."""
    heads: list[Any] = [pipe for _, pipe in nlp.pipeline if hasattr(pipe, "writes_probs")]
    before = [head.writes_probs for head in heads]
    for head in heads:
        head.writes_probs = wanted
    try:
        yield
    finally:
        for head, value in zip(heads, before):
            head.writes_probs = value


def remember_words(nlp: Language) -> None:
    """Let the tokenizer remember as many words as the vocabulary keeps, where it would remember
    10,000."""
    if hasattr(nlp.tokenizer, "max_cache_size"):
        nlp.tokenizer.max_cache_size = max(nlp.tokenizer.max_cache_size, WORDS_KEPT)


@contextmanager
def bounded_words(nlp: Language) -> Iterator[None]:
    """Forget afterwards what is new to the vocabulary within, once it knows many words.

    Not from the first word on: spaCy's tokenizer keeps none of a memory zone, and works out each
    word at each place anew, which takes five times longer.
    """
    vocab: Any = nlp.vocab  # whose type stubs do not know of zones
    if len(vocab) < WORDS_KEPT or vocab.in_memory_zone:
        yield
    else:
        with nlp.memory_zone():
            yield


def annotate_batch(
    nlp: Language,
    table: pa.Table | pa.RecordBatch,
    *,
    text: str = "text",
    layers: Sequence[str] | None = None,
    probs: bool = False,
) -> pa.Table:
    """Annotate the rows of a table: for jobs of Ray, Spark, Dask or datatrove.

    nlp (Language): The pipeline, loaded once per worker.
    table (Table): Rows with texts.
    text (str): Column of the texts.
    layers (Optional[Sequence[str]]): Columns to add, of `schema.LAYERS`; None for all that the
        pipeline writes.
    probs (bool): Whether to add probabilities of tags and spans, too.
    RETURNS (Table): The same rows with further columns. `error` is null, or why a row has no
        annotation.
    RAISES (ValueError): If there is no such column or layer, or one of ours is there.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise ValueError(f"annotate_batch takes a table of pyarrow, not {type(table).__name__}.")
    chosen = choose_layers(nlp, layers)
    fields = [*fields_of(chosen, probs), pa.field(ERROR, pa.string())]
    names = [field.name for field in fields]
    _check_columns(table.column_names, text, names)
    texts = table[text].to_pylist()
    with giving_probs(nlp, probs), bounded_words(nlp):
        done = annotate_texts(nlp, texts)
        columns = Columns(
            done.docs, nlp.vocab.strings, chunk_keys=chunk_keys(nlp), probs=probs
        ).of_layers(chosen)
        del done.docs[:]
    places: list[int | None] = [None] * len(texts)
    for place, row in enumerate(done.rows):
        places[row] = place
    index = pa.array(places, pa.int32())
    columns = {name: column.take(index) for name, column in columns.items()}
    columns[ERROR] = pa.array([done.errors.get(row) for row in range(len(texts))], pa.string())
    for field in fields:
        table = table.append_column(field, columns[field.name].cast(field.type))
    return table


def _check_columns(there: list[str], text: str, new: list[str]) -> None:
    if text not in there:
        raise ValueError(
            f"The table has no column {text!r}. It has: {', '.join(there)}. Name the column of the "
            "texts with `text`."
        )
    both = [name for name in new if name in there]
    if both:
        raise ValueError(
            f"The table already has {', '.join(both)}, which annotating adds. Drop or rename them."
        )
