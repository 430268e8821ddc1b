"""Corpora of any size, annotated shard by shard into files that other tools read."""

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError(
        "Annotating needs pyarrow. Install it: pip install 'spacy_multitask[annotate]'"
    ) from error
