"""From a dataset or folder to a PatchStore: one engine, one module a dataset."""

from wherewhen.ingest.engine import Shard, build

__all__ = ["Shard", "build"]
