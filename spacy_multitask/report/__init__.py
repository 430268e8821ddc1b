"""Looking at a pipeline: docs drawn with all their layers, and a page about its quality."""
