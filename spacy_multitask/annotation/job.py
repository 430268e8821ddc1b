"""One run over a corpus: what is to be done, cut into shards, and what was done with."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from spacy import util

from .addresses import File, Store, checksum, find_files
from .inputs import Columns, DocBins, Format, Parquet, Range, WholeFiles
from .lines import COMPRESSED, Csv, JsonLines, Lines
from .outputs import WRITERS
from .schema import VERSION, check_names

MANIFEST = "manifest.json"
ERRORS = "errors.jsonl"
DATA, STATE = "data", "shards"
ID = "id"
LONG = ("error", "split")
AUTO = "auto"
FORMATS: dict[str, Format] = {
    one.title: one for one in (Parquet(), JsonLines(), Csv(), Lines(), DocBins(), WholeFiles())
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What decides what is written.

    layers (Optional[Tuple[str, ...]]): Of `schema.LAYERS`; None for all that the pipeline writes.
    probs (bool): Whether to write probabilities of tags and spans.
    format (str): Of the input; AUTO goes by the names of the files.
    to (str): Format of the output.
    text (str): Column of the texts.
    id (Optional[str]): Column of the ids; None for "id", if there is one.
    keep (Optional[Tuple[str, ...]]): Columns that go along; None for all others.
    long (str): What to do with a text longer than nlp.max_length: "error", or "split" at blank
        lines.
    shard_docs (int): Docs in a shard, about.
    """

    layers: tuple[str, ...] | None = None
    probs: bool = False
    format: str = AUTO
    to: str = "parquet"
    text: str = "text"
    id: str | None = None
    keep: tuple[str, ...] | None = None
    long: str = "error"
    shard_docs: int = 5000

    def check(self) -> None:
        """RAISES (ValueError): If an option is none of its values."""
        for name, value, legal in (
            ("format", self.format, (AUTO, *FORMATS)),
            ("to", self.to, tuple(WRITERS)),
            ("long", self.long, LONG),
        ):
            if value not in legal:
                raise ValueError(f"{name} = {value!r} is not one of {', '.join(legal)}.")
        if self.shard_docs < 1:
            raise ValueError(f"shard_docs = {self.shard_docs} must be at least 1.")


@dataclass(frozen=True)
class Job:
    """
    model (str): Pipeline: a folder, or a package's name.
    model_sha256 (str): Of all its files.
    files (List[File]): The input.
    sums (List[str]): Checksums of the files.
    options (Options): As given.
    format (str): Of the input.
    columns (Columns): Of the input.
    kept (Schema): Columns that go along.
    shards (List[Range]): Parts of the input.
    """

    model: str
    model_sha256: str
    files: list[File]
    sums: list[str]
    options: Options
    format: str
    columns: Columns
    kept: pa.Schema
    shards: list[Range]

    def save(self, store: Store) -> None:
        kept = base64.b64encode(self.kept.serialize().to_pybytes()).decode()
        files = [
            {**file._asdict(), "sha256": checksum} for file, checksum in zip(self.files, self.sums)
        ]
        store.write(
            MANIFEST,
            {
                "schema": VERSION,
                "model": {"name": self.model, "sha256": self.model_sha256},
                "options": asdict(self.options),
                "format": self.format,
                "columns": asdict(self.columns),
                "kept": kept,
                "files": files,
                "shards": [list(shard) for shard in self.shards],
            },
        )

    @classmethod
    def load(cls, store: Store) -> Job | None:
        """RETURNS (Optional[Job]): What `save` wrote; None if there is nothing."""
        found = store.read(MANIFEST)
        if found is None:
            return None
        columns, options = found["columns"], found["options"]
        columns["kept"] = tuple(columns["kept"])
        for name in ("layers", "keep"):
            options[name] = None if options[name] is None else tuple(options[name])
        return cls(
            model=found["model"]["name"],
            model_sha256=found["model"]["sha256"],
            files=[File(f["address"], f["name"], f["size"]) for f in found["files"]],
            sums=[f["sha256"] for f in found["files"]],
            options=Options(**options),
            format=found["format"],
            columns=Columns(**columns),
            kept=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["kept"]))),
            shards=[Range(*shard) for shard in found["shards"]],
        )

    def check_same(self, before: Job, folder: str) -> None:
        """RAISES (ValueError): If another run has begun in a folder; it says what differs."""
        differs = []
        if self.model_sha256 != before.model_sha256:
            differs.append(f"another model ({before.model})")
        if (self.sums, len(self.files)) != (before.sums, len(before.files)):
            old = dict(zip((file.name for file in before.files), before.sums))
            new = dict(zip((file.name for file in self.files), self.sums))
            names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
            differs.append(f"other input ({', '.join(names[:3]) or 'in another order'})")
        old_options, new_options = asdict(before.options), asdict(self.options)
        differs += [
            f"{name} = {old_options[name]!r}"
            for name in new_options
            if old_options[name] != new_options[name]
        ]
        if differs:
            raise ValueError(
                f"{folder} was begun with {', '.join(differs)}. Give the same to go on, choose "
                "another folder, or replace what is there, with --overwrite."
            )


