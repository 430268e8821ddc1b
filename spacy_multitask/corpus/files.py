"""Opening `.spacy` files."""

from pathlib import Path

from spacy.tokens import DocBin

from ..packing import remember_packers


def load_doc_bin(path: Path) -> DocBin:
    """Open a file of docs.

    path (Path): A .spacy file.
    RETURNS (DocBin): Its docs.
    RAISES (ValueError): If it is damaged, or another kind of file.
    """
    remember_packers()
    try:
        return DocBin().from_disk(path)
    # spaCy raises the first where bytes can't be unpacked, the others where something else comes
    # out; none of them names the file.
    except (ValueError, TypeError, LookupError, AssertionError) as error:
        raise ValueError(
            f"{path} is damaged, cut short, or no .spacy file. Convert its corpus again "
            "(`spacy multitask convert --help`), or copy the file again."
        ) from error
