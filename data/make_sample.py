"""The generator of the built-in sample under its old name; it lives in synthetic_sample."""

from common.base.errors import run_script
from synthetic_sample.make_sample import main

if __name__ == "__main__":
    run_script(main)
