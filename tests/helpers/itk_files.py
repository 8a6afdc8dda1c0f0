"""NRRD and MetaImage files that tests write without ITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NUMBERS = {
    "i1": ("int8", "MET_CHAR"), "u1": ("uint8", "MET_UCHAR"), "<i2": ("int16", "MET_SHORT"),
    ">i2": ("int16", "MET_SHORT"), "<u4": ("uint32", "MET_UINT"), "<i8": ("int64", "MET_LONG_LONG"),
    ">f4": ("float", "MET_FLOAT"), "<f8": ("double", "MET_DOUBLE"),
}  # fmt: skip


def _in_lps(affine):
    """Directions (3, 3), spacing (3,), origin (3,) as ITK has them: left, back, head."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return lps[:3, :3] / spacing, spacing, lps[:3, 3]


def write_itk(
    path: Path, values: np.ndarray, affine: np.ndarray, space: str = "left-posterior-superior"
) -> Path:
    """Write a file without ITK, by the descriptions of the two formats."""
    big = values.dtype.byteorder == ">"
    kind = values.dtype.str.lstrip("|")
    nrrd, meta = NUMBERS[kind]
    directions, spacing, origin = _in_lps(affine)
    sizes = " ".join(map(str, values.shape))
    voxels = values.tobytes("F")
    if path.suffix.lower() == ".nrrd":
        signs = {"left-posterior-superior": [1, 1, 1], "right-anterior-superior": [-1, -1, 1]}
        columns = (directions * spacing * np.array(signs[space])[:, None]).T
        axes = " ".join(f"({','.join(map(str, column))})" for column in columns)
        start = ",".join(map(str, origin * signs[space]))
        header = (
            f"NRRD0004\ntype: {nrrd}\ndimension: {values.ndim}\nspace: {space}\nsizes: {sizes}\n"
            f"space directions: {axes}{' none' * (values.ndim - 3)}\nendian: "
            f"{'big' if big else 'little'}\nencoding: raw\nspace origin: ({start})\n\n"
        )
        path.write_bytes(header.encode() + voxels)
        return path
    numbers = {
        "TransformMatrix": directions.T.ravel(), "Offset": origin, "ElementSpacing": spacing,
    }  # fmt: skip
    lines = "".join(f"{name} = {' '.join(map(str, n))}\n" for name, n in numbers.items())
    local = path.suffix.lower() == ".mha"
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {big}\n"
        f"{lines}DimSize = {sizes}\nElementType = {meta}\n"
        f"ElementDataFile = {'LOCAL' if local else path.with_suffix('.raw').name}\n"
    )
    path.write_bytes(header.encode() + (voxels if local else b""))
    if not local:
        path.with_suffix(".raw").write_bytes(voxels)
    return path
