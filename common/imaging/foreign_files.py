"""What a file holds in place of an image, by its first bytes: a web page, a pointer, an archive."""

from __future__ import annotations

_AGAIN = "fetch it again"
_UNPACK = "unpack it"
# First bytes, what they are the first of, and what to do.
_BEGINNINGS = (
    (b"\x1f\x8b", "gzip within gzip", "unpack it once"),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed by xz", _UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", _UNPACK),
    (b"\x89PNG", "a PNG picture", "convert it"),
    (b"\xff\xd8\xff", "a JPEG picture", "convert it"),
    (b"NRRD0", "an NRRD volume", "name it .nrrd"),
    (b"ObjectType", "a MetaImage volume", "name it .mha or .mhd"),
    (b"\x5c\x01\0\0", "an ANALYZE file, which says nothing of left and right", "convert it"),
    (b"\0\0\x01\x5c", "an ANALYZE file, which says nothing of left and right", "convert it"),
)
# The same of texts, in lower case, without a byte order mark and white space before.
_TEXTS = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the file itself", "run: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself", "run: git annex get"),
    ((b"<!doctype html", b"<html", b"<head", b"<body"), "a web page (HTML)", _AGAIN),
    (b"<", "XML, such as a server's error", _AGAIN),
    ((b"{", b"["), "JSON, such as a server's error", _AGAIN),
)


def foreign_content(start: bytes) -> tuple[str, str]:
    """What a file is by its first bytes, and what to do.

    Args:
        start: The first 500 bytes, or all that there are.

    Returns:
        Both in words, such as ("a ZIP archive", "unpack it"); ("", "") where nothing is known.
    """
    if not start:
        return "empty (0 bytes)", _AGAIN
    if not any(start):
        return "zeros alone at its beginning, an interrupted copy", _AGAIN
    if start[128:132] == b"DICM":
        return "a DICOM file", "give the folder with all slices of its series"
    for beginning, what, mend in _BEGINNINGS:
        if start.startswith(beginning):
            return what, mend
    # Without its zeros, UTF-16 of English is ASCII.
    text = start.lstrip(b"\xef\xbb\xbf\xfe\xff").replace(b"\0", b"").strip().lower()
    if b"<html" in text or b"<!doctype html" in text:
        return "a web page (HTML)", _AGAIN
    for beginnings, what, mend in _TEXTS:
        if text.startswith(beginnings):
            return what, mend
    if all(32 <= byte < 127 or byte in b"\t\n\r" for byte in text):
        return "a text", _AGAIN
    return "", ""
