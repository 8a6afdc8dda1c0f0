"""Cases to TFRecord shards and a manifest, and a prepared folder opened again."""