def plan(model: str, inputs: Sequence[str], options: Options) -> Job:
    """Look at the input, and cut it into shards.

    inputs (Sequence[str]): Files, folders, globs, or other addresses.
    RAISES (ValueError): If something is missing or unknown.
    """
    options.check()
    folder = model_folder(model)
    suffixes = tuple(s for f in FORMATS.values() for s in f.suffixes)
    if options.format != AUTO:
        suffixes = FORMATS[options.format].suffixes
    packed = tuple(suffix + packing for suffix in suffixes for packing in ("", *COMPRESSED))
    files = find_files(list(map(str, inputs)), packed)
    format = _format_of(files) if options.format == AUTO else options.format
    reader = FORMATS[format]
    columns, kept = _columns(reader.fields(files), options)
    if isinstance(reader, WholeFiles):
        shards = list(reader.cut_files(files, options.shard_docs))
    else:
        cuts = (reader.cut(n, file, options.shard_docs) for n, file in enumerate(files))
        shards = [shard for found in cuts for shard in found]
    return Job(
        model=model,
        model_sha256=folder_checksum(folder),
        files=files,
        sums=list(map(checksum, files)),
        options=options,
        format=format,
        columns=columns,
        kept=kept,
        shards=shards,
    )


def _format_of(files: Sequence[File]) -> str:
    """RETURNS (str): The one that all files have by their names."""
    found = {}
    for file in files:
        name = file.name
        for packing in COMPRESSED:
            name = name.removesuffix(packing)
        found[next((t for t, f in FORMATS.items() if name.endswith(f.suffixes or "\0")), "")] = name
    if "" in found:
        raise ValueError(
            f"The name of {found['']} does not tell its format. Give --format: "
            f"{', '.join(FORMATS)}."
        )
    if len(found) > 1:
        raise ValueError(
            f"The input has files of several formats: {', '.join(found.values())}. Annotate them "
            "apart, or give --format."
        )
    return next(iter(found))


def _columns(fields: list[pa.Field], options: Options) -> tuple[Columns, pa.Schema]:
    names = [field.name for field in fields]
    id = options.id or (ID if ID in names else None)
    keep = options.keep
    for name in (options.text, *([options.id] if options.id else ()), *(keep or ())):
        if name not in names:
            raise ValueError(
                f"The input has no column {name!r}. It has: {', '.join(names)}. Name those of "
                "texts and ids with --text and --id."
            )
    own = {options.text, id}
    kept = [f for f in fields if f.name not in own and (keep is None or f.name in keep)]
    names = [field.name for field in kept]
    check_names(names)
    return Columns(options.text, id, tuple(names), keep is None), pa.schema(kept)


def model_folder(model: str) -> Path:
    """RETURNS (Path): Where the files of a pipeline are.
    RAISES (ValueError): If there is no such pipeline.
    """
    if util.is_package(model):
        return Path(util.get_package_path(model))
    if Path(model, "config.cfg").is_file():
        return Path(model)
    raise ValueError(
        f"{model} is neither a folder with a trained pipeline nor an installed one. Check the name."
    )


def folder_checksum(folder: Path) -> str:
    """RETURNS (str): SHA-256 of the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".pyc",):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
