"""Opening `.spacy` files."""

from pathlib import Path

import srsly
from spacy.tokens import DocBin

NO_USER_DATA = srsly.msgpack_dumps({})


def load_doc_bin(path: Path) -> DocBin:
    """Open a file of docs.

    path (Path): A .spacy file.
    RETURNS (DocBin): Its docs.
    RAISES (ValueError): If it is damaged, or another kind of file.
    """
    try:
        docs = DocBin().from_disk(path)
    # spaCy raises the first where bytes can't be unpacked, the others where something else comes
    # out; none of them names the file.
    except (ValueError, TypeError, LookupError, AssertionError) as error:
        raise ValueError(
            f"{path} is damaged, cut short, or no .spacy file. Convert its corpus again "
            "(`spacy multitask convert --help`), or copy the file again."
        ) from error
    # Unpacking looks through all packages for decoders, for each doc anew: most of the time that
    # reading takes, and for nothing where there is nothing to unpack.
    docs.user_data = [None if data == NO_USER_DATA else data for data in docs.user_data]
    return docs
