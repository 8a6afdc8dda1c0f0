"""One file to pixels or voxels, by the standard, and back: DICOM, NIfTI, grids, squares."""

from common.imaging.dicom import read_radiograph
from common.imaging.nifti import read_volume

__all__ = ["read_radiograph", "read_volume"]
