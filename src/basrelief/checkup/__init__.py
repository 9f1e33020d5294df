"""What ``basrelief doctor`` looks at. Nothing here needs the core packages to be there: their absence is a finding."""
