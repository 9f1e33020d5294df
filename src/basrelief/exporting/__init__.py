"""Writing a trained network as a file that other programs, or other people, can use."""
