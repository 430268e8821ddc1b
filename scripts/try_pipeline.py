"""Show what a pipeline says about two sentences, or about those given.

Example: python scripts/try_pipeline.py en_multitask "Mr Smith loves New York"
"""

import sys

import spacy
from wasabi import color, table

SENTENCES = ["Mr Smith loves New York", "IBM made a lot of profit."]


def show(model: str, sentences: list[str]) -> None:
    nlp = spacy.load(model)
    for doc in nlp.pipe(sentences):
        rows = []
        for token in doc:
            chunk = next(
                (s.label_ for s in doc.spans.get("np", []) if s.start <= token.i < s.end), ""
            )
            rows.append((token.text, token.tag_, token.pos_, chunk, token.ent_type_))
        print(f"\n{color(doc.text, bold=True)}")
        print(table(rows, header=("token", "tag", "pos", "chunk", "entity"), divider=True))
        print("chunks  ", ", ".join(f'{s.label_} "{s.text}"' for s in doc.spans.get("np", [])))
        print("entities", ", ".join(f'{e.label_} "{e.text}"' for e in doc.ents) or "none")
        best = sorted(doc.cats.items(), key=lambda item: -item[1])
        print("topic   ", ", ".join(f"{label} {p:.2f}" for label, p in best))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    show(sys.argv[1], sys.argv[2:] or SENTENCES)
