from .formats import FORMATS, convert
from .report import ConversionError, ConversionReport

__all__ = ["FORMATS", "ConversionError", "ConversionReport", "convert"]
