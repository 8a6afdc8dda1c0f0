"""The tests; a package, since one of ours (tf-explain) installs another by this name."""
