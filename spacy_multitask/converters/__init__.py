from .base import ConversionError, ConversionReport
from .formats import FORMATS, convert

__all__ = ["FORMATS", "ConversionError", "ConversionReport", "convert"]
