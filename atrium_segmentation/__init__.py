"""The left atrium in MRI volumes: U-Net and FCN-8, one mask."""

import sys
from pathlib import Path

# Before the `common` of another project, to which a PYTHONPATH may lead.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
