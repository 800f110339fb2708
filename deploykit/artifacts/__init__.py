"""What is shipped, immutable and by content: the version of a tree, and the artefact built from it."""
