"""From files without labels to a folder of predictions."""
