"""Small pictures as PNG in the text of a page."""

import struct
import zlib
from base64 import b64encode

import numpy as np

_MAGIC = b"\x89PNG\r\n\x1a\n"

_FALL, _RISE = np.array([0, 114, 178]), np.array([213, 94, 0])
"""Blue where a number falls, vermilion where it rises: two colours of Okabe and Ito that nobody confuses."""


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of bytes [rows, columns] of grey or [rows, columns, 3] of colours.

    Reference: PNG specification, third edition, sections 5.2 and 11.2.
    """
    rows, columns = pixels.shape[:2]
    lines = np.zeros((rows, 1 + pixels[0].size), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(rows, -1)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return _MAGIC + b"".join(_chunk(*part) for part in parts)


def data_url(pixels: np.ndarray) -> str:
    """The address of a picture that is its own content."""
    return f"data:image/png;base64,{b64encode(png(pixels)).decode('ascii')}"


def shades(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers as bytes, 0 for low and 255 for high."""
    span = high - low if high > low else 1.0
    return np.round(255.0 * np.clip((values - low) / span, 0.0, 1.0)).astype(np.uint8)


def differences(change: np.ndarray) -> np.ndarray:
    """Changes [rows, columns] as colours: white for none, blue for less, vermilion for more, full at the largest; those
    of colours [rows, columns, 3] as what is added to a middle grey.
    """
    size = float(np.max(np.abs(change))) or 1.0
    share = change / size
    if change.ndim == 3:
        return shades(share, -1.0, 1.0)
    towards = np.where(share[..., None] < 0, _FALL, _RISE)
    return np.round(255.0 + np.abs(share)[..., None] * (towards - 255.0)).astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
