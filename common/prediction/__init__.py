"""Files without labels to a folder of predictions."""
