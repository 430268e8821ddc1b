"""Tag schemes of chunks and entities: IOB1 and BIO (IOB2)."""

from .base import ConversionError, ConversionReport, PathLike, error_at

SCHEMES = ("auto", "iob1", "bio")


def check_scheme(scheme: str) -> None:
    """RAISES (ConversionError): If the scheme is not one of SCHEMES."""
    if scheme not in SCHEMES:
        raise ConversionError(f"scheme is {scheme!r}, but must be one of {', '.join(SCHEMES)}.")


class IOBDecoder:
    """Turns the tags of one file into spans.

    In IOB1, I-X begins a span after O or another type, and B-X only parts two adjacent spans of one
    type. In BIO, B-X begins every span. One rule reads both: B-X begins a span, and so does an I-X
    that nothing of its type goes before. The scheme decides which tags are errors; "auto" follows
    the file, and when it turns out to mix both, the report says so.

    path (PathLike): The file, for errors.
    report (ConversionReport): Gets the mixed tags of the file.
    scheme (str): One of "auto", "iob1", "bio".
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
        # The scheme that the first telling tag showed, with "auto".
        self.found = scheme

    def __call__(self, tags: list[str], line: int) -> list[tuple[int, int, str]]:
        """Decode the tags of one sentence.

        tags (List[str]): One tag per token.
        line (int): Number of the line with the first tag; the others follow on the next lines.
        RETURNS (List[Tuple[int, int, str]]): First token, end (exclusive) and label of each span.
        RAISES (ConversionError): If a tag is none, or illegal in the demanded scheme.
        """
        spans: list[tuple[int, int, str]] = []
        previous = ""
        for i, tag in enumerate(tags):
            prefix, _, label = tag.partition("-")
            if tag != "O" and (prefix not in ("B", "I") or not label):
                raise error_at(
                    self.path,
                    line + i,
                    f"{self.what} tag {tag!r} is not O, B-<type> or I-<type>. "
                    f"Check that this column holds the {self.what} tags. "
                    "BIOES is not read: write its S- as B- and its E- as I-.",
                )
            if tag == "O":
                previous = ""
                continue
            continues = label == previous
            if prefix == "I" and continues:
                start, _, _ = spans.pop()
                spans.append((start, i + 1, label))
            else:
                # B-X where I-X would do tells BIO, I-X that begins a span tells IOB1;
                # B-X after the same type is legal in both.
                if prefix == "I":
                    self._check("iob1", tag, line + i)
                elif not continues:
                    self._check("bio", tag, line + i)
                spans.append((i, i + 1, label))
            previous = label
        return spans

    def _check(self, shown: str, tag: str, line: int) -> None:
        if self.found == "auto":
            self.found = shown
        elif self.found != shown and self.scheme == "auto":
            self.report.add_cause(
                f"{self.what} begun as in {shown.upper()} in a file that begins as "
                f"{self.found.upper()}: kept",
                self.path,
                line,
            )
        elif self.found != shown:
            rule = (
                "every span begins with B- in BIO"
                if self.scheme == "bio"
                else "B- only follows a span of the same type in IOB1"
            )
            raise error_at(
                self.path,
                line,
                f"{self.what} tag {tag!r} cannot begin a span here: {rule}. "
                "Use the scheme 'auto' to read both.",
            )
