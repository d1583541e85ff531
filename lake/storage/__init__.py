"""Where a lake's files lie: on a local or mounted disk, or in a bucket."""

from lake.storage.access import keep_private, make_root
from lake.storage.base import Storage, StoredFile
from lake.storage.parquet import read_batches, read_parquet, read_parquet_schema
from lake.storage.places import is_object, local_path, location_of, storage_of

__all__ = [
    "GCS",
    "S3",
    "Storage",
    "StoredFile",
    "is_object",
    "keep_private",
    "local_path",
    "location_of",
    "make_root",
    "read_batches",
    "read_parquet",
    "read_parquet_schema",
    "storage_of",
]
