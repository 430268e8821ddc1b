"""Multiword tokens of CoNLL-U: entities over their parts, and the parts made one token again."""

from collections.abc import Sequence
from dataclasses import replace

from .conllu_rows import DEPREL, FEATS, FORM, HEAD, LEMMA, MISC, NER, XPOS, ConlluSentence
from .gold import trim_blanks
from .iob import IOBDecoder
from .report import ConversionReport


def set_sentence_entities(
    sentence: ConlluSentence, decode: IOBDecoder, outside: bool, report: ConversionReport
) -> None:
    """Decode the entity tags of a sentence.

    A multiword token may have the tag for its parts, as in Stanza's files.

    outside (bool): Whether words outside of entities have the tag O: of a word without tag nothing
        is known then. Else it is outside.
    """
    units: list[tuple[int, int, str, int]] = []  # first word, end, tag, line
    i = 0
    while i < len(sentence.rows):
        end, row, line = sentence.ranges.get(i, (i + 1, sentence.rows[i], sentence.lines[i]))
        if not row[NER]:
            end, row, line = i + 1, sentence.rows[i], sentence.lines[i]
        units.append((i, end, row[NER], line))
        i = end
    words = [row[FORM] for row in sentence.rows]
    tags, lines = [tag or "O" for _, _, tag, _ in units], [line for _, _, _, line in units]
    for start, end, label in decode(tags, lines):
        span = (units[start][0], units[end - 1][1], label)
        trimmed = trim_blanks(words, span, report, decode.path, lines[start])
        if trimmed is not None:
            sentence.entities.append(trimmed)
    if outside:
        sentence.unknown = [i for start, end, tag, _ in units if not tag for i in range(start, end)]


def merge_multiword(sentence: ConlluSentence) -> ConlluSentence:
    """Make each multiword token one token, as `spacy convert --merge-subtokens` does.

    Its tag is those of its parts with "_" between, its lemma those of its parts with a blank; its
    features are those of all parts. Part of speech and place in the tree are those of the part that
    governs the others: the first whose head is outside.
    """
    parts: list[range] = []
    i = 0
    while i < len(sentence.rows):
        end = sentence.ranges[i][0] if i in sentence.ranges else i + 1
        parts.append(range(i, end))
        i = end
    new_of = {old: new for new, group in enumerate(parts) for old in group}
    rows = [
        _joined(sentence, group, new_of) if len(group) > 1 else sentence.rows[group[0]][:]
        for group in parts
    ]
    for row in rows:
        if row[HEAD] not in ("_", "0"):
            row[HEAD] = str(new_of[int(row[HEAD]) - 1] + 1)
    return replace(
        sentence,
        rows=rows,
        lines=[sentence.lines[group[0]] for group in parts],
        ranges={},
        entities=[
            (new_of[start], new_of[end - 1] + 1, label) for start, end, label in sentence.entities
        ],
        unknown=sorted({new_of[word] for word in sentence.unknown}),
    )


def _joined(sentence: ConlluSentence, group: range, new_of: dict[int, int]) -> list[str]:
    rows = [sentence.rows[word] for word in group]
    _, surface, _ = sentence.ranges[group[0]]
    heads = [row[HEAD] for row in rows]
    outer = [
        i
        for i, head in enumerate(heads)
        if head == "0" or (head != "_" and int(head) - 1 not in group)
    ]
    governor = rows[outer[0] if outer else 0]
    joined = governor[:]
    joined[FORM], joined[MISC] = surface[FORM], surface[MISC]
    joined[XPOS] = "_".join(row[XPOS] for row in rows if row[XPOS] != "_") or "_"
    lemmas = [row[LEMMA] for row in rows]
    joined[LEMMA] = "_" if "_" in lemmas else " ".join(lemmas)
    joined[FEATS] = _joined_features([row[FEATS] for row in rows])
    if "_" in heads:
        joined[HEAD] = joined[DEPREL] = "_"
    return joined


def _joined_features(values: Sequence[str]) -> str:
    features: dict[str, set[str]] = {}
    for value in values:
        for feature in value.split("|") if value != "_" else ():
            name, _, options = feature.partition("=")
            features.setdefault(name, set()).update(options.split(","))
    joined = [f"{name}={','.join(sorted(features[name]))}" for name in sorted(features)]
    return "|".join(joined) or "_"
