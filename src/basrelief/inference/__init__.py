"""Using a trained network: from a run, a study or an exported file to masks and depth of any picture."""
