"""From cases to TFRecord shards and a manifest, and the prepared folder opened again."""
