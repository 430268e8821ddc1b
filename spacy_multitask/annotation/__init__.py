"""Corpora of any size, annotated shard by shard into files that other tools read."""
