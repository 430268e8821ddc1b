"""Tag schemes of chunks and entities: IO, IOB1, BIO (IOB2), and BIOES under its many names."""

from collections.abc import Sequence
from functools import lru_cache

from .report import ConversionError, ConversionReport, PathLike, error_at

# Scheme -> prefixes that it has. BMES is BMEWO with another letter for a single token.
CLOSED = {"bioes": "BIES", "bilou": "BILU", "bmewo": "BMEWS"}
SCHEMES = ("auto", "io", "iob1", "bio", *CLOSED)

BROKEN = "none of the schemes"

# What each prefix says, in the letters of BIOES.
ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
RULES = {
    "iob1": "B- only follows a span of the same type in IOB1",
    "bio": "every span begins with B- in BIO",
    "bioes": "a span is S-, or goes from B- over I- to E- in BIOES",
    "bilou": "a span is U-, or goes from B- over I- to L- in BILOU",
    "bmewo": "a span is W- or S-, or goes from B- over M- to E- in BMEWO",
}


def check_scheme(scheme: str) -> None:
    """RAISES (ConversionError): If the scheme is not one of SCHEMES."""
    if scheme not in SCHEMES:
        raise ConversionError(f"scheme is {scheme!r}, but must be one of {', '.join(SCHEMES)}.")


class IOBDecoder:
    """Turns the tags of one file into spans.

    In IOB1, I-X begins a span after O or another type, and B-X only parts two adjacent spans of one
    type. In BIO, B-X begins every span. BIOES marks the ends, too, and single tokens; BILOU and
    BMEWO are the same in other letters. One rule reads them all: a span begins at B- and S-, and at
    an I- or E- that nothing of its type goes before. The scheme decides which tags are errors;
    "auto" follows the file, and when it turns out to mix them, the report says so. In IO, a tag is
    a label without prefix, and equal neighbours are one span.

    path (PathLike): The file, for errors.
    report (ConversionReport): Gets the mixed tags of the file.
    scheme (str): One of SCHEMES.
    what (str): What is tagged, for errors: "chunk" or "entity".

    Source: Ramshaw and Marcus (1995), https://aclanthology.org/W95-0107; Tjong Kim Sang and
    Veenstra (1999), https://aclanthology.org/E99-1023
    """

    def __init__(self, path: PathLike, report: ConversionReport, scheme: str, what: str) -> None:
        check_scheme(scheme)
        self.path = path
        self.report = report
        self.scheme = scheme
        self.what = what
        # The scheme that the first telling span showed, with "auto".
        self.found = scheme
        # A file has few different tags.
        self.parsed: dict[str, tuple[str, str]] = {"O": ("", "")}

    def __call__(
        self, tags: Sequence[str], lines: Sequence[int | str]
    ) -> list[tuple[int, int, str]]:
        """Decode the tags of one sentence.

        tags (Sequence[str]): One tag per token.
        lines (Sequence[Union[int, str]]): The place of each token, as `error_at` takes it.
        RETURNS (List[Tuple[int, int, str]]): First token, end (exclusive) and label of each span.
        RAISES (ConversionError): If a tag is none, or illegal in the demanded scheme.
        """
        spans: list[tuple[int, int, str]] = []
        prefixes = ""
        previous = ""  # label of the token before, which may go on
        adjacent = ""  # label of the span that ends before this one
        for i, tag in enumerate([*tags, "O"]):
            if tag not in self.parsed:
                self.parsed[tag] = self._parse(tag, lines[i])
            prefix, label = self.parsed[tag]
            role = ROLES.get(prefix, "")
            if prefixes and not (label == previous and role in ("I", "E")):
                start, _, ended = spans[-1]
                self._check(prefixes, ended == adjacent, tags[start], lines[start])
                adjacent, prefixes = ended, ""
            if not label:
                previous = adjacent = ""
                continue
            if prefixes:
                start, _, _ = spans.pop()
                spans.append((start, i + 1, label))
            else:
                spans.append((i, i + 1, label))
            prefixes += prefix
            # Nothing goes on behind an end.
            previous = "" if role in ("E", "S") else label
        return spans

    def _parse(self, tag: str, line: int | str) -> tuple[str, str]:
        """RETURNS (Tuple[str, str]): Prefix and label of a tag other than O."""
        if self.scheme == "io":
            return "I", tag
        prefix, _, label = tag.partition("-")
        allowed = CLOSED.get(self.scheme, "BI") if self.scheme != "auto" else "".join(ROLES)
        if prefix in tuple(allowed) and label:
            return prefix, label
        legal = ["O", *(f"{letter}-<type>" for letter in CLOSED.get(self.scheme, "BI"))]
        also = ", nor a tag of BIOES, BILOU or BMEWO" if self.scheme == "auto" else ""
        hint = "" if "-" in tag else " If they have no prefixes, give the scheme 'io'."
        raise error_at(
            self.path,
            line,
            f"{self.what} tag {tag!r} is not {', '.join(legal[:-1])} or {legal[-1]}{also}. "
            f"Check that this column holds the {self.what} tags.{hint}",
        )

    def _check(self, prefixes: str, touches: bool, tag: str, line: int | str) -> None:
        """Compare a span with the scheme.

        prefixes (str): Those of its tokens.
        touches (bool): Whether a span of the same type ends before it.
        """
        if self.scheme == "io":
            return
        shown = _scheme_shown(prefixes, touches, self.found)
        if not shown or shown == self.found:
            return
        if self.found == "auto" and shown != BROKEN:
            self.found = shown
        elif self.scheme == "auto":
            mixed = "" if shown == BROKEN else f" in a file that begins as {self.found}"
            cause = f"{self.what} written as in {shown}{mixed}: kept"
            self.report.add_cause(cause, self.path, line)
        else:
            raise error_at(
                self.path,
                line,
                f"{self.what} tag {tag!r} cannot begin a span here: {RULES[self.scheme]}. "
                "Use the scheme 'auto' to read both.",
            )


@lru_cache(maxsize=1000)
def _scheme_shown(prefixes: str, touches: bool, found: str) -> str:
    """RETURNS (str): Scheme that a span tells of, or BROKEN; empty if it tells nothing."""
    roles = "".join(ROLES[prefix] for prefix in prefixes)
    if set(prefixes) <= {"B", "I"}:
        if roles[0] == "I":
            # I-X that begins a span tells IOB1, B-X where I-X would do tells BIO;
            # B-X after the same type is legal in both.
            return "iob1"
        return "" if touches and found not in CLOSED else "bio"
    closed = roles == "S" or (len(roles) > 1 and roles == f"B{'I' * (len(roles) - 2)}E")
    if not closed:
        return BROKEN
    # They share letters, so that the one that the file showed first stands for the others.
    for name, letters in CLOSED.items():
        if set(prefixes) <= set(letters):
            return found if found in CLOSED else name
    return BROKEN
