"""One pretrained transformer, several small heads: multi-task pipelines for spaCy.

Importing the package does nothing else; spaCy finds its parts through entry points.
"""

__version__ = "0.1.0"
