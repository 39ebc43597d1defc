"""Files of a quantized network for other programs: written, and evaluated in their own runtimes."""

from trainables.formats.file_format import FileFormat
from trainables.formats.pixel_network import PixelNetwork, load_artifact
from trainables.formats.registry import FORMATS
from trainables.formats.verification import Written, write_verified

__all__ = ["FORMATS", "FileFormat", "PixelNetwork", "Written", "load_artifact", "write_verified"]
