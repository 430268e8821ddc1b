"""Whether tasks gain from one encoder, and whether they pull it in one direction."""
